//! One object through all stages in one document: what its directory said, what rules made of it, what targets got, what is under
//! way, and the runs that had to do with it. For whoever looks at one person who is not as they should be.

use super::explain::Explanation;
use super::history::ObjectLogLine;
use super::journal::EventView;
use super::views::{CsObjectView, MvObjectView};
use super::{Service, ServiceError};
use crate::context::Context;
use crate::model::CsId;
use crate::password::report::AccountStatus;
use serde::Serialize;

/// One object, everywhere. It holds values of a person, and no secrets: rules refuse attributes that hold them, and hashes of
/// passwords are never kept.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectBundle {
    /// When it was made.
    pub made: String,
    /// Which program made it.
    pub version: &'static str,
    /// The object that was asked for.
    pub object: String,
    /// How far it comes, and what stops it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// Why there is no explanation: what is wrong with the rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule_problems: Vec<String>,
    /// It, and every object that is linked to the same metaverse object: images, what is under way, problems.
    pub spaces: Vec<CsObjectView>,
    /// The metaverse object, with the origin of every value.
    pub metaverse: Option<MvObjectView>,
    /// What runs did to each of the objects of `spaces`, the newest first.
    pub runs: Vec<ObjectLogLine>,
    /// Runs further back had to do with them, too.
    pub more_runs: bool,
    /// How its password stands; nothing where passwords are not synchronized.
    pub password: Option<AccountStatus>,
    /// What was told of its password, the newest last.
    pub password_events: Vec<EventView>,
}

/// So much of history is looked at for each object of a space.
const RUNS: usize = 200;
/// So many events of its password.
const EVENTS: usize = 500;

impl Service {
    /// Everything that is known of one object.
    ///
    /// # Errors
    /// When the store cannot be read, or the object is gone.
    pub fn object_bundle(&self, cx: &Context, id: CsId) -> Result<ObjectBundle, ServiceError> {
        let browser = self.browse()?;
        let gone = || ServiceError::NotFound(format!("object {id} is gone"));
        let asked = browser.snapshot.cs_object(id)?.ok_or_else(gone)?;
        let mv = asked.link.mv();
        let mut ids = vec![id];
        if let Some(mv) = mv {
            ids.extend(browser.snapshot.mv_links(mv)?.into_iter().filter(|other| *other != id));
        }
        let history = self.history()?;
        let (mut spaces, mut runs, mut more_runs) = (Vec::new(), Vec::new(), false);
        for id in &ids {
            spaces.extend(browser.show_cs(*id, usize::MAX)?);
            let (lines, more) = history.of_object(*id, RUNS)?;
            runs.extend(lines);
            more_runs |= more;
        }
        runs.sort_by_key(|line| std::cmp::Reverse((line.run, line.step)));
        let compiled = self.rules.is_ok();
        let source = ids.into_iter().find(|id| self.password_sources().contains(&id.connector())).filter(|_| compiled);
        let password = source.map(|account| self.password_log(cx, account, EVENTS)).transpose()?;
        let (password, password_events) = password.map_or((None, Vec::new()), |log| (Some(log.account), log.events));
        Ok(ObjectBundle {
            made: cx.now().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            object: id.to_string(),
            explanation: if compiled { Some(self.explain(id, cx.now())?) } else { None },
            rule_problems: if compiled { Vec::new() } else { self.rule_problems().iter().map(ToString::to_string).collect() },
            spaces,
            metaverse: mv.map(|mv| browser.show_mv(mv, usize::MAX)).transpose()?.flatten(),
            runs,
            more_runs,
            password,
            password_events,
        })
    }
}
