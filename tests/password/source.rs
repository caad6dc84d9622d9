//! A directory with the passwords that a test put into it, and with bad days on demand.

use crate::clock::TestClock;
use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use syncline::connector::{
    ConnectorError, ConnectorErrorKind, PassedOver, PasswordChange, PasswordCheck, PasswordCompletion, PasswordPage, PasswordRequest,
    PasswordSource, PasswordStream,
};
use syncline::context::{Clock as _, Context};
use syncline::model::{Anchor, Timestamp};
use syncline::password::hash::NtHash;

/// An account as its directory has it.
#[derive(Clone)]
struct Account {
    dn: String,
    password: Option<String>,
    version: u32,
    changed: i64,
    must_change: bool,
    disabled: bool,
    /// Only a flag of the account changed since.
    only_time: bool,
    unreadable: bool,
}

#[derive(Default)]
struct DomainState {
    accounts: BTreeMap<String, Account>,
    log: Vec<String>,
    down: Option<ConnectorErrorKind>,
    cut_after: Option<usize>,
    cookie_lost: bool,
}

/// A directory that gives what a test put into it.
pub(crate) struct Source {
    clock: Arc<TestClock>,
    domains: Arc<Mutex<BTreeMap<String, DomainState>>>,
    page: usize,
    /// What the next read tells behind its pages; each is waited for.
    script: Mutex<VecDeque<BoxFuture<'static, Vec<PasswordChange>>>>,
    /// Accounts that cannot be given by themselves, and why.
    pub(crate) refused_by_name: Mutex<BTreeMap<String, String>>,
    /// The first server does not answer, and why.
    pub(crate) passed_over: Mutex<Option<PassedOver>>,
    /// Pages that were asked for so far.
    pub(crate) pages: Arc<AtomicUsize>,
    /// Accounts whose hashes were decrypted, in order.
    pub(crate) decrypted: Arc<Mutex<Vec<String>>>,
    /// Accounts that were asked for by name.
    pub(crate) asked: Mutex<Vec<String>>,
    /// Whether each read was one of everything.
    pub(crate) full_reads: Mutex<Vec<bool>>,
}

impl Source {
    pub(crate) fn new(clock: Arc<TestClock>, domains: &[&str], page: usize) -> Self {
        Self {
            clock,
            domains: Arc::new(Mutex::new(domains.iter().map(|name| ((*name).to_owned(), DomainState::default())).collect())),
            page,
            script: Mutex::default(),
            refused_by_name: Mutex::default(),
            passed_over: Mutex::default(),
            pages: Arc::default(),
            decrypted: Arc::default(),
            asked: Mutex::default(),
            full_reads: Mutex::default(),
        }
    }

    fn in_domain<T>(&self, anchor: &str, work: impl FnOnce(&mut DomainState) -> T) -> T {
        let mut domains = self.domains.lock().unwrap();
        let name = domains.iter().find(|(_, domain)| domain.accounts.contains_key(anchor)).map(|(name, _)| name.clone());
        let name = name.unwrap_or_else(|| domains.keys().next().unwrap().clone());
        work(domains.get_mut(&name).unwrap())
    }

    /// Somebody gets a new account.
    pub(crate) fn create(&self, domain: &str, anchor: &str, dn: &str, password: &str) {
        let account = Account {
            dn: dn.to_owned(),
            password: Some(password.to_owned()),
            version: 1,
            changed: self.clock.now().0,
            must_change: false,
            disabled: false,
            only_time: false,
            unreadable: false,
        };
        let mut domains = self.domains.lock().unwrap();
        let domain = domains.get_mut(domain).unwrap();
        domain.accounts.insert(anchor.to_owned(), account);
        domain.log.push(anchor.to_owned());
    }

    /// Somebody changes a password.
    pub(crate) fn change(&self, anchor: &str, password: Option<&str>) {
        let now = self.clock.now().0;
        self.in_domain(anchor, |domain| {
            let account = domain.accounts.get_mut(anchor).unwrap();
            account.password = password.map(str::to_owned);
            account.version += 1;
            (account.changed, account.only_time) = (now, false);
            domain.log.push(anchor.to_owned());
        });
    }

