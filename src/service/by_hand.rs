//! Links that an administrator makes and breaks: checked before they are done, so that what cannot be done says why.

use super::{Service, ServiceError};
use crate::engine::sync::Decree;
use crate::model::{CsId, CsObject, DeltaKind, Link, MvId, ObjectType, Stage};
use crate::rules::{Direction, LinkType, SyncRule};

impl Service {
    /// Ties an object to a metaverse object for good.
    ///
    /// # Errors
    /// When one of them is not there, they are of types that no rule joins, or the metaverse object has an object of this
    /// connector already.
    pub fn join_decree(&self, id: CsId, mv: MvId) -> Result<Decree, ServiceError> {
        let object = self.decidable(id)?;
        let snapshot = self.store.snapshot()?;
        let Some(partner) = snapshot.mv_object(mv)? else {
            return Err(ServiceError::NotFound(format!("there is no metaverse object {mv}")));
        };
        if let Some(other) = snapshot.mv_link(mv, id.connector())?.filter(|other| *other != id) {
            let name = snapshot.cs_object(other)?.map(|other| other.dn.to_string()).unwrap_or_default();
            return Err(ServiceError::Usage(format!(
                "metaverse object {mv} has an object of this connector already: {other} {name}. Disconnect that one first: \
                 `syncline cs disconnect {other}`"
            )));
        }
        if !self.types_meet(&object, partner.object_type)? {
            let names = self.store.names();
            return Err(ServiceError::Usage(format!(
                "no rule ties a {} to a {} of the metaverse",
                names.object_type_name(object.object_type),
                names.object_type_name(partner.object_type)
            )));
        }
        Ok(Decree::Join(mv))
    }

    /// Makes a metaverse object of an object; of the type that rules give, or of another one that they know for it.
    ///
    /// # Errors
    /// When the object is not there, is linked already, or no rule knows a type for it.
    pub fn project_decree(&self, id: CsId, wanted: Option<&str>) -> Result<Decree, ServiceError> {
        let object = self.decidable(id)?;
        if let Some(mv) = object.link.mv() {
            return Err(ServiceError::Usage(format!(
                "{} belongs to metaverse object {mv} already: disconnect it first, `syncline cs disconnect {id}`",
                object.dn
            )));
        }
        let rules = self.rules()?;
        let of_object = |rule: &&SyncRule| {
            rule.direction == Direction::Inbound && rule.connector == id.connector() && rule.cs_type == object.object_type
        };
        let mut types: Vec<ObjectType> = Vec::new();
        for provisions in [true, false] {
            let fitting = rules.rules().iter().filter(of_object).filter(|rule| (rule.link == LinkType::Provision) == provisions);
            types.extend(fitting.filter_map(|rule| rule.mv_type));
        }
        let names = self.store.names();
        let found = match wanted {
            Some(wanted) => types.iter().copied().find(|kind| names.object_type_name(*kind).eq_ignore_ascii_case(wanted)),
            None => types.first().copied(),
        };
        found.map(Decree::Project).ok_or_else(|| {
            let kind = names.object_type_name(object.object_type);
            ServiceError::Usage(format!(
                "no rule makes a metaverse object of a {kind}{}",
                wanted.map(|wanted| format!(" of type {wanted}")).unwrap_or_default()
            ))
        })
    }

    /// Takes an object off its metaverse object. With `explicit` for good.
    ///
    /// # Errors
    /// When the object is not there, or there is nothing to take it off.
    pub fn disconnect_decree(&self, id: CsId, explicit: bool) -> Result<Decree, ServiceError> {
        let object = self.decidable(id)?;
        let idle = match object.link {
            Link::ExplicitlyDisconnected => explicit,
            link => link.mv().is_none() && !explicit,
        };
        if idle {
            return Err(ServiceError::Usage(format!("{} is disconnected already", object.dn)));
        }
        Ok(Decree::Disconnect { explicit })
    }

    /// An object about which something can be decided.
    fn decidable(&self, id: CsId) -> Result<CsObject, ServiceError> {
        let object = self.store.snapshot()?.cs_object(id)?;
        let object = object.ok_or_else(|| ServiceError::NotFound(format!("object {id} is gone")))?;
        let leaving = matches!(object.stage(Stage::PendingImport).kind, DeltaKind::Delete | DeltaKind::DeleteAdd);
        if object.link == Link::Placeholder || leaving {
            return Err(ServiceError::Usage(format!(
                "{} is known only because others refer to it or lie below it, or is about to go: import and synchronize it first",
                object.dn
            )));
        }
        Ok(object)
    }

    /// True when some rule, inbound or outbound, is about both types.
    fn types_meet(&self, object: &CsObject, metaverse: ObjectType) -> Result<bool, ServiceError> {
        let fits = |rule: &&SyncRule| {
            rule.connector == object.id.connector()
                && rule.cs_type == object.object_type
                && rule.mv_type.is_none_or(|kind| kind == metaverse)
        };
        Ok(self.rules()?.rules().iter().any(|rule| fits(&rule)))
    }
}
