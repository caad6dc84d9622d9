//! One bound connection: settings, encryption, bind, searches, and what their failures mean.

use super::raw::RawEntry;
use crate::connector::tls;
use crate::connector::{ConnectorError, ConnectorErrorKind, SignIn, Way};
use crate::context::Context;
use crate::protocol::ldap::{EXTENDED_DN, EXTENDED_DN_TEXT, PAGED_RESULTS, PagedReply, bind_detail, code_name, paged_request};
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchStream};
use secrecy::{ExposeSecret as _, SecretString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The sentence with which a connection without encryption is refused.
pub const PLAIN_REFUSED: &str = "the password would go over the network in clear text; use an ldaps:// address or start_tls (or set allow_plain if that is really wanted)";

/// The most entries that are taken in one answer: some pages' worth, for small servers that cannot page.
const AT_ONCE: usize = 10_000;

/// How to reach a directory, and as whom.
#[derive(Clone, Debug)]
pub struct LdapSettings {
    /// `ldaps://host[:port]` or `ldap://host[:port]`.
    pub url: String,
    /// Encrypt an `ldap://` connection by StartTLS (RFC 4511 section 4.14).
    pub start_tls: bool,
    /// Allow an `ldap://` connection without encryption.
    pub allow_plain: bool,
    /// PEM file with the certificate authorities to trust; those of the machine without it.
    pub ca_file: Option<PathBuf>,
    /// The account: a distinguished name, or for Active Directory also `user@domain` or `DOMAIN\user`.
    pub bind_name: String,
    /// Its password.
    pub bind_password: SecretString,
    /// Longest wait for a connection with its encryption.
    pub connect_timeout: Duration,
    /// Longest wait for the next piece of an answer.
    pub answer_timeout: Duration,
    /// Entries to ask for in one page. Active Directory gives 1,000 at most.
    pub page_size: u32,
    /// Ask for attributes that refer to other objects in portions of this many values, so that no message gets large;
    /// without it the server decides.
    pub value_range: Option<u32>,
    /// Past what is known of the account's secret; without it nothing is known.
    pub sign_in: Option<SignIn>,
}

impl LdapSettings {
    /// Settings with the usual limits.
    pub fn new(url: impl Into<String>, bind_name: impl Into<String>, bind_password: SecretString) -> Self {
        Self {
            url: url.into(),
            start_tls: false,
            allow_plain: false,
            ca_file: None,
            bind_name: bind_name.into(),
            bind_password,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_mins(2),
            page_size: 1_000,
            value_range: None,
            sign_in: None,
        }
    }
}

/// A bound connection.
pub(crate) struct Client {
    pub(in crate::connector) ldap: Ldap,
    pub(crate) settings: Arc<LdapSettings>,
    driver: tokio::task::JoinHandle<()>,
    pages: bool,
    extended_names: bool,
}

/// The control by which names come with the GUIDs of their objects, as text.
pub(crate) fn extended_names() -> RawControl {
    RawControl { ctype: EXTENDED_DN.to_owned(), crit: false, val: Some(EXTENDED_DN_TEXT.to_vec()) }
}

/// What one page of a search brought.
pub(crate) struct Found {
    pub(crate) entries: Vec<RawEntry>,
    /// For the next page; empty behind the last.
    pub(crate) cookie: Vec<u8>,
}

/// A search, for which the caller brings its own controls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) base: &'a str,
    pub(crate) scope: Scope,
    pub(crate) filter: &'a str,
    pub(crate) attributes: &'a [&'a str],
}

/// The answer to a search, as it comes in.
pub(crate) struct Answer {
    stream: SearchStream<'static, String, Vec<String>>,
    settings: Arc<LdapSettings>,
    /// What was asked, for messages.
    during: String,
}

impl Answer {
    /// The next entry; `None` behind the last. References to other servers are for those who follow them.
    pub(crate) async fn next(&mut self) -> Result<Option<RawEntry>, ConnectorError> {
        loop {
            match self.stream.next().await {
                Ok(Some(entry)) if entry.is_ref() || entry.is_intermediate() => {}
                Ok(Some(entry)) => return Ok(Some(RawEntry::new(entry.0))),
                Ok(None) => return Ok(None),
                Err(error) => return Err(lost(&self.settings, &error, &self.during)),
            }
        }
    }

    /// The result behind the last entry.
    pub(crate) async fn finish(mut self) -> LdapResult {
        self.stream.finish().await
    }
}

/// The value of a control that came with a result.
pub(crate) fn reply_control<'a>(result: &'a LdapResult, name: &str) -> Option<&'a [u8]> {
    result.ctrls.iter().find(|control| control.1.ctype == name).and_then(|control| control.1.val.as_deref())
}

