//! Looking for accounts that were disabled, by one small search again and again, so that whoever is shut out of the directory is
//! shut out of the cloud soon, also where the directory tells nobody of changes. What it finds is advice: changes come in by imports.

use crate::connector::ldap::Client;
use crate::connector::{ACCOUNT_DISABLED, ConnectorError, DisabledStream};
use crate::context::Context;
use crate::model::Anchor;
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use ldap3::Scope;
use std::time::Duration;

/// From one look to the next. Two minutes are promised from the directory to the cloud: half of them for this, the other half for
/// the cycle that follows, also behind one that runs just then.
const INTERVAL: Duration = Duration::from_mins(1);
/// So often the place to look from is moved up, so that a search never runs over the changes of a whole day.
const LOOKS_UNTIL_MOVED: u32 = 60;
/// The matching rule "all these bits are set" (MS-ADTS 3.1.1.3.4.4.1).
const BITS_SET: &str = "1.2.840.113556.1.4.803";

/// Looks at naming contexts, on one connection.
struct Look {
    client: Client,
    cx: Context,
    contexts: Vec<String>,
    /// The number of the first change that was not looked at.
    from: u64,
    looks: u32,
}

/// Looks on, from the change behind the number `seen`, the highest that the server had given when this began.
pub(super) fn watch(client: Client, cx: Context, contexts: Vec<String>, seen: u64) -> DisabledStream {
    let look = Look { client, cx, contexts, from: seen.saturating_add(1), looks: 0 };
    // Behind an error there is nothing.
    unfold(Some(look), async |look| {
        let mut look = look?;
        match look.next().await {
            Ok(Some(found)) => Some((Ok(found), Some(look))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Look {
    /// Waits, looks, and gives what it finds; nothing when it is told to stop.
    async fn next(&mut self) -> Result<Option<Vec<Anchor>>, ConnectorError> {
        loop {
            tokio::select! {
                () = self.cx.clock.sleep(INTERVAL) => {}
                () = self.cx.cancel.cancelled() => return Ok(None),
            }
            self.looks += 1;
            let moved = if self.looks.is_multiple_of(LOOKS_UNTIL_MOVED) { self.highest().await? } else { None };
            let found = self.look().await?;
            // What happened behind the number is looked at the next time; some of it perhaps twice.
            self.from = self.from.max(moved.map_or(0, |moved| moved.saturating_add(1)));
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
    }

    async fn highest(&mut self) -> Result<Option<u64>, ConnectorError> {
        let root = self.client.root(&["highestCommittedUSN"]).await?;
        Ok(root.text("highestCommittedUSN").and_then(|number| number.parse().ok()))
    }

    async fn look(&mut self) -> Result<Vec<Anchor>, ConnectorError> {
        let filter = format!("(&(uSNChanged>={})(userAccountControl:{BITS_SET}:={ACCOUNT_DISABLED}))", self.from);
        let (mut found, mut from) = (Vec::new(), self.from);
        for context in &self.contexts {
            for entry in self.client.search(context, Scope::Subtree, &filter, &["objectGUID", "uSNChanged"]).await? {
                let number = entry.text("uSNChanged").and_then(|number| number.parse::<u64>().ok());
                from = from.max(number.map_or(0, |number| number.saturating_add(1)));
                found.extend(entry.values("objectGUID").first().map(|octets| Anchor::new(*octets)));
            }
        }
        self.from = from;
        Ok(found)
    }
}
