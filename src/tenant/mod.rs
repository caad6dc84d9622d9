//! The local tenant: an Entra-compatible cloud tenant in one process, for demonstrations, rehearsals and tests.
//!
//! It speaks the real wire protocols (provisioning service, token endpoints, Graph) and imitates what is documented of
//! the service's behaviour. It is a stranger to the engine: only the network lies between them.

pub mod command;
pub mod directory;
pub mod faults;
pub mod identity;
pub mod service;
pub mod settings;
pub mod state;
pub mod traffic;

pub use service::{ServerHandle, Tls, serve};
pub use settings::{TenantCredentials, TenantSettings};

use crate::context::Context;
use crate::model::{Timestamp, fold};
use directory::{Authentication, Directory, DirectoryError, Edit, ObjectKind, Policy, Refusal};
use faults::{Bucket, Faults};
use identity::sign_in::micros;
use identity::token::{KeyError, SigningKey};
use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret;
use state::{Activation, Application, Domain, State};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use traffic::Traffic;
use uuid::Uuid;

const STATE_ROW: &str = "state";
const KEY_ROW: &str = "signing key";
/// The sweep's period: one hour.
const SWEEP: Duration = Duration::from_hours(1);
/// The role that sync accounts hold.
pub const SYNC_ROLE: &str = "Directory Synchronization Accounts";

/// Where a tenant keeps its directory.
#[derive(Clone, Debug)]
pub enum Location {
    /// In a file; made when missing.
    File(PathBuf),
    /// In memory, gone with the process.
    Memory,
}

/// Why the tenant cannot do something. Refusals of objects and of sign-ins are answers, not errors.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// An object was refused where none should be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The state row cannot be read.
    #[error("the tenant's state cannot be read: {0}; restore the file from a copy or start a new tenant")]
    State(serde_json::Error),
    /// The file belongs to another tenant.
    #[error("the file holds the tenant {found}, but the credentials are for {expected}; use the credentials file that belongs to it")]
    OtherTenant {
        /// In the file.
        found: Uuid,
        /// In the settings.
        expected: Uuid,
    },
}

/// A tenant, open.
pub struct Tenant {
    directory: Directory,
    settings: TenantSettings,
    state: RwLock<State>,
    key: SigningKey,
    faults: Mutex<Faults>,
    bucket: Mutex<Option<Bucket>>,
    traffic: Mutex<Traffic>,
    devices: Mutex<HashMap<String, DeviceCode>>,
    context: Context,
}

/// A sign-in by device code that somebody has to approve.
#[derive(Clone, Debug)]
pub(crate) struct DeviceCode {
    user_code: String,
    client: String,
    scope: String,
    expires: i64,
    approved: Option<String>,
    polls: u32,
}

impl Tenant {
    /// Opens a tenant, or makes it when the location is empty.
    pub fn open(location: &Location, settings: TenantSettings, context: Context) -> Result<Arc<Self>, TenantError> {
        let directory = match location {
            Location::File(path) => Directory::open(path, settings.cache)?,
            Location::Memory => Directory::in_memory()?,
        };
        let reader = directory.read()?;
        let (state_row, key_row) = (reader.meta(STATE_ROW)?, reader.meta(KEY_ROW)?);
        drop(reader);
        let key_row = match key_row {
            Some(row) => zeroize::Zeroizing::new(row),
            None => SigningKey::generate()?,
        };
        let fresh = state_row.is_none();
        let mut state = match state_row {
            Some(row) => serde_json::from_slice(&row).map_err(TenantError::State)?,
            None => first_state(&settings, context.now()),
        };
        if state.tenant_id != settings.credentials.tenant_id {
            return Err(TenantError::OtherTenant { found: state.tenant_id, expected: settings.credentials.tenant_id });
        }
        register(&mut state, &settings);
        let row = serde_json::to_vec(&state).map_err(TenantError::State)?;
        directory.write(|writer| {
            writer.put_meta(KEY_ROW, &key_row)?;
            writer.put_meta(STATE_ROW, &row)
        })?;
        let faults = Faults::new(settings.faults.clone(), context.seed);
        let bucket = settings.throttle.map(|throttle| Bucket::new(throttle, context.clock.elapsed()));
        let tenant = Self {
            directory,
            key: SigningKey::load(&key_row)?,
            state: RwLock::new(state),
            faults: Mutex::new(faults),
            bucket: Mutex::new(bucket),
            traffic: Mutex::default(),
            devices: Mutex::default(),
            settings,
            context,
        };
        if fresh {
            // The tenant's own sync account: a cloud-only object, so that a read-back is never empty
            // (specification: provisioning service 3.5).
            tenant.make_sync_account(&format!("Sync_LOCAL_{}", &tenant.state().tenant_id.simple().to_string()[..12]), None)?;
        }
        Ok(Arc::new(tenant))
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &TenantSettings {
        &self.settings
    }

    /// The directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The state as it stands; hold it briefly.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and writes it.
    pub fn update_state<R>(&self, change: impl FnOnce(&mut State) -> R) -> Result<R, TenantError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.clone();
        let result = change(&mut next);
        let row = serde_json::to_vec(&next).map_err(TenantError::State)?;
        self.directory.write(|writer| writer.put_meta(STATE_ROW, &row))?;
        *state = next;
        Ok(result)
    }