    /// An administrator says that it must be changed, or need not be.
    pub(crate) fn must_change(&self, anchor: &str, must_change: bool) {
        self.in_domain(anchor, |domain| {
            let account = domain.accounts.get_mut(anchor).unwrap();
            (account.must_change, account.only_time) = (must_change, true);
            domain.log.push(anchor.to_owned());
        });
    }

    /// An administrator shuts the account, or opens it again.
    pub(crate) fn disable(&self, anchor: &str, disabled: bool) {
        self.in_domain(anchor, |domain| {
            let account = domain.accounts.get_mut(anchor).unwrap();
            (account.disabled, account.only_time) = (disabled, true);
            domain.log.push(anchor.to_owned());
        });
    }

    pub(crate) fn unreadable(&self, anchor: &str, unreadable: bool) {
        self.in_domain(anchor, |domain| {
            domain.accounts.get_mut(anchor).unwrap().unreadable = unreadable;
            domain.log.push(anchor.to_owned());
        });
    }

    pub(crate) fn down(&self, domain: &str, kind: Option<ConnectorErrorKind>) {
        self.domains.lock().unwrap().get_mut(domain).unwrap().down = kind;
    }

    /// Reads of the domain break off after so many pages.
    pub(crate) fn cut_after(&self, domain: &str, pages: Option<usize>) {
        self.domains.lock().unwrap().get_mut(domain).unwrap().cut_after = pages;
    }

    pub(crate) fn lose_cookie(&self, domain: &str) {
        self.domains.lock().unwrap().get_mut(domain).unwrap().cookie_lost = true;
    }

    /// The next read goes on with these pages, each as soon as it is there; the last one ends it.
    pub(crate) fn goes_on(&self, pages: impl IntoIterator<Item = BoxFuture<'static, Vec<PasswordChange>>>) {
        *self.script.lock().unwrap() = pages.into_iter().collect();
    }

    /// An account as the directory would tell it now.
    pub(crate) fn told(&self, anchor: &str) -> PasswordChange {
        self.in_domain(anchor, |domain| change_of(anchor, &domain.accounts[anchor], true))
    }

    /// An account is gone, and the directory tells nothing of it.
    pub(crate) fn forget(&self, anchor: &str) {
        self.in_domain(anchor, |domain| {
            domain.accounts.remove(anchor);
        });
    }

    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn take_decrypted(&self) -> Vec<String> {
        std::mem::take(&mut self.decrypted.lock().unwrap())
    }
}

fn change_of(anchor: &str, account: &Account, whole: bool) -> PasswordChange {
    let whole = whole || !account.only_time;
    PasswordChange {
        anchor: Anchor::new(anchor.as_bytes()),
        dn: account.dn.clone(),
        hash: whole.then(|| account.password.as_deref().map(NtHash::of_password)),
        changed: whole.then_some(Timestamp(account.changed)),
        version: whole.then_some(account.version),
        must_change: Some(account.must_change),
        disabled: Some(account.disabled),
        deleted: false,
    }
}

#[async_trait]
impl PasswordSource for Source {
    async fn domains(&self, _cx: &Context) -> Result<Vec<String>, ConnectorError> {
        Ok(self.domains.lock().unwrap().keys().cloned().collect())
    }

