//! Password hashes from a Samba domain controller's own privileged socket, on the controller itself: connections there are
//! the system's, and a plain search shows `unicodePwd` (specification: DRSUAPI 19).
//!
//! Changes are found by `uSNChanged`, which every change of an object moves; when and how often the password itself was
//! changed stands in the object's replication metadata, as replication would tell it.

use crate::connector::directory::{AccountAttributes, password_metadata};
use crate::connector::ldap::{Client, LdapSettings, RawEntry};
use crate::connector::{
    ConnectorError, ConnectorErrorKind, PasswordCheck, PasswordCompletion, PasswordPage, PasswordRequest, PasswordSource, PasswordStream,
    Wanted,
};
use crate::context::Context;
use crate::model::Anchor;
use async_trait::async_trait;
use futures_util::StreamExt as _;
use ldap3::Scope;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroize as _;

/// Objects in one page.
const PAGE_OBJECTS: u32 = 1_000;
const ATTRIBUTES: [&str; 6] = ["objectGUID", "unicodePwd", "pwdLastSet", "userAccountControl", "replPropertyMetaData", "isDeleted"];
/// People and service accounts; computers and trusts are of other categories.
const ACCOUNTS: &str = "(objectCategory=person)(objectClass=user)";
/// What a cookie begins with; another form gets another word.
const COOKIE: &str = "ldapi1";

/// Where the socket is, and what to read.
#[derive(Clone, Debug)]
pub struct LdapiSettings {
    /// The socket: `ldap_priv/ldapi` below Samba's private folder.
    pub socket: PathBuf,
    /// Naming contexts to read; none means the server's own domain.
    pub domains: Vec<String>,
}

impl LdapiSettings {
    /// The settings for a socket and the server's own domain.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), domains: Vec::new() }
    }
}

/// The privileged socket of a Samba domain controller.
#[derive(Debug)]
pub struct LdapiPasswordSource {
    settings: LdapiSettings,
    connection: Arc<LdapSettings>,
}

/// What the root entry says.
struct Root {
    domain: String,
    /// The domain controller's database, for good: its numbers mean nothing to another.
    invocation: String,
    /// The number of the last change.
    highest: u64,
    name: String,
}

impl LdapiPasswordSource {
    /// A source for the socket that `settings` name. Nothing is connected yet.
    pub fn new(settings: LdapiSettings) -> Self {
        let path = utf8_percent_encode(&settings.socket.to_string_lossy(), NON_ALPHANUMERIC).to_string();
        let mut connection = LdapSettings::new(format!("ldapi://{path}"), "SYSTEM", SecretString::from(String::new()));
        connection.page_size = PAGE_OBJECTS;
        Self { settings, connection: Arc::new(connection) }
    }

    async fn connect(&self) -> Result<Client, ConnectorError> {
        Client::local(Arc::clone(&self.connection)).await.map_err(|error| {
            let socket = self.settings.socket.display();
            ConnectorError::new(
                error.kind,
                format!("{socket}: no connection ({}); it exists on the domain controller itself, for root only", error.message),
            )
        })
    }

    async fn root(&self, client: &mut Client) -> Result<Root, ConnectorError> {
        let entry = client.root(&["defaultNamingContext", "dsServiceName", "highestCommittedUSN", "dnsHostName"]).await?;
        let wanted = |name: &str| {
            entry.text(name).map(str::to_owned).ok_or_else(|| {
                let socket = self.settings.socket.display();
                ConnectorError::new(
                    ConnectorErrorKind::Search,
                    format!("{socket}: the root entry has no {name}: this is no domain controller"),
                )
            })
        };
        let (domain, service, highest) = (wanted("defaultNamingContext")?, wanted("dsServiceName")?, wanted("highestCommittedUSN")?);
        let highest = highest.parse().map_err(|_| {
            ConnectorError::new(
                ConnectorErrorKind::Protocol,
                format!("{}: highestCommittedUSN is no number", self.settings.socket.display()),
            )
        })?;
        let controller = client.read(&service, &["invocationId"]).await?;
        let invocation = controller.and_then(|entry| entry.values("invocationId").first().map(hex::encode));
        let name = entry.text("dnsHostName").unwrap_or("this machine").to_owned();
        // Without it the entry's own name has to do, which a restored database shares with its past.
        Ok(Root { domain, invocation: invocation.unwrap_or_else(|| hex::encode(service)), highest, name })
    }

