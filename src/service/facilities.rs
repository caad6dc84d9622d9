//! What several pieces of work of one process share: threads for connections, running tenants, and the turn to run.

use super::journal::Pending;
use super::scheduler::Remembered;
use super::still_enabled::SeenDisabled;
use super::tenant::{RunningTenant, TenantPlace};
use super::{Service, ServiceError};
use crate::config::{ConnectorSettings, EntraFile};
use crate::connector::SignIns;
use crate::context::Context;
use crate::engine::export::Limits;
use crate::password::agent::AgentTurn;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Outlives a [`super::Service`] when its configuration is read again.
#[derive(Debug)]
pub(super) struct Facilities {
    /// The runtime of a process that goes on; a command makes one for itself.
    pub(super) runtime: Option<Handle>,
    pub(super) tenants: TenantPool,
    pub(super) turn: Turn,
    pub(super) passwords: PasswordLoop,
    pub(super) scheduler: Remembered,
    /// What is known of the secrets of directories.
    pub(super) sign_ins: SignIns,
    /// Accounts that directories were seen to have disabled.
    pub(super) seen_disabled: SeenDisabled,
    /// What was told and is not written yet.
    pub(super) events: Arc<Pending>,
    /// What limits exports; those under way look at it, too.
    pub(super) limits: Limits,
}

impl Default for Facilities {
    fn default() -> Self {
        Self {
            runtime: None,
            tenants: TenantPool::default(),
            turn: Turn::default(),
            passwords: PasswordLoop::default(),
            scheduler: Remembered::default(),
            sign_ins: SignIns::default(),
            seen_disabled: SeenDisabled::default(),
            events: Arc::default(),
            limits: Limits::unsaid(),
        }
    }
}

/// The password agent of this process, if it has one.
#[derive(Debug, Default)]
pub(super) struct PasswordLoop {
    /// Of all agents of this process: the one that goes on, and those that commands make.
    pub(super) turn: AgentTurn,
    runs: AtomicBool,
    wake: Notify,
}

impl PasswordLoop {
    /// Lets an agent run that looks whenever it is woken.
    pub(super) async fn run(&self, agent: impl AsyncFnOnce(&Notify)) {
        self.runs.store(true, Ordering::Release);
        agent(&self.wake).await;
        self.runs.store(false, Ordering::Release);
    }

    /// Asks the agent to look now. False when none runs.
    pub(super) fn wake(&self) -> bool {
        let runs = self.runs.load(Ordering::Acquire);
        if runs {
            self.wake.notify_one();
        }
        runs
    }
}

/// Embedded tenants that are being served, by folder: whatever connectors are called. A tenant's file has one user at a time, so
/// whoever needs it at the same time shares it.
#[derive(Debug, Default)]
pub(super) struct TenantPool {
    running: tokio::sync::Mutex<BTreeMap<PathBuf, Shared>>,
    /// Called when one of them ended.
    ended: Notify,
}

#[derive(Debug)]
struct Shared {
    /// It was started for that profile. Whatever else is configured counts when a tenant is made, and never again.
    password_only: bool,
    tenant: Arc<RunningTenant>,
    users: usize,
}

/// So long whoever needs a tenant waits for those who use it for another profile.
const OTHERS_LEAVE: Duration = Duration::from_secs(20);