    async fn changes(&self, _cx: &Context, request: PasswordRequest) -> Result<PasswordStream, ConnectorError> {
        let mut domains = self.domains.lock().unwrap();
        let domain = domains.get_mut(&request.domain).unwrap();
        if let Some(kind) = domain.down {
            return Err(ConnectorError::new(kind, format!("{} gives nothing", request.domain)));
        }
        if request.since.is_some() && std::mem::take(&mut domain.cookie_lost) {
            return Err(ConnectorError::new(ConnectorErrorKind::WatermarkLost, "the cookie is of another time"));
        }
        self.full_reads.lock().unwrap().push(request.since.is_none());
        let full = request.since.is_none();
        let since = request.since.map_or(0, |cookie| usize::from_le_bytes(cookie.try_into().unwrap()));
        let names: Vec<String> = if full {
            domain.accounts.keys().cloned().collect()
        } else {
            domain.log[since..].iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let accounts: Vec<(String, Account)> =
            names.into_iter().filter_map(|name| Some((name.clone(), domain.accounts.get(&name)?.clone()))).collect();
        let cookie = domain.log.len().to_le_bytes().to_vec();
        let (cut, wanted, pages) = (domain.cut_after, request.wanted, self.pages.clone());
        let mut chunks: Vec<Vec<(String, Account)>> = accounts.chunks(self.page).map(<[_]>::to_vec).collect();
        if chunks.is_empty() {
            chunks.push(Vec::new());
        }
        let script = std::mem::take(&mut *self.script.lock().unwrap());
        // Behind the last of its pages, if there are more to come.
        let last = if script.is_empty() { chunks.len() - 1 } else { usize::MAX };
        let (name, shared) = (request.domain.clone(), self.domains.clone());
        let passed_over = self.passed_over.lock().unwrap().clone();
        let told_of = passed_over.clone();
        let log = self.decrypted.clone();
        let stream = futures_util::stream::iter(chunks.into_iter().enumerate()).map(move |(number, chunk)| {
            pages.fetch_add(1, Ordering::SeqCst);
            if cut.is_some_and(|cut| number >= cut) {
                return Err(ConnectorError::new(ConnectorErrorKind::Dropped, "the line broke"));
            }
            let mut page = PasswordPage { seen: chunk.len() as u64, ..PasswordPage::default() };
            for (name, account) in &chunk {
                let anchor = Anchor::new(name.as_bytes());
                if !wanted(&anchor) {
                    continue;
                }
                log.lock().unwrap().push(name.clone());
                if account.unreadable {
                    page.rejects.push((anchor, "its envelope does not open".to_owned()));
                } else {
                    page.changes.push(change_of(name, account, full));
                }
            }
            if number == last {
                let (server, passed_over) = ("dc1".to_owned(), passed_over.clone());
                page.completion = Some(PasswordCompletion { cookie: cookie.clone(), answered_in_full: full, server, passed_over });
            }
            Ok(page)
        });
        let more = futures_util::stream::unfold(script, move |mut script| {
            let (name, shared, passed_over) = (name.clone(), shared.clone(), told_of.clone());
            async move {
                let changes = script.pop_front()?.await;
                let mut page = PasswordPage { seen: changes.len() as u64, changes, ..PasswordPage::default() };
                if script.is_empty() {
                    let cookie = shared.lock().unwrap()[&name].log.len().to_le_bytes().to_vec();
                    page.completion = Some(PasswordCompletion { cookie, answered_in_full: full, server: "dc1".to_owned(), passed_over });
                }
                Some((Ok(page), script))
            }
        });
        Ok(stream.chain(more).boxed())
    }

    async fn read(&self, _cx: &Context, domain: &str, anchors: &[Anchor]) -> Result<PasswordPage, ConnectorError> {
        let domains = self.domains.lock().unwrap();
        let domain = &domains[domain];
        let names: Vec<String> = anchors.iter().map(|anchor| String::from_utf8(anchor.as_bytes().to_vec()).unwrap()).collect();
        self.asked.lock().unwrap().extend(names.iter().cloned());
        let refused = self.refused_by_name.lock().unwrap();
        let mut page = PasswordPage::default();
        for (name, account) in names.iter().filter_map(|name| Some((name, domain.accounts.get(name)?))) {
            match refused.get(name) {
                Some(reason) => page.rejects.push((Anchor::new(name.as_bytes()), reason.clone())),
                None => page.changes.push(change_of(name, account, true)),
            }
        }
        Ok(page)
    }

    async fn diagnose(&self, _cx: &Context) -> Vec<PasswordCheck> {
        Vec::new()
    }
}
