//! Password hashes from LDIF files, for tests and demonstrations: `unicodePwd` holds the 16 octets of the NT hash (in base64),
//! `pwdLastSet` tells one change from the next.
//!
//! A file has no record of its changes, so a read after a change of any file gives all accounts again, as whole; whether a
//! password was sent already is told by `pwdLastSet`, which a writer of files has to move together with the hash. Nothing
//! that depends on a hash is kept. A read of files that nobody touched gives nothing.

use super::{LdifConnector, import};
use crate::connector::directory::AccountAttributes;
use crate::connector::{
    ConnectorError, ConnectorErrorKind, PasswordCheck, PasswordCompletion, PasswordPage, PasswordRequest, PasswordSource, PasswordStream,
    Wanted,
};
use crate::context::Context;
use crate::model::Anchor;
use crate::protocol::ldif::{LdifError, Reader, Record, RecordKind};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use rustix::fs::Mode;
use std::collections::HashSet;
use std::io::BufReader;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

const BUFFER: usize = 256 << 10;
/// Accounts in one page.
const PAGE_ACCOUNTS: usize = 1_000;
/// Pages that may wait for the reader.
const PAGES_AHEAD: usize = 2;
/// What a cookie begins with; another form gets another word.
const COOKIE: &str = "ldif1";
/// A file that was written so short a time before it was read may be written once more without looking younger.
const SETTLED_SECONDS: i64 = 2;

type Sender = mpsc::Sender<Result<PasswordPage, ConnectorError>>;

#[async_trait]
impl PasswordSource for LdifConnector {
    /// One: the path as it is configured.
    async fn domains(&self, _cx: &Context) -> Result<Vec<String>, ConnectorError> {
        Ok(vec![self.settings.path.display().to_string()])
    }

    async fn changes(&self, cx: &Context, request: PasswordRequest) -> Result<PasswordStream, ConnectorError> {
        let files = Files::of(self);
        let (cx, since) = (cx.clone(), request.since.clone());
        let now = cx.now().seconds();
        // The state is taken down before anything is read: what is written meanwhile makes the next read whole again.
        let (paths, cookie) = off_thread(move || files.list(now)).await?;
        let unchanged = match &since {
            Some(since) if !since.starts_with(COOKIE.as_bytes()) => {
                let message = format!("{}: the cookie is not one of these files", self.settings.path.display());
                return Err(ConnectorError::new(ConnectorErrorKind::WatermarkLost, message));
            }
            Some(since) => cookie.settled && since.as_slice() == cookie.text.as_bytes(),
            None => false,
        };
        let completion = PasswordCompletion {
            cookie: cookie.text.into_bytes(),
            answered_in_full: since.is_some() && !unchanged,
            server: self.settings.path.display().to_string(),
            passed_over: None,
        };
        let (sender, mut receiver) = mpsc::channel(PAGES_AHEAD);
        let anchors = Files::of(self).anchors;
        tokio::task::spawn_blocking(move || {
            let mut scan = Scan { anchors: &anchors, wanted: &request.wanted, page: PasswordPage::default() };
            let sent = if unchanged { Ok(()) } else { scan.files(&cx, &paths, Some(&sender)) };
            let last = sent.map(|()| PasswordPage { completion: Some(completion), ..scan.page });
            // Nobody listening any more is an end like any other.
            let _ = sender.blocking_send(last);
        });
        Ok(futures_util::stream::poll_fn(move |task| receiver.poll_recv(task)).boxed())
    }

    async fn read(&self, cx: &Context, _domain: &str, anchors: &[Anchor]) -> Result<PasswordPage, ConnectorError> {
        let asked: HashSet<Anchor> = anchors.iter().cloned().collect();
        let wanted: Wanted = Arc::new(move |anchor| asked.contains(anchor));
        let (files, cx) = (Files::of(self), cx.clone());
        off_thread(move || {
            let (paths, _) = files.list(cx.now().seconds())?;
            let mut scan = Scan { anchors: &files.anchors, wanted: &wanted, page: PasswordPage::default() };
            scan.files(&cx, &paths, None)?;
            Ok(scan.page)
        })
        .await
    }

    async fn diagnose(&self, cx: &Context) -> Vec<PasswordCheck> {
        let (files, cx) = (Files::of(self), cx.clone());
        let looked = off_thread(move || {
            let (paths, _) = files.list(cx.now().seconds())?;
            let everybody: Wanted = Arc::new(|_| true);
            let mut scan = Scan { anchors: &files.anchors, wanted: &everybody, page: PasswordPage::default() };
            scan.files(&cx, &paths, None)?;
            Ok((paths, scan.page))
        });
        match looked.await {
            Ok((paths, page)) => {
                let mut checks: Vec<PasswordCheck> = paths.iter().map(|path| secrecy_check(path)).collect();
                let with_hash = page.changes.iter().filter(|change| matches!(change.hash, Some(Some(_)))).count();
                checks.push(PasswordCheck {
                    what: "hashes".to_owned(),
                    good: with_hash > 0 && page.rejects.is_empty(),
                    evidence: format!(
                        "{with_hash} accounts with unicodePwd, {} without, {} that cannot be read",
                        page.changes.len() - with_hash,
                        page.rejects.len()
                    ),
                    remedy: match page.rejects.first() {
                        Some((_, reason)) => Some(format!("correct the file; the first: {reason}")),
                        None => (with_hash == 0).then(|| "write the NT hash of each account as 'unicodePwd:: <base64>'".to_owned()),
                    },
                });
                checks
            }
            Err(error) => vec![PasswordCheck {
                what: "files".to_owned(),
                good: false,
                evidence: error.message,
                remedy: Some("name a readable LDIF file, or a folder of them, as the connector's path".to_owned()),
            }],
        }
    }
}