impl Client {
    /// Connects and binds.
    pub(crate) async fn connect(settings: Arc<LdapSettings>) -> Result<Self, ConnectorError> {
        let encrypted = check(&settings)?;
        let tls = if encrypted { Some(tls::configuration(settings.ca_file.as_deref())?) } else { None };
        let mut client = Self::open(settings, tls).await?;
        client.bind().await?;
        Ok(client)
    }

    /// Connects to a socket on this machine whose server knows by itself who calls: nothing is bound, nothing encrypted.
    /// Of the settings only the limits count, and the address and the name in messages.
    pub(crate) async fn local(settings: Arc<LdapSettings>) -> Result<Self, ConnectorError> {
        if !settings.url.starts_with("ldapi://") {
            let message = format!("'{}' is no ldapi:// address", settings.url);
            return Err(ConnectorError::new(ConnectorErrorKind::Configuration, message).unsent());
        }
        Self::open(settings, None).await
    }

    async fn open(settings: Arc<LdapSettings>, tls: Option<Arc<rustls::ClientConfig>>) -> Result<Self, ConnectorError> {
        let mut options = LdapConnSettings::new().set_conn_timeout(settings.connect_timeout).set_starttls(settings.start_tls);
        if let Some(tls) = tls {
            options = options.set_config(tls);
        }
        let (connection, ldap) =
            LdapConnAsync::with_settings(options, &settings.url).await.map_err(|error| connect_error(&settings, &error))?;
        // A task of its own: a panic of the decoder on a malformed message ends the connection and nothing else.
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "LDAP connection ended");
            }
        });
        Ok(Self { ldap, settings, driver, pages: false, extended_names: false })
    }

    async fn bind(&mut self) -> Result<(), ConnectorError> {
        let settings = self.settings.clone();
        let Some(sign_in) = &settings.sign_in else { return self.bind_now().await };
        let attempt = sign_in.begin(Way::Ldap, &settings.bind_name, &settings.bind_password, false).await?;
        let outcome = self.bind_now().await;
        match &outcome {
            Ok(()) => attempt.let_in(),
            // What is said of the connection is no word about the account.
            Err(error) => attempt.refused(error, false),
        }
        outcome
    }

    async fn bind_now(&mut self) -> Result<(), ConnectorError> {
        let settings = self.settings.clone();
        self.ldap.with_timeout(settings.answer_timeout);
        let result = self
            .ldap
            .simple_bind(&settings.bind_name, settings.bind_password.expose_secret())
            .await
            .map_err(|error| lost(&settings, &error, "the bind"))?;
        if result.rc == 0 {
            return Ok(());
        }
        Err(bind_error(&settings, &result))
    }

    /// Reads the root entry (RFC 4512 section 5.1) and learns from it whether the server can page.
    pub(crate) async fn root(&mut self, attributes: &[&str]) -> Result<RawEntry, ConnectorError> {
        let mut wanted: Vec<&str> = attributes.to_vec();
        wanted.push("supportedControl");
        let found = self.read("", &wanted).await?;
        let root = found.ok_or_else(|| {
            ConnectorError::new(ConnectorErrorKind::Search, format!("{}: the server shows no root entry (rootDSE)", self.settings.url))
        })?;
        self.pages = root.texts("supportedControl").contains(&PAGED_RESULTS);
        Ok(root)
    }

    /// Reads one object; `None` when the account cannot see it.
    pub(crate) async fn read(&mut self, dn: &str, attributes: &[&str]) -> Result<Option<RawEntry>, ConnectorError> {
        let (found, result) = self.search_once(dn, Scope::Base, "(objectClass=*)", attributes, Vec::new()).await?;
        match result.rc {
            0 => Ok(found.entries.into_iter().next()),
            _ => Err(self.search_error(dn, &result)),
        }
    }

    /// True when something of this name is there and the account sees it.
    pub(crate) async fn exists(&mut self, dn: &str) -> Result<bool, ConnectorError> {
        // RFC 4511, appendix A: noSuchObject.
        const NO_SUCH_OBJECT: u32 = 32;
        let (found, result) = self.search_once(dn, Scope::Base, "(objectClass=*)", &["1.1"], Vec::new()).await?;
        match result.rc {
            0 => Ok(!found.entries.is_empty()),
            NO_SUCH_OBJECT => Ok(false),
            _ => Err(self.search_error(dn, &result)),
        }
    }

    /// True when the account sees an object with what it is: without rights a name may show, and nothing behind it.
    pub(crate) async fn shows(&mut self, dn: &str) -> Result<bool, ConnectorError> {
        match self.find(dn, Scope::Base, "(objectClass=*)", &["objectClass"]).await {
            Ok(found) => Ok(found.first().is_some_and(|entry| !entry.values("objectClass").is_empty())),
            Err(error) if error.kind == ConnectorErrorKind::Permission => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All entries of a small search, page by page.
    pub(crate) async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
    ) -> Result<Vec<RawEntry>, ConnectorError> {
        let mut entries = Vec::new();
        let mut cookie = Vec::new();
        loop {
            let mut found = self.page(base, scope, filter, attributes, &cookie).await?;
            entries.append(&mut found.entries);
            if found.cookie.is_empty() {
                return Ok(entries);
            }
            cookie = found.cookie;
        }
    }

    /// Entries of a small search whose base may be gone: nothing is found there then.
    pub(crate) async fn find(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
    ) -> Result<Vec<RawEntry>, ConnectorError> {
        if scope != Scope::Base {
            return self.search(base, scope, filter, attributes).await;
        }
        let (found, result) = self.search_once(base, scope, filter, attributes, Vec::new()).await?;
        match result.rc {
            0 => Ok(found.entries),
            // No such object, or it is another server's now.
            32 | 10 => Ok(Vec::new()),
            _ => Err(self.search_error(base, &result)),
        }
    }

    /// One page of a search. Everything when the server cannot page, as long as that is little.
    ///
    /// # Errors
    /// When the server refuses, and when it sends more at once than should be held in memory.
    pub(crate) async fn page(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
        cookie: &[u8],
    ) -> Result<Found, ConnectorError> {
        let (found, result) = self.page_with(&Query { base, scope, filter, attributes }, cookie, Vec::new()).await?;
        if result.rc != 0 {
            return Err(self.search_error(base, &result));
        }
        Ok(found)
    }

    /// One page of a search whose base may be gone: nothing is found there then.
    pub(crate) async fn page_if_there(
        &mut self,
        base: &str,
        filter: &str,
        attributes: &[&str],
        cookie: &[u8],
    ) -> Result<Option<Found>, ConnectorError> {
        let query = Query { base, scope: Scope::Subtree, filter, attributes };
        let (found, result) = self.page_with(&query, cookie, Vec::new()).await?;
        match result.rc {
            0 => Ok(Some(found)),
            32 | 10 => Ok(None),
            _ => Err(self.search_error(base, &result)),
        }
    }

    /// As [`Self::page`], with controls of the caller's own; what a result other than success means is the caller's to say.
    pub(crate) async fn page_with(
        &mut self,
        query: &Query<'_>,
        cookie: &[u8],
        mut controls: Vec<RawControl>,
    ) -> Result<(Found, LdapResult), ConnectorError> {
        if self.pages {
            let value = paged_request(self.settings.page_size.max(1), cookie);
            controls.push(RawControl { ctype: PAGED_RESULTS.to_owned(), crit: true, val: Some(value) });
        }
        self.search_once(query.base, query.scope, query.filter, query.attributes, controls).await
    }

    /// Makes sure that a container exists and can be read: an empty answer about what cannot be seen would look like
    /// an empty directory.
    pub(crate) async fn check_base(&mut self, base: &str) -> Result<(), ConnectorError> {
        match self.read(base, &["objectClass"]).await? {
            // Without rights a name may still show, and nothing behind it.
            Some(entry) if !entry.values("objectClass").is_empty() => Ok(()),
            _ => Err(ConnectorError::new(
                ConnectorErrorKind::Permission,
                format!(
                    "{}: account '{}' may not read '{base}'; give it the right to list and read there",
                    self.settings.url, self.settings.bind_name
                ),
            )),
        }
    }

    /// Says good-bye and ends the connection.
    pub(crate) async fn close(mut self) {
        self.ldap.with_timeout(self.settings.connect_timeout);
        // The server may have gone already, which is as good.
        let _ = self.ldap.unbind().await;
    }

    /// Begins a search with controls of the caller's own; the answer is read entry by entry.
    pub(crate) async fn begin(&mut self, query: &Query<'_>, controls: Vec<RawControl>) -> Result<Answer, ConnectorError> {
        self.ldap.with_timeout(self.settings.answer_timeout);
        self.start(query, controls).await
    }

    /// As [`Self::begin`], for a search whose answer never ends: there may be hours between two entries.
    pub(crate) async fn listen(&mut self, query: &Query<'_>, controls: Vec<RawControl>) -> Result<Answer, ConnectorError> {
        self.start(query, controls).await
    }

    /// From here on every name comes with the GUID of its object (MS-ADTS 3.1.1.3.4.1.5).
    pub(crate) fn ask_for_extended_names(&mut self) {
        self.extended_names = true;
    }

    async fn start(&mut self, query: &Query<'_>, mut controls: Vec<RawControl>) -> Result<Answer, ConnectorError> {
        if self.extended_names {
            controls.push(extended_names());
        }
        let settings = self.settings.clone();
        let during = format!("the search below '{}'", query.base);
        if !controls.is_empty() {
            self.ldap.with_controls(controls);
        }
        let attributes: Vec<String> = query.attributes.iter().map(|name| (*name).to_owned()).collect();
        let stream = self.ldap.streaming_search(query.base, query.scope, query.filter, attributes).await;
        let stream = stream.map_err(|error| lost(&settings, &error, &during))?;
        Ok(Answer { stream, settings, during })
    }

    async fn search_once(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
        controls: Vec<RawControl>,
    ) -> Result<(Found, LdapResult), ConnectorError> {
        let settings = self.settings.clone();
        let at_once = AT_ONCE.max(settings.page_size as usize);
        let mut answer = self.begin(&Query { base, scope, filter, attributes }, controls).await?;
        let mut entries = Vec::new();
        while let Some(entry) = answer.next().await? {
            if entries.len() >= at_once {
                return Err(ConnectorError::new(
                    ConnectorErrorKind::Search,
                    format!(
                        "{}: the search below '{base}' gives more than {at_once} entries at once, for which there is no room: the server \
                         does not divide its answer into pages (control {PAGED_RESULTS}, RFC 2696); allow the account to use that \
                         control, or choose smaller containers",
                        settings.url
                    ),
                ));
            }
            entries.push(entry);
        }
        let result = answer.finish().await;
        let cookie = match reply_control(&result, PAGED_RESULTS) {
            Some(value) => {
                let reply = PagedReply::parse(value).ok_or_else(|| {
                    ConnectorError::new(ConnectorErrorKind::Protocol, format!("{}: the server's paging control is malformed", settings.url))
                })?;
                reply.cookie
            }
            None => Vec::new(),
        };
        Ok((Found { entries, cookie }, result))
    }

    /// What a result other than success means for a search.
    pub(crate) fn search_error(&self, base: &str, result: &LdapResult) -> ConnectorError {
        let url = &self.settings.url;
        let said = said(result);
        let (kind, advice) = match result.rc {
            1 | 8 | 13 | 50 => (ConnectorErrorKind::Permission, format!("account '{}' may not search there", self.settings.bind_name)),
            3 | 4 | 11 => (
                ConnectorErrorKind::Search,
                "the server's limits end the search before it is complete; raise them for this account".to_owned(),
            ),
            10 => (ConnectorErrorKind::Search, "the server does not hold this part of the directory; ask the one that does".to_owned()),
            32 => (
                ConnectorErrorKind::Search,
                format!("'{base}' does not exist, or the account may not see it; correct the base or container (was it renamed?)"),
            ),
            34 => (ConnectorErrorKind::Search, format!("'{base}' is not a name that the server understands")),
            51 | 52 => (ConnectorErrorKind::Busy, "the server is busy; try again later".to_owned()),
            _ => (ConnectorErrorKind::Search, "the server refused the search".to_owned()),
        };
        ConnectorError::new(kind, format!("{url}: search below '{base}': {advice} ({said})"))
    }

    /// Waits for `work` unless the run is told to stop first.
    pub(crate) async fn unless_cancelled<T>(
        cx: &Context,
        work: impl Future<Output = Result<T, ConnectorError>>,
    ) -> Result<T, ConnectorError> {
        tokio::select! {
            biased;
            () = cx.cancel.cancelled() => Err(ConnectorError::new(ConnectorErrorKind::Cancelled, "told to stop before the server had answered")),
            done = work => done,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // What a server still sends after the import ended is for nobody. `close` has waited for its good-bye.
        self.driver.abort();
    }
}

/// True when the connection will be encrypted.
fn check(settings: &LdapSettings) -> Result<bool, ConnectorError> {
    let wrong = |message: String| Err(ConnectorError::new(ConnectorErrorKind::Configuration, message).unsent());
    let url = &settings.url;
    let (secure, rest) = match (url.strip_prefix("ldaps://"), url.strip_prefix("ldap://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return wrong(format!("'{url}' is not an ldap:// or ldaps:// address")),
    };
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.starts_with(':') || host.contains(['/', '?', '#', '@', ' ']) {
        return wrong(format!("'{url}' must be ldap://host, ldap://host:port, or the same with ldaps"));
    }
    if secure && settings.start_tls {
        return wrong(format!("{url}: start_tls goes with ldap:// addresses; ldaps:// is encrypted from the start"));
    }
    if settings.bind_name.is_empty() || settings.bind_password.expose_secret().is_empty() {
        // A bind without password succeeds anonymously (RFC 4513 section 5.1.2), and reads next to nothing.
        return wrong(format!("{url}: an account and its password are needed"));
    }
    if !secure && !settings.start_tls && !settings.allow_plain {
        return wrong(format!("{url}: {PLAIN_REFUSED}"));
    }
    Ok(secure || settings.start_tls)
}

/// The server's own words, with the name of the code.
pub(crate) fn said(result: &LdapResult) -> String {
    // Samba ends its texts with an octet 0, others with line breaks.
    let text = result.text.trim_matches(|character: char| character.is_control() || character == ' ');
    let name = code_name(result.rc);
    if text.is_empty() { format!("{} {name}", result.rc) } else { format!("{} {name}: {text}", result.rc) }
}

fn bind_error(settings: &LdapSettings, result: &LdapResult) -> ConnectorError {
    let (url, account) = (&settings.url, &settings.bind_name);
    let said = said(result);
    let (kind, advice) = match result.rc {
        8 | 13 => {
            (ConnectorErrorKind::Authentication, "the server takes passwords over encrypted connections only; use ldaps:// or start_tls")
        }
        32 | 34 | 48 | 49 => (ConnectorErrorKind::Authentication, bind_detail(&result.text).unwrap_or("the name or the password is wrong")),
        51 | 52 => {
            return ConnectorError::new(ConnectorErrorKind::Busy, format!("{url}: the server is busy ({said})")).unsent();
        }
        50 | 53 => (ConnectorErrorKind::Authentication, bind_detail(&result.text).unwrap_or("the server does not let this account in")),
        _ => (ConnectorErrorKind::Authentication, "the server refused the bind"),
    };
    let form = if matches!(result.rc, 34 | 49) { missing_form(account, bind_detail(&result.text).is_some()) } else { "" };
    let error = ConnectorError::new(kind, format!("{url}: account '{account}': {advice} ({said}){form}")).unsent();
    if result.rc == 49 { error.refusing_secret() } else { error }
}

/// What to say of a bare account name, which servers refuse as if its password were wrong.
fn missing_form(account: &str, active_directory: bool) -> &'static str {
    match (account.contains(['@', '\\', '=']), active_directory) {
        (true, _) => "",
        (false, true) => ". A bare account name is not enough for Active Directory: write user@domain",
        (false, false) => {
            ". A bare account name is not enough: write user@domain for Active Directory, the distinguished name for other servers"
        }
    }
}

fn connect_error(settings: &LdapSettings, error: &LdapError) -> ConnectorError {
    let url = &settings.url;
    let connection = |message: String| ConnectorError::new(ConnectorErrorKind::Connection, message).unsent();
    match error {
        LdapError::Timeout { .. } => connection(format!(
            "{url}: no connection within {} seconds; is the address right, and does a firewall let it through?",
            settings.connect_timeout.as_secs()
        )),
        LdapError::Io { source } => match tls::reason(source) {
            Some(reason) => connection(format!("{url}: {reason}")),
            None => connection(format!("{url}: no connection: {source}")),
        },
        LdapError::Rustls { source } => connection(format!("{url}: {}", tls::explain(source))),
        LdapError::LdapResult { result } => {
            connection(format!("{url}: the server refuses StartTLS ({}); use an ldaps:// address", said(result)))
        }
        LdapError::ResultRecv { .. } | LdapError::OpSend { .. } | LdapError::EndOfStream => {
            connection(format!("{url}: the server closed the connection before it was encrypted"))
        }
        other => connection(format!("{url}: no connection: {other}")),
    }
}

/// What a broken conversation means.
pub(super) fn lost(settings: &LdapSettings, error: &LdapError, during: &str) -> ConnectorError {
    let url = &settings.url;
    match error {
        LdapError::Timeout { .. } => ConnectorError::new(
            ConnectorErrorKind::Dropped,
            format!("{url}: no answer for {} seconds during {during}", settings.answer_timeout.as_secs()),
        ),
        LdapError::FilterParsing => {
            ConnectorError::new(ConnectorErrorKind::Configuration, format!("{url}: {during}: the filter is not valid"))
        }
        _ => ConnectorError::new(ConnectorErrorKind::Dropped, format!("{url}: the server closed the connection during {during}")),
    }
}
