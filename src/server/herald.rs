//! Tells people of what needs them: looks once in a minute, remembers what was told, and tries again what did not arrive.

use super::station::Station;
use crate::alert::{Ledger, Terms};
use crate::events::Event;
use crate::service::{AlertChannel, AlertWay};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What did not arrive is tried again after this time, and after twice the time whenever it fails again.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// Pauses are never longer.
const LONGEST_PAUSE: Duration = Duration::from_mins(30);

/// What was told by which way.
#[derive(Debug, Default)]
pub(super) struct Herald {
    ways: Mutex<BTreeMap<AlertChannel, Way>>,
}

#[derive(Debug, Default)]
struct Way {
    /// Counts for this process also when the store refuses to keep it: a full disk must not repeat anything.
    ledger: Ledger,
    /// While something does not arrive: not before this time, and how long the next pause is.
    held: Option<(Duration, Duration)>,
}

impl Herald {
    /// Looks at everything, and tells what is due.
    pub(super) fn look(&self, station: &Station) {
        let service = station.service();
        let channels = service.alert_channels();
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.retain(|channel, _| channels.iter().any(|way| way.channel == *channel));
        if channels.is_empty() {
            // Nobody hears of it.
            return;
        }
        let found = match service.conditions(&station.cx, station.refused().as_deref()) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("it cannot be told what needs somebody: {error}");
                return;
            }
        };
        for AlertWay { channel, .. } in channels {
            let way = ways.entry(channel).or_insert_with(|| Way {
                // What the store cannot tell now was told by an earlier process at worst once more.
                ledger: service.alert_ledger(channel).unwrap_or_default(),
                held: None,
            });
            let changed = way.ledger.look(&found, station.cx.now());
            let told = way.tell(station, channel);
            if (changed || told)
                && service.store().failure().is_none()
                && let Err(error) = service.keep_alert_ledger(channel, &way.ledger)
            {
                tracing::warn!("what people were told could not be noted in the store: {error}");
            }
        }
    }
}

impl Way {
    /// Tells what is due. True when it arrived.
    fn tell(&mut self, station: &Station, channel: AlertChannel) -> bool {
        let (service, elapsed) = (station.service(), station.cx.clock.elapsed());
        if self.held.is_some_and(|(until, _)| elapsed < until) {
            return false;
        }
        let due = self.ledger.due(Terms { remind: service.config().alerts.remind() }, station.cx.now());
        if due.is_empty() {
            return false;
        }
        match service.tell_people(&station.cx, channel, &due) {
            Ok(()) => {
                self.held = None;
                self.ledger.told(&due, station.cx.now());
                station.tell(&Event::AlertSent { channel: channel.as_str(), conditions: due.len() as u64 });
                true
            }
            Err(message) => {
                let pause = self.held.map_or(FIRST_PAUSE, |(_, pause)| (pause * 2).min(LONGEST_PAUSE));
                if self.held.is_none() {
                    station.tell(&Event::AlertNotSent { channel: channel.as_str(), message });
                }
                self.held = Some((elapsed + pause, pause));
                false
            }
        }
    }
}