    /// The tenant's time: the context's clock, advanced as far as an administrator did.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.context.now().0.saturating_add(self.state().clock_offset))
    }

    /// The context it was opened with.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The key that signs tokens.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// What the settings mean for a write right now.
    pub fn policy(&self) -> Policy {
        let now = self.now();
        let state = self.state();
        Policy {
            now,
            features: state.features,
            initial_domain: state.initial_domain.clone(),
            domains: state
                .domains
                .iter()
                .filter(|domain| domain.verified)
                .map(|domain| (fold(&domain.name).into_owned(), domain.authentication))
                .collect(),
            placeholder_with_plus: self.settings.placeholder_with_plus,
            quota: self.settings.quota,
            recycle_microseconds: micros(self.settings.recycle),
            password_only_links: self.settings.password_only_links,
        }
    }

    /// What reached the tenant so far.
    pub fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The faults on demand.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token bucket.
    pub fn bucket(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn devices(&self) -> MutexGuard<'_, HashMap<String, DeviceCode>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due by the tenant's clock: ends a pending deactivation, and once an hour purges the recycle bin
    /// and releases values kept aside.
    pub fn tick(&self) -> Result<(), TenantError> {
        let now = self.now();
        let (activation, last_sweep) = {
            let state = self.state();
            (state.activation, state.last_sweep)
        };
        if let Activation::PendingDisabled(until) = activation
            && until <= now.0
        {
            self.finish_deactivation()?;
        }
        if now.since(Timestamp(last_sweep)) >= SWEEP {
            self.update_state(|state| state.last_sweep = now.0)?;
            self.directory.sweep(&self.policy())?;
        }
        Ok(())
    }

    /// Turns directory synchronization on or off. False while turning off is under way: that cannot be cancelled
    /// (specification: sync engine 6.2).
    pub fn activate(&self, on: bool) -> Result<bool, TenantError> {
        self.tick()?;
        let until = self.now().0.saturating_add(micros(self.settings.deactivation));
        let done = self.update_state(|state| {
            let next = match (state.activation, on) {
                (Activation::PendingDisabled(_), _) => return false,
                (Activation::Enabled, false) => Activation::PendingDisabled(until),
                (_, true) => Activation::Enabled,
                (Activation::Disabled, false) => Activation::Disabled,
            };
            state.activation = next;
            state.ever_activated |= on;
            true
        })?;
        self.tick()?;
        Ok(done)
    }

    fn finish_deactivation(&self) -> Result<(), TenantError> {
        self.directory.release_all()?;
        self.update_state(|state| {
            state.activation = Activation::Disabled;
            state.last_synchronization = None;
        })
    }

    /// Advances the tenant's clock and does what has become due.
    pub fn advance_clock(&self, microseconds: i64) -> Result<Timestamp, TenantError> {
        self.update_state(|state| state.clock_offset = state.clock_offset.saturating_add(microseconds.max(0)))?;
        self.tick()?;
        Ok(self.now())
    }

    /// Adds a verified domain, or verifies one, and makes sign-in names again.
    pub fn add_domain(&self, name: &str, authentication: Authentication) -> Result<(), TenantError> {
        self.update_state(|state| match state.domain_mut(name) {
            Some(domain) => {
                domain.verified = true;
                domain.authentication = authentication;
            }
            None => state.domains.push(Domain {
                name: name.to_owned(),
                verified: true,
                authentication,
                initial: false,
                default: false,
                federation: None,
            }),
        })?;
        self.directory.recompute_names(&self.policy())?;
        Ok(())
    }

    /// Removes a domain and makes sign-in names again. False for the initial domain and for unknown ones.
    pub fn remove_domain(&self, name: &str) -> Result<bool, TenantError> {
        let removed = self.update_state(|state| {
            let before = state.domains.len();
            state.domains.retain(|domain| domain.initial || fold(&domain.name) != fold(name));
            before != state.domains.len()
        })?;
        if removed {
            self.directory.recompute_names(&self.policy())?;
        }
        Ok(removed)
    }

    /// Makes the sync account `<identifier>@<initial domain>`, or sets its password anew; answers its sign-in name.
    pub fn make_sync_account(&self, identifier: &str, password: Option<&secrecy::SecretString>) -> Result<String, TenantError> {
        let name = format!("{identifier}@{}", self.state().initial_domain);
        let policy = self.policy();
        let object = if let Some((object, _)) = self.find_user(&name)? {
            object
        } else {
            let edit = Edit {
                values: vec![
                    ("userPrincipalName".to_owned(), name.as_str().into()),
                    ("displayName".to_owned(), "On-Premises Directory Synchronization Service Account".into()),
                ],
                roles: Some(vec![SYNC_ROLE.to_owned()]),
                ..Edit::default()
            };
            let record = self.directory.create_cloud_object(ObjectKind::User, &edit, &policy)?;
            self.update_state(|state| state.sync_accounts.push(record.uuid()))?;
            self.directory.read()?.by_id(record.uuid())?.ok_or(DirectoryError::Damaged("an account just made is not there"))?
        };
        if let Some(password) = password {
            self.directory.set_password(object, password, false, &policy)?;
        }
        Ok(name)
    }
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant").field("tenant_id", &self.state().tenant_id).finish_non_exhaustive()
    }
}