    fn configured(&self, root: &Root) -> Vec<String> {
        if self.settings.domains.is_empty() { vec![root.domain.clone()] } else { self.settings.domains.clone() }
    }
}

/// A read under way.
struct Walk {
    client: Client,
    base: String,
    filter: String,
    wanted: Wanted,
    cookie: Vec<u8>,
    completion: Option<PasswordCompletion>,
    cx: Context,
}

impl Walk {
    async fn page(&mut self) -> Result<PasswordPage, ConnectorError> {
        let search = self.client.page(&self.base, Scope::Subtree, &self.filter, &ATTRIBUTES, &self.cookie);
        let found = Client::unless_cancelled(&self.cx, search).await?;
        let mut page = PasswordPage::default();
        for entry in found.entries {
            page.seen += 1;
            add(&mut page, entry, &self.wanted);
        }
        self.cookie = found.cookie;
        if self.cookie.is_empty() {
            page.completion = self.completion.take();
        }
        Ok(page)
    }
}

/// Adds an account, unless nobody wants it; its secret is wiped then unread.
fn add(page: &mut PasswordPage, mut entry: RawEntry, wanted: &Wanted) {
    let mut hashes = entry.take("unicodePwd");
    let anchor = entry.values("objectGUID").first().map(|octets| Anchor::new(*octets));
    let Some(anchor) = anchor.filter(|anchor| wanted(anchor)) else {
        hashes.zeroize();
        return;
    };
    let account = AccountAttributes {
        hashes,
        last_set: entry.text("pwdLastSet").map(str::to_owned),
        control: entry.text("userAccountControl").map(str::to_owned),
        metadata: entry.values("replPropertyMetaData").first().and_then(|value| password_metadata(value)),
        deleted: entry.text("isDeleted").is_some_and(|text| text.eq_ignore_ascii_case("TRUE")),
    };
    let dn = entry.dn().map(String::from_utf8_lossy).unwrap_or_default();
    match account.change(anchor.clone(), &dn) {
        Ok(change) => page.changes.push(change),
        Err(reason) => page.rejects.push((anchor, format!("'{dn}': {reason}"))),
    }
}

/// The number up to which a cookie has read, when it is of this database.
fn since(cookie: &[u8], root: &Root) -> Option<u64> {
    let text = std::str::from_utf8(cookie).ok()?;
    let (form, rest) = text.split_once(' ')?;
    let (invocation, number) = rest.split_once(' ')?;
    let number = number.parse().ok()?;
    // A number from the future: the database was set back.
    (form == COOKIE && invocation == root.invocation && number <= root.highest).then_some(number)
}

#[async_trait]
impl PasswordSource for LdapiPasswordSource {
    async fn domains(&self, cx: &Context) -> Result<Vec<String>, ConnectorError> {
        if !self.settings.domains.is_empty() {
            return Ok(self.settings.domains.clone());
        }
        Client::unless_cancelled(cx, async {
            let mut client = self.connect().await?;
            let root = self.root(&mut client).await?;
            client.close().await;
            Ok(vec![root.domain])
        })
        .await
    }

    async fn changes(&self, cx: &Context, request: PasswordRequest) -> Result<PasswordStream, ConnectorError> {
        let (client, root) = Client::unless_cancelled(cx, async {
            let mut client = self.connect().await?;
            let root = self.root(&mut client).await?;
            client.check_base(&request.domain).await?;
            Ok((client, root))
        })
        .await?;
        let filter = match &request.since {
            None => format!("(&{ACCOUNTS})"),
            Some(cookie) => {
                let Some(number) = since(cookie, &root) else {
                    return Err(ConnectorError::new(
                        ConnectorErrorKind::WatermarkLost,
                        format!("{}: the cookie is not of this database, or from before it was restored", self.settings.socket.display()),
                    ));
                };
                format!("(&{ACCOUNTS}(uSNChanged>={}))", number.saturating_add(1))
            }
        };
        // The number was read before the search: what changes meanwhile is found again, and nothing is missed.
        let completion = PasswordCompletion {
            cookie: format!("{COOKIE} {} {}", root.invocation, root.highest).into_bytes(),
            answered_in_full: false,
            server: root.name,
            passed_over: None,
        };
        let walk = Walk {
            client,
            base: request.domain,
            filter,
            wanted: request.wanted,
            cookie: Vec::new(),
            completion: Some(completion),
            cx: cx.clone(),
        };
        let pages = futures_util::stream::try_unfold(Some(walk), |walk| async {
            let Some(mut walk) = walk else { return Ok(None) };
            let page = walk.page().await?;
            if page.completion.is_none() {
                return Ok(Some((page, Some(walk))));
            }
            walk.client.close().await;
            Ok(Some((page, None)))
        });
        Ok(pages.boxed())
    }

