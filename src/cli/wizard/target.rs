//! Question five: which tenant, as whom, and whether it knows the names that people sign in with.

use super::Wizard;
use super::source::Source;
use crate::cli::args::TenantKind;
use crate::cli::commands::init::{TENANT_CREDENTIAL, check_domain, secret_of_file};
use crate::cli::error::CommandError;
use crate::cli::output::{Output, clean, table, thousands};
use crate::config::TemplateTenant;
use crate::connector::entra::{EntraSettings, LOGIN_URL, PROVISIONING_URL, SignIn, SignInDesk, TenantSurvey};
use crate::service::{PUBLIC_CLIENT, graph_of, refresh_name};
use secrecy::{ExposeSecret as _, SecretString};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// A tenant that was tried out.
pub(super) struct Target {
    pub(super) template: TemplateTenant,
    pub(super) secret: Option<(String, SecretString)>,
}

/// Suffixes that the table shows.
const SUFFIXES: usize = 20;
/// Clocks may differ so far, in seconds: tokens are good for as long before and after.
const SKEW: i64 = 300;

/// Shows the code to a person, and holds what makes the next sign-in silent until it is written.
struct Desk {
    output: Output,
    kept: Mutex<Option<SecretString>>,
}

impl SignInDesk for Desk {
    fn show(&self, message: &str) {
        self.output.note(clean(message));
    }

    fn keep(&self, refresh_token: &SecretString) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(refresh_token.clone());
    }
}