fn first_state(settings: &TenantSettings, now: Timestamp) -> State {
    let domain = |name: &String, initial: bool| Domain {
        name: name.clone(),
        verified: true,
        authentication: Authentication::Managed,
        initial,
        default: initial,
        federation: None,
    };
    let mut domains = vec![domain(&settings.initial_domain, true)];
    domains.extend(settings.verified_domains.iter().map(|name| domain(name, false)));
    State {
        tenant_id: settings.credentials.tenant_id,
        name: settings.name.clone(),
        initial_domain: settings.initial_domain.clone(),
        created: now.0,
        domains,
        features: directory::Features::DEFAULT,
        unnumbered_features: Vec::new(),
        activation: if settings.activated { Activation::Enabled } else { Activation::Disabled },
        ever_activated: settings.activated,
        deletion_prevention: "enabledForCount".to_owned(),
        deletion_threshold: 500,
        applications: Vec::new(),
        sync_accounts: Vec::new(),
        last_synchronization: None,
        last_password_synchronization: None,
        last_export: (0, 0),
        last_writer: None,
        client_application: None,
        client_version: None,
        clock_offset: 0,
        last_sweep: now.0,
    }
}

/// The application of the settings is registered, with the secret and the certificates of the settings.
fn register(state: &mut State, settings: &TenantSettings) {
    use base64::Engine as _;
    let credentials = &settings.credentials;
    state.applications.retain(|application| application.client_id != credentials.client_id);
    state.applications.push(Application {
        client_id: credentials.client_id,
        name: "Syncline".to_owned(),
        secret_hash: Some(secret_hash(credentials.client_secret.expose_secret())),
        secret_expires: None,
        certificates: settings.certificates.iter().map(|der| base64::engine::general_purpose::STANDARD.encode(der)).collect(),
        synchronization: true,
    });
}

/// How secrets of applications are kept: SHA-256 in hex, enough for 256 random bits.
pub(crate) fn secret_hash(secret: &str) -> String {
    hex::encode(digest(&SHA256, secret.as_bytes()))
}