    async fn read(&self, cx: &Context, _domain: &str, anchors: &[Anchor]) -> Result<PasswordPage, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let mut client = self.connect().await?;
            client.root(&[]).await?;
            let everybody: Wanted = Arc::new(|_| true);
            let mut page = PasswordPage::default();
            for anchor in anchors {
                // MS-ADTS 3.1.1.3.1.2.4: the octets of the GUID as they are stored, in hexadecimal digits.
                let base = format!("<GUID={}>", hex::encode(anchor.as_bytes()));
                for entry in client.find(&base, Scope::Base, &format!("(&{ACCOUNTS})"), &ATTRIBUTES).await? {
                    add(&mut page, entry, &everybody);
                }
            }
            client.close().await;
            Ok(page)
        })
        .await
    }

    async fn diagnose(&self, cx: &Context) -> Vec<PasswordCheck> {
        let mut checks = vec![socket_check(&self.settings.socket)];
        let looked = Client::unless_cancelled(cx, async {
            let mut client = self.connect().await?;
            let root = self.root(&mut client).await?;
            let mut found = Vec::new();
            for domain in self.configured(&root) {
                client.check_base(&domain).await?;
                let filter = format!("(&{ACCOUNTS}(sAMAccountName=krbtgt))");
                let mut entries = client.search(&domain, Scope::Subtree, &filter, &["unicodePwd"]).await?;
                // Every domain has this account, with a password. Its hash is wiped unread.
                let mut shown = entries.iter_mut().flat_map(|entry| entry.take("unicodePwd")).collect::<Vec<_>>();
                found.push((domain, !shown.is_empty()));
                shown.zeroize();
            }
            client.close().await;
            Ok((root, found))
        });
        match looked.await {
            Ok((root, domains)) => {
                checks.push(PasswordCheck {
                    what: "connection".to_owned(),
                    good: true,
                    evidence: format!("{} answers, last change {}", root.name, root.highest),
                    remedy: None,
                });
                checks.extend(domains.into_iter().map(|(domain, shown)| PasswordCheck {
                    what: format!("hashes of {domain}"),
                    good: shown,
                    evidence: if shown { "the socket shows unicodePwd" } else { "the socket does not show unicodePwd" }.to_owned(),
                    remedy: (!shown).then(|| "name the socket in the folder ldap_priv, not the one beside it".to_owned()),
                }));
            }
            Err(error) => checks.push(PasswordCheck {
                what: "connection".to_owned(),
                good: false,
                evidence: error.message,
                remedy: Some("run the agent as root on the domain controller, and name <private dir>/ldap_priv/ldapi".to_owned()),
            }),
        }
        checks
    }
}

fn socket_check(socket: &Path) -> PasswordCheck {
    use std::os::unix::fs::FileTypeExt as _;
    let found = std::fs::metadata(socket);
    let good = found.as_ref().is_ok_and(|metadata| metadata.file_type().is_socket());
    let evidence = match found {
        Ok(_) if good => format!("{} is a socket", socket.display()),
        Ok(_) => format!("{} is no socket", socket.display()),
        Err(error) => format!("{}: {error}", socket.display()),
    };
    let remedy = "name the file ldapi in the folder ldap_priv below Samba's private folder (testparm -s --parameter-name='private dir')";
    PasswordCheck { what: "socket".to_owned(), good, evidence, remedy: (!good).then(|| remedy.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_of_one_database() {
        let root = Root { domain: String::new(), invocation: "aa".to_owned(), highest: 100, name: String::new() };
        assert_eq!(since(b"ldapi1 aa 100", &root), Some(100));
        for lost in [&b"ldapi1 aa 101"[..], b"ldapi1 bb 7", b"ldapi2 aa 7", b"ldapi1 aa", b"ldapi1 aa x", b"", b"\xFF"] {
            assert_eq!(since(lost, &root), None, "{}", String::from_utf8_lossy(lost));
        }
    }
}
