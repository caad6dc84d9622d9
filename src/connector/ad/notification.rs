//! Change notification: a search that a domain controller answers with every change as it happens (MS-ADTS
//! 3.1.1.3.4.1.9). What it says is advice only: changes come in by delta imports.

use super::usn::SHOW_DELETED;
use crate::connector::ldap::{Answer, Client, Query, said};
use crate::connector::{ChangeStream, ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use futures_util::StreamExt as _;
use futures_util::stream::{FuturesUnordered, unfold};
use ldap3::Scope;
use ldap3::controls::RawControl;
use std::collections::BTreeSet;
use std::time::Duration;

/// Object identifier of the notification control.
const NOTIFICATION: &str = "1.2.840.113556.1.4.528";
/// What follows within this time of what was told is told at its end, together.
const BURST: Duration = Duration::from_millis(500);
/// How often the connection is tried when nothing happens: one that was lost silently looks like peace.
const SIGN_OF_LIFE: Duration = Duration::from_mins(1);

/// Searches that wait for changes, on one connection.
struct Watch {
    client: Client,
    cx: Context,
    answers: Vec<(String, Answer)>,
    /// When something was told last.
    told: Option<Duration>,
}

/// What ends a wait.
enum Woken {
    Changed,
    Quiet,
}

/// Listens on every naming context. `None` when the server does not tell changes.
pub(super) async fn watch(
    mut client: Client,
    cx: Context,
    controls: &BTreeSet<String>,
    contexts: Vec<String>,
) -> Result<Option<ChangeStream>, ConnectorError> {
    if !controls.contains(NOTIFICATION) {
        client.close().await;
        return Ok(None);
    }
    let mut answers = Vec::with_capacity(contexts.len());
    for context in contexts {
        // Only this filter is allowed beside the control.
        let query = Query { base: &context, scope: Scope::Subtree, filter: "(objectClass=*)", attributes: &["objectGUID"] };
        let control = RawControl { ctype: NOTIFICATION.to_owned(), crit: true, val: None };
        // Whoever is deleted becomes a tombstone, and tombstones are told to those who ask for them (MS-ADTS, section 3.1.1.3.4.1.14).
        let deleted = RawControl { ctype: SHOW_DELETED.to_owned(), crit: false, val: None };
        let answer = client.listen(&query, vec![control, deleted]).await?;
        answers.push((context, answer));
    }
    let watch = Watch { client, cx, answers, told: None };
    // One item at a time; behind an error there is nothing.
    let items = unfold(Some(watch), async |watch| {
        let mut watch = watch?;
        match watch.next().await {
            Ok(()) => Some((Ok(()), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Some(items.boxed()))
}

impl Watch {
    /// Waits for a change. The first one is told at once, and the burst that may follow it when a moment has passed: whoever hears it
    /// has something to do meanwhile.
    async fn next(&mut self) -> Result<(), ConnectorError> {
        let mut changed = false;
        if let Some(told) = self.told {
            loop {
                let left = BURST.saturating_sub(self.cx.clock.elapsed().saturating_sub(told));
                if left.is_zero() {
                    break;
                }
                match self.wait(left).await? {
                    Woken::Changed => changed = true,
                    Woken::Quiet => break,
                }
            }
        }
        while !changed {
            match self.wait(SIGN_OF_LIFE).await? {
                Woken::Changed => changed = true,
                // Whatever it answers, it is there.
                Woken::Quiet => drop(self.client.read("", &["highestCommittedUSN"]).await?),
            }
        }
        self.told = Some(self.cx.clock.elapsed());
        Ok(())
    }

    /// Waits for the next entry of any of the searches, so long at most.
    async fn wait(&mut self, longest: Duration) -> Result<Woken, ConnectorError> {
        let Self { client, cx, answers, .. } = self;
        let mut waiting: FuturesUnordered<_> =
            answers.iter_mut().enumerate().map(|(index, (_, answer))| async move { (index, answer.next().await) }).collect();
        let told = tokio::select! {
            biased;
            () = cx.cancel.cancelled() => {
                return Err(ConnectorError::new(ConnectorErrorKind::Cancelled, "listening was told to stop"));
            }
            told = waiting.next() => told,
            () = cx.clock.sleep(longest) => return Ok(Woken::Quiet),
        };
        drop(waiting);
        match told {
            Some((_, Ok(Some(_)))) => Ok(Woken::Changed),
            Some((_, Err(error))) => Err(error),
            Some((index, Ok(None))) => {
                let (context, answer) = answers.swap_remove(index);
                let result = answer.finish().await;
                let url = &client.settings.url;
                let message = format!("{url}: the server ends the notification of changes of '{context}' ({})", said(&result));
                Err(ConnectorError::new(ConnectorErrorKind::Dropped, message))
            }
            None => Err(ConnectorError::new(ConnectorErrorKind::Configuration, "there is no naming context to listen on")),
        }
    }
}