/// A folder by its one name, as far as there is one.
fn plain(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// The right to use a running tenant; given back by [`Service::release_tenants`].
#[derive(Debug)]
#[must_use = "the tenant runs until its lease is given back"]
pub struct TenantLease {
    folder: PathBuf,
    password_only: bool,
    tenant: Arc<RunningTenant>,
}

impl TenantLease {
    pub(super) fn tenant(&self) -> &RunningTenant {
        &self.tenant
    }
}

impl TenantPool {
    /// The tenant of a connector, started unless it runs. Where it was started for another profile, those who use it are waited
    /// for: they go on with what counted when they began.
    pub(super) async fn take(
        &self,
        connector: &str,
        file: &EntraFile,
        password_only: bool,
        place: TenantPlace,
        cx: &Context,
    ) -> Result<TenantLease, ServiceError> {
        let over = cx.clock.sleep(OTHERS_LEAVE);
        tokio::pin!(over);
        loop {
            // Asked for before looking, so that no call between the two is missed.
            let ended = self.ended.notified();
            let mut running = self.running.lock().await;
            match running.get_mut(&plain(&file.embedded.folder)) {
                None => {
                    let tenant = Arc::new(RunningTenant::start(connector, file, password_only, place, cx).await?);
                    // The folder is there now.
                    let folder = plain(&file.embedded.folder);
                    running.insert(folder.clone(), Shared { password_only, tenant: Arc::clone(&tenant), users: 1 });
                    return Ok(TenantLease { folder, password_only, tenant });
                }
                Some(shared) if shared.password_only == password_only => {
                    shared.users += 1;
                    return Ok(TenantLease { folder: plain(&file.embedded.folder), password_only, tenant: Arc::clone(&shared.tenant) });
                }
                Some(_) => {}
            }
            drop(running);
            let waits = tokio::select! {
                () = ended => true,
                () = &mut over => false,
                () = cx.cancel.cancelled() => false,
            };
            if !waits {
                let folder = file.embedded.folder.display();
                let message = format!("the tenant in {folder} runs for another profile, until those who use it have ended; try again then");
                return Err(ServiceError::Tenant { connector: connector.to_owned(), message });
            }
        }
    }

    /// Takes a lease back; with the last one the tenant ends.
    pub(super) async fn give_back(&self, lease: TenantLease) {
        let mut running = self.running.lock().await;
        let TenantLease { folder, tenant, .. } = lease;
        drop(tenant);
        let Some(shared) = running.get_mut(&folder) else { return };
        shared.users = shared.users.saturating_sub(1);
        if shared.users == 0
            && let Some(shared) = running.remove(&folder)
            && let Ok(tenant) = Arc::try_unwrap(shared.tenant)
        {
            tenant.stop().await;
            self.ended.notify_waiters();
        }
    }
}

impl Service {
    /// Starts the embedded tenants that connectors name, for as long as the leases are held, and gives those back that none names any
    /// more, or for another profile.
    ///
    /// # Errors
    /// When one of them cannot be started. The others run; whoever tries again goes on from there.
    pub async fn hold_tenants(&self, cx: &Context, leases: &mut Vec<TenantLease>) -> Result<(), ServiceError> {
        let (tenants, password_only) = (&self.facilities.tenants, self.password_only());
        let is_of =
            |lease: &TenantLease, file: &EntraFile| (&lease.folder, lease.password_only) == (&plain(&file.embedded.folder), password_only);
        let wanted = self.config.connectors.iter().filter_map(|config| match &config.settings {
            ConnectorSettings::Entra(file) if file.is_embedded() => Some((config, file)),
            _ => None,
        });
        let (kept, others): (Vec<_>, Vec<_>) = leases.drain(..).partition(|lease| wanted.clone().any(|(_, file)| is_of(lease, file)));
        *leases = kept;
        self.release_tenants(others).await;
        let mut done = Ok(());
        for (config, file) in wanted {
            if leases.iter().any(|lease| is_of(lease, file)) {
                continue;
            }
            match tenants.take(&config.name, file, password_only, TenantPlace::Here, cx).await {
                Ok(lease) => leases.push(lease),
                Err(error) => done = Err(error),
            }
        }
        done
    }

    /// What this process knows of the secrets with which it signs in to directories.
    pub(super) fn sign_ins(&self) -> &SignIns {
        &self.facilities.sign_ins
    }

    /// Gives leases back.
    pub async fn release_tenants(&self, leases: Vec<TenantLease>) {
        for lease in leases {
            self.facilities.tenants.give_back(lease).await;
        }
    }

    /// Does something that no run may meet.
    ///
    /// # Errors
    /// When something runs for longer than `patience`, or as the work fails.
    pub fn between_runs<T>(
        &self,
        cx: &Context,
        what: &str,
        patience: Duration,
        work: impl FnOnce() -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let turn = match self.facilities.turn.take_now(what, &CancellationToken::new()) {
            Ok(turn) => turn,
            Err(busy) if patience.is_zero() => return Err(busy),
            Err(_) => {
                let nobody = Context { cancel: CancellationToken::new(), ..cx.clone() };
                self.with_runtime(cx, async || self.facilities.turn.take(&nobody, what, patience).await)?
            }
        };
        let done = work();
        drop(turn);
        done
    }

    /// Asks what runs now in this process to end at its next border. Gives what it is.
    pub fn stop_running(&self) -> Option<String> {
        self.facilities.turn.stop()
    }
}

/// Runs follow each other: whoever runs has the turn. Reading and password synchronization need none.
#[derive(Debug, Default)]
pub(super) struct Turn {
    held: Mutex<Option<Running>>,
    free: Notify,
}

#[derive(Clone, Debug)]
struct Running {
    work: String,
    stop: CancellationToken,
}

/// The turn, until it is dropped.
#[derive(Debug)]
pub(super) struct TurnHeld<'t> {
    turn: &'t Turn,
}

