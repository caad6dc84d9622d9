//! What every connector promises, whatever is behind it. Each real source runs through this.

use crate::seen::{self, Seen};
use futures_util::StreamExt as _;
use syncline::connector::{Connector, ConnectorErrorKind, ExportBatch, ImportKind, ImportRequest};
use syncline::context::Context;
use syncline::model::{Dn, Names};

/// Checks the promises, and gives the import for further checks.
pub(crate) async fn holds(connector: &dyn Connector, names: &Names, attributes: &[&str]) -> Seen {
    let capabilities = connector.capabilities();
    assert!(capabilities.full_import);
    assert!(capabilities.batch_objects > 0 && capabilities.batches_in_flight > 0);

    let cx = Context::system();
    let schema = connector.schema(&cx).await.unwrap();
    assert!(!schema.object_types.is_empty());
    for name in ["cn", "member", "objectGUID"] {
        assert!(schema.attributes.iter().any(|attribute| attribute.name.eq_ignore_ascii_case(name)), "the schema lacks {name}");
    }

    // Two imports of an unchanged directory say the same.
    let first = seen::import(connector, names, attributes).await.unwrap();
    let second = seen::import(connector, names, attributes).await.unwrap();
    assert!(first.completed && second.completed);
    assert!(first.largest_page <= 1_000);
    assert_eq!(first.entries, second.entries);
    assert_eq!((first.filtered, first.rejected.len()), (second.filtered, second.rejected.len()));
    for (dn, entry) in &first.entries {
        assert!(Dn::parse(dn).is_ok_and(|dn| dn.depth() > 0), "{dn}");
        assert!(!entry.anchor.is_empty(), "{dn} has no anchor");
        assert!(entry.values.values().all(|values| !values.is_empty()));
        assert!(schema.object_types.iter().any(|name| name.eq_ignore_ascii_case(&entry.object_type)));
    }
    let anchors: std::collections::BTreeSet<_> = first.entries.values().map(|entry| &entry.anchor).collect();
    assert_eq!(anchors.len(), first.entries.len());

    // Attributes that nobody asked for are not read.
    let bare = seen::import(connector, names, &[]).await.unwrap();
    assert_eq!(bare.entries.len(), first.entries.len());
    assert!(bare.entries.values().all(|entry| entry.values.is_empty()));

    if !capabilities.delta_import {
        let request = ImportRequest { kind: ImportKind::Delta { since: b"x".to_vec() }, attributes: Vec::new() };
        let Err(refused) = connector.import(&cx, request).await else { panic!("a delta import was accepted") };
        assert_eq!(refused.kind, ConnectorErrorKind::Configuration);
    }
    if !capabilities.export {
        let refused = connector.export(&cx, &ExportBatch::default()).await.unwrap_err();
        assert_eq!(refused.kind, ConnectorErrorKind::Configuration);
        assert!(refused.nothing_sent);
    }

    // A run that was told to stop never looks complete.
    let stopped = Context::system();
    stopped.cancel.cancel();
    let request = ImportRequest { kind: ImportKind::Full, attributes: Vec::new() };
    match connector.import(&stopped, request).await {
        Err(error) => assert_eq!(error.kind, ConnectorErrorKind::Cancelled),
        Ok(mut stream) => {
            let mut completed = false;
            let mut refused = false;
            while let Some(page) = stream.next().await {
                match page {
                    Ok(page) => completed = page.completion.is_some(),
                    Err(error) => refused = error.kind == ConnectorErrorKind::Cancelled,
                }
            }
            assert!(refused && !completed);
        }
    }
    first
}