impl Wizard<'_> {
    pub(super) fn target(&self, source: &Source) -> Result<Target, CommandError> {
        self.step(5, "Where people go");
        let kind = if let Some(kind) = self.arguments.tenant {
            kind
        } else {
            let kinds = ["A local tenant that runs with the program, to look at everything first", "Microsoft Entra ID"].map(str::to_owned);
            if self.questions.one_of("Tenant", &kinds, 0)? == 0 { TenantKind::Local } else { TenantKind::Entra }
        };
        match kind {
            TenantKind::Local => self.local(source),
            TenantKind::Entra => self.entra(source),
        }
    }

    /// The embedded tenant: its verified domains are whatever is ticked.
    fn local(&self, source: &Source) -> Result<Target, CommandError> {
        let mut verified = self.arguments.verified_domain.clone();
        if verified.is_empty() {
            let known: Vec<(&String, &u64)> = source.census.iter().flat_map(|census| &census.suffixes).collect();
            let usable: Vec<(&String, &u64)> = known.into_iter().filter(|(suffix, _)| check_domain("it", suffix).is_ok()).collect();
            match usable.as_slice() {
                [] => verified.extend(self.arguments.domain.clone().or_else(|| source.domain.clone())),
                [(only, _)] => verified.push((*only).clone()),
                several => {
                    let mut several = several.to_vec();
                    several.sort_by(|left, right| right.1.cmp(left.1));
                    several.truncate(SUFFIXES);
                    let items: Vec<(String, bool)> =
                        several.iter().map(|(suffix, count)| (clean(format!("{suffix}  ({} people)", thousands(**count))), true)).collect();
                    let prompt = "Verified domains (blank ticks and unticks, return goes on)";
                    let ticked = self.questions.some_of(prompt, &items)?;
                    verified = several.iter().zip(ticked).filter(|(_, ticked)| *ticked).map(|((suffix, _), _)| (*suffix).clone()).collect();
                }
            }
        }
        self.suffixes(source, &Ok(verified.clone()));
        Ok(Target { template: TemplateTenant::Local { verified_domains: verified }, secret: None })
    }

    /// A tenant elsewhere: asked until it lets us in.
    fn entra(&self, source: &Source) -> Result<Target, CommandError> {
        let arguments = self.arguments;
        let ca_file: Option<PathBuf> = arguments
            .tenant_ca_file
            .as_deref()
            .map(std::path::absolute)
            .transpose()
            .map_err(|error| CommandError::usage(error.to_string()))?;
        let (mut known_tenant, mut known_client): (Option<String>, Option<String>) = (None, None);
        let mut refused: Option<SecretString> = None;
        loop {
            let typed = |text: &String| refused.as_ref().is_some_and(|refused| refused.expose_secret() == text);
            let tenant = match &arguments.tenant_id {
                Some(tenant) => tenant.clone(),
                None => self.questions.text("The tenant's id, or one of its domains", known_tenant.as_deref())?,
            };
            if arguments.tenant_id.is_none() && typed(&tenant) {
                self.wrong("this is the secret that was just typed; the tenant's id is asked for here", None)?;
                continue;
            }
            if uuid::Uuid::parse_str(&tenant).is_err() && check_domain("it", &tenant).is_err() {
                let option = arguments.tenant_id.as_ref().map(|_| "--tenant-id");
                self.wrong(format!("'{tenant}' is neither an id nor a domain: write contoso.onmicrosoft.com"), option)?;
                continue;
            }
            known_tenant = Some(tenant.clone());
            let client_id = match &arguments.client_id {
                Some(client_id) => client_id.clone(),
                None => self.questions.text("The application's id (empty: you sign in by a code)", known_client.as_deref())?,
            };
            if arguments.client_id.is_none() && typed(&client_id) {
                self.wrong("this is the secret that was just typed; the application's id is asked for here", None)?;
                continue;
            }
            let client_id = Some(client_id).filter(|id| !id.is_empty());
            known_client.clone_from(&client_id);
            let desk = Arc::new(Desk { output: self.app.output.clone(), kept: Mutex::default() });
            let mut secret = None;
            let sign_in = match &client_id {
                Some(client_id) => {
                    let given = match &arguments.client_secret_file {
                        Some(file) => secret_of_file(file)?,
                        None => self.questions.secret("The application's secret (not shown)")?,
                    };
                    secret = Some((TENANT_CREDENTIAL.to_owned(), given.clone()));
                    refused = Some(given.clone());
                    SignIn::Secret { client_id: client_id.clone(), secret: given }
                }
                None => SignIn::Person {
                    client_id: PUBLIC_CLIENT.to_owned(),
                    refresh_token: None,
                    desk: Arc::clone(&desk) as Arc<dyn SignInDesk>,
                },
            };
            let login_url = arguments.login_url.clone().unwrap_or_else(|| LOGIN_URL.to_owned());
            let settings = EntraSettings {
                graph_url: graph_of(&login_url),
                login_url,
                provisioning_url: arguments.provisioning_url.clone().unwrap_or_else(|| PROVISIONING_URL.to_owned()),
                ca_file: ca_file.clone(),
                ..EntraSettings::new(&tenant, sign_in)
            };
            let survey = match self.surveyor.tenant(&self.app.cx, settings) {
                Ok(survey) => survey,
                Err(error) => {
                    let all_given =
                        arguments.tenant_id.is_some() && arguments.client_id.is_some() && arguments.client_secret_file.is_some();
                    self.wrong(&error.message, all_given.then_some("--tenant-id, --client-id, --client-secret-file"))?;
                    continue;
                }
            };
            self.tell_tenant(&survey);
            let names =
                survey.domains.map(|domains| domains.into_iter().filter(|domain| domain.is_verified).map(|domain| domain.id).collect());
            self.suffixes(source, &names);
            let kept = desk.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
            secret = secret.or_else(|| kept.map(|token| (refresh_name("Entra"), token)));
            return Ok(Target {
                template: TemplateTenant::Entra {
                    tenant,
                    client_id,
                    credential: TENANT_CREDENTIAL.to_owned(),
                    login_url: arguments.login_url.clone(),
                    provisioning_url: arguments.provisioning_url.clone(),
                    ca_file,
                },
                secret,
            });
        }
    }

    fn tell_tenant(&self, survey: &TenantSurvey) {
        self.good(format!("the tenant is {} ({})", survey.name, survey.id));
        if survey.features.synchronization {
            self.good("directory synchronization is on in it");
        } else {
            self.warn("directory synchronization is off in it: a Hybrid Identity Administrator switches it on once (docs/guide/entra.md)");
        }
        if let Some(machine) = &survey.last_client {
            self.warn(format!("the machine '{machine}' synchronizes into it, or did so: two must never export at the same time"));
        }
        match survey.clock_ahead {
            Some(ahead) if ahead.abs() > SKEW => self.warn(format!("its clock differs from ours by {ahead} s: set this machine's")),
            Some(ahead) => self.good(format!("the clocks agree ({ahead} s)")),
            None => {}
        }
    }

    /// The names that people would sign in with, and whether the tenant lets them.
    fn suffixes(&self, source: &Source, verified: &Result<Vec<String>, String>) {
        let Some(census) = &source.census else { return };
        let state = |suffix: &str| match verified {
            Ok(names) if names.iter().any(|name| name.eq_ignore_ascii_case(suffix)) => "Verified",
            Ok(_) => "Not verified",
            Err(_) => "unknown",
        };
        let mut suffixes: Vec<(&String, &u64)> = census.suffixes.iter().collect();
        suffixes.sort_by(|left, right| right.1.cmp(left.1));
        let mut rows: Vec<[String; 3]> = suffixes
            .iter()
            .take(SUFFIXES)
            .map(|(suffix, count)| [(*suffix).clone(), thousands(**count), state(suffix).to_owned()])
            .collect();
        if census.nameless > 0 {
            rows.push(["(no such name)".to_owned(), thousands(census.nameless), String::new()]);
        }
        self.note(table(["sign-in names end with", "people", "in the tenant"], &["people"], rows).laid_out(self.app.output.width()));
        if let Err(reason) = verified {
            self.warn(format!("which domains are verified is not known: {reason}"));
        }
        let strangers: u64 = suffixes.iter().filter(|(suffix, _)| state(suffix) == "Not verified").map(|(_, count)| **count).sum();
        if strangers > 0 {
            self.warn(format!(
                "{} people would get a name of the tenant's initial domain, since theirs ends with one that is not verified there",
                thousands(strangers)
            ));
        }
    }
}