impl Turn {
    /// Takes the turn for some work, as soon as it is free and at most after `patience`. Whoever wants the work to end
    /// cancels the context, which also ends the wait.
    pub(super) async fn take(&self, cx: &Context, work: &str, patience: Duration) -> Result<TurnHeld<'_>, ServiceError> {
        let over = cx.clock.sleep(patience);
        tokio::pin!(over);
        loop {
            // Asked for before looking, so that no call between the two is missed.
            let free = self.free.notified();
            let busy = match self.take_now(work, &cx.cancel) {
                Ok(turn) => return Ok(turn),
                Err(busy) => busy,
            };
            if patience.is_zero() {
                return Err(busy);
            }
            tokio::select! {
                () = free => {}
                () = &mut over => return Err(busy),
                () = cx.cancel.cancelled() => return Err(busy),
            }
        }
    }

    /// Takes the turn when it is free.
    pub(super) fn take_now(&self, work: &str, stop: &CancellationToken) -> Result<TurnHeld<'_>, ServiceError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = held.as_ref() {
            return Err(ServiceError::Busy(other.work.clone()));
        }
        *held = Some(Running { work: work.to_owned(), stop: stop.clone() });
        Ok(TurnHeld { turn: self })
    }

    /// What runs now.
    pub(super) fn running(&self) -> Option<String> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|running| running.work.clone())
    }

    /// Asks what runs now to end at its next border. Gives what it is.
    pub(super) fn stop(&self) -> Option<String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let running = held.as_ref()?;
        running.stop.cancel();
        Some(running.work.clone())
    }
}