/// Hashes are as good as passwords: such a file is nobody else's business.
fn secrecy_check(path: &Path) -> PasswordCheck {
    let mode = std::fs::metadata(path).map(|metadata| metadata.mode() & 0o777);
    let for_others = Mode::RWXG.union(Mode::RWXO).bits();
    let good = mode.as_ref().is_ok_and(|mode| mode & for_others == 0);
    let evidence = match mode {
        Ok(mode) => format!("{} has the mode {mode:04o}", path.display()),
        Err(error) => format!("{}: {error}", path.display()),
    };
    let remedy = format!("chmod 600 {}", path.display());
    PasswordCheck { what: "secrecy of the file".to_owned(), good, evidence, remedy: (!good).then_some(remedy) }
}

/// What a thread needs to know of the connector.
struct Files {
    path: PathBuf,
    /// The attributes that identify an account; the first one present does.
    anchors: Vec<String>,
}

/// The state of all files.
struct Cookie {
    text: String,
    /// Nothing was written so shortly before that it could be written again unnoticed.
    settled: bool,
}

impl Files {
    fn of(connector: &LdifConnector) -> Self {
        let anchors = import::anchor_names(&connector.settings).into_iter().map(str::to_owned).collect();
        Self { path: connector.settings.path.clone(), anchors }
    }

    /// The files, and what tells the next change of any of them: name, number, length, and both times.
    fn list(&self, now: i64) -> Result<(Vec<PathBuf>, Cookie), ConnectorError> {
        let paths = import::list(&self.path)?;
        let mut state = Vec::new();
        let mut settled = true;
        for path in &paths {
            let metadata = std::fs::metadata(path).map_err(|error| import::unreadable(path, &error))?;
            let numbers = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
            state.extend(path.as_os_str().as_encoded_bytes());
            state.extend([0].iter().chain(&metadata.ino().to_le_bytes()).chain(&metadata.len().to_le_bytes()));
            state.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            settled &= metadata.mtime().max(metadata.ctime()).saturating_add(SETTLED_SECONDS) < now;
        }
        let digest = xxhash_rust::xxh3::xxh3_128(&state);
        Ok((paths, Cookie { text: format!("{COOKIE} {digest:032x}"), settled }))
    }
}

struct Scan<'a> {
    anchors: &'a [String],
    wanted: &'a Wanted,
    page: PasswordPage,
}

impl Scan<'_> {
    /// Reads all files; full pages go to the sender, what is left stays in the page.
    fn files(&mut self, cx: &Context, paths: &[PathBuf], sender: Option<&Sender>) -> Result<(), ConnectorError> {
        for path in paths {
            for record in Reader::new(BufReader::with_capacity(BUFFER, import::open(path)?)) {
                match record {
                    Ok(record) if matches!(record.kind, RecordKind::Content | RecordKind::Add) => self.account(path, &record),
                    // Changes without the entry around them, and records that the import names.
                    Ok(_) | Err(LdifError::Record(_)) => {}
                    Err(fatal) => {
                        return Err(ConnectorError::new(ConnectorErrorKind::File, format!("{}, {fatal}", path.display())));
                    }
                }
                if self.page.changes.len() + self.page.rejects.len() >= PAGE_ACCOUNTS {
                    stop_if_told(cx)?;
                    if let Some(sender) = sender {
                        let gone = |_| ConnectorError::new(ConnectorErrorKind::Cancelled, "nobody reads the passwords any more");
                        sender.blocking_send(Ok(std::mem::take(&mut self.page))).map_err(gone)?;
                    }
                }
            }
            stop_if_told(cx)?;
        }
        Ok(())
    }

    fn account(&mut self, path: &Path, record: &Record) {
        self.page.seen += 1;
        let mut account = AccountAttributes::default();
        let mut anchor: Option<(usize, &[u8])> = None;
        let mut is_user = false;
        for value in record.values() {
            let name = value.name.split(';').next().unwrap_or_default();
            let text = || String::from_utf8_lossy(value.octets).into_owned();
            if name.eq_ignore_ascii_case("unicodePwd") {
                account.hashes.push(value.octets.to_vec());
            } else if name.eq_ignore_ascii_case("pwdLastSet") {
                account.last_set = Some(text());
            } else if name.eq_ignore_ascii_case("userAccountControl") {
                account.control = Some(text());
            } else if name.eq_ignore_ascii_case("isDeleted") {
                account.deleted = value.octets.eq_ignore_ascii_case(b"TRUE");
            } else if name.eq_ignore_ascii_case("objectClass") {
                is_user |= value.octets.eq_ignore_ascii_case(b"user");
            } else if let Some(position) = self.anchors.iter().position(|known| known.eq_ignore_ascii_case(name))
                && anchor.is_none_or(|(other, _)| position < other)
            {
                anchor = Some((position, value.octets));
            }
        }
        // Without an anchor the import names the entry.
        let Some(anchor) = anchor.map(|(_, octets)| Anchor::new(octets)).filter(|anchor| is_user && (self.wanted)(anchor)) else { return };
        match account.change(anchor.clone(), &record.dn) {
            Ok(change) => self.page.changes.push(change),
            Err(reason) => {
                let place = format!("{}, line {}: '{}': {reason}", path.display(), record.line, record.dn);
                self.page.rejects.push((anchor, place));
            }
        }
    }
}

fn stop_if_told(cx: &Context) -> Result<(), ConnectorError> {
    if cx.cancelled() {
        return Err(ConnectorError::new(ConnectorErrorKind::Cancelled, "reading passwords was told to stop"));
    }
    Ok(())
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, ConnectorError> + Send + 'static) -> Result<T, ConnectorError> {
    let ended = |_| ConnectorError::new(ConnectorErrorKind::File, "reading the files ended unexpectedly; try again");
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}