impl Drop for TurnHeld<'_> {
    fn drop(&mut self) {
        *self.turn.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.turn.free.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::context::Clock;
    use crate::model::Timestamp;
    use crate::store::Store;
    use std::pin::Pin;

    #[test]
    fn only_one_has_the_turn_and_the_others_are_told_who() {
        let (turn, stop) = (Turn::default(), CancellationToken::new());
        let first = turn.take_now("a cycle", &stop).unwrap();
        let refused = turn.take_now("an export", &stop).unwrap_err();
        assert!(refused.to_string().contains("a cycle"), "{refused}");
        assert_eq!(turn.running().as_deref(), Some("a cycle"));
        assert_eq!(turn.stop().as_deref(), Some("a cycle"));
        assert!(stop.is_cancelled());
        drop(first);
        assert_eq!(turn.running(), None);
        turn.take_now("an export", &stop).unwrap();
    }

    /// A clock on which nobody waits.
    struct Impatient;

    impl Clock for Impatient {
        fn now(&self) -> Timestamp {
            Timestamp(1_790_000_000_000_000)
        }

        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::ready(()))
        }
    }

    #[test]
    fn a_tenant_is_known_by_its_folder_and_begins_anew_for_another_profile() {
        let (folder, runtime, cx) = (tempfile::tempdir().unwrap(), tokio::runtime::Runtime::new().unwrap(), Context::system());
        let connectors = folder.path().join("connectors");
        std::fs::create_dir(&connectors).unwrap();
        let configured = |profile: &str, name: &str, place: &str| {
            std::fs::write(folder.path().join("syncline.toml"), format!("version = 1\n[rules]\nprofile = \"{profile}\"\n")).unwrap();
            let text = format!("kind = \"entra\"\nname = \"{name}\"\ntenant = \"embedded\"\n[embedded]\nfolder = \"{place}\"\n");
            std::fs::write(connectors.join("cloud.toml"), text).unwrap();
            Config::load(folder.path()).unwrap()
        };
        let store = Store::in_memory().unwrap();
        let first = Service::on_store(configured("full", "Cloud", "tenant"), store, runtime.handle().clone()).unwrap();
        let renamed = first.reconfigured(configured("full", "Sky", "connectors/../tenant")).unwrap();
        let elsewhere = first.reconfigured(configured("full", "Sky", "other")).unwrap();
        let narrow = first.reconfigured(configured("password-only", "Sky", "other")).unwrap();
        let mut held = Vec::new();
        runtime.block_on(async {
            first.hold_tenants(&cx, &mut held).await.unwrap();
            let (address, id) = (held[0].tenant().base_url().to_owned(), held[0].tenant().credentials().tenant_id);
            renamed.hold_tenants(&cx, &mut held).await.unwrap();
            assert_eq!((held.len(), held[0].tenant().base_url()), (1, &*address), "it went on");
            elsewhere.hold_tenants(&cx, &mut held).await.unwrap();
            assert!(held.len() == 1 && held[0].tenant().credentials().tenant_id != id, "that is another one");

            // Somebody still uses it as it was.
            let (address, id) = (held[0].tenant().base_url().to_owned(), held[0].tenant().credentials().tenant_id);
            let mut guest = Vec::new();
            elsewhere.hold_tenants(&cx, &mut guest).await.unwrap();
            let impatient = Context { clock: Arc::new(Impatient), ..cx.clone() };
            let refused = narrow.hold_tenants(&impatient, &mut held).await.unwrap_err().to_string();
            assert!(refused.contains("Sky") && refused.contains("another profile"), "{refused}");
            assert!(held.is_empty(), "what nobody names any more is given back");
            let leaving = async {
                tokio::task::yield_now().await;
                elsewhere.release_tenants(guest).await;
            };
            let (done, ()) = tokio::join!(narrow.hold_tenants(&cx, &mut held), leaving);
            done.unwrap();
            assert_eq!(held[0].tenant().credentials().tenant_id, id);
            assert_ne!(held[0].tenant().base_url(), address);
            narrow.release_tenants(held).await;
            assert!(first.facilities.tenants.running.lock().await.is_empty(), "they ended");
        });
    }

    #[tokio::test]
    async fn who_waits_gets_the_turn_when_it_is_free() {
        let (turn, cx) = (Turn::default(), Context::system());
        let first = turn.take_now("a cycle", &cx.cancel).unwrap();
        let refused = turn.take(&cx, "an export", Duration::from_millis(1)).await.map(drop);
        assert!(refused.unwrap_err().to_string().contains("a cycle"));
        let second = turn.take(&cx, "an export", Duration::from_mins(1));
        let free = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, free);
        drop(second.unwrap());
        assert_eq!(turn.running(), None);
    }
}
