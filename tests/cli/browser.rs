//! A real browser without a window: it opens pages that commands wrote, and tells what it makes of them (DevTools protocol).

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The longest wait for one answer; a machine with much to do starts a browser in ten seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the browser is asked about a page that it shows.
const JUDGE: &str = include_str!("judge.js");

/// A running Chromium with one tab. It ends with its value, and by itself when this process ends: its pipe closes.
pub(crate) struct Browser {
    process: Child,
    calls: Option<ChildStdin>,
    told: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// The page that is open.
    address: String,
    /// What the tab told since the page was opened.
    events: Vec<Value>,
    folder: tempfile::TempDir,
}

/// How a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Light,
    Dark,
    Paper,
}

impl Browser {
    /// Starts it, without access to any network.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let said = File::create(folder.path().join("said")).expect("the folder can be written");
        // The browser reads calls from file descriptor 3 and answers through 4.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh", "chromium"])
            .args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-extensions", "--disable-breakpad", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .env("HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("XDG_CACHE_HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .expect("sh can be started");
        let calls = process.stdin.take();
        let answers = process.stdout.take().expect("a pipe was asked for");
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { process, calls, told, session: None, last: 0, address: String::new(), events: Vec::new(), folder };
        let tab = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": tab["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.call("Page.setLifecycleEventsEnabled", &json!({ "enabled": true }));
        browser
    }

    /// Shows a file.
    pub(crate) fn open(&mut self, page: &Path) {
        self.events.clear();
        let address = reqwest::Url::from_file_path(page).expect("an absolute path");
        let shown = self.call("Page.navigate", &json!({ "url": address.as_str() }));
        assert!(shown["errorText"].is_null(), "{}: {shown}", page.display());
        let loaded = |event: &Value| {
            let life = &event["params"];
            event["method"] == "Page.lifecycleEvent" && life["name"] == "load" && life["loaderId"] == shown["loaderId"]
        };
        while !self.events.iter().any(loaded) {
            let event = self.next("Page.lifecycleEvent");
            self.events.push(event);
        }
        self.address = address.into();
    }

    /// Shows the page in a window or on paper of a width, in pixels.
    pub(crate) fn show(&mut self, width: u32, medium: Medium) {
        self.call("Emulation.setDeviceMetricsOverride", &json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false }));
        let (media, scheme) = match medium {
            Medium::Light => ("screen", "light"),
            Medium::Dark => ("screen", "dark"),
            Medium::Paper => ("print", "light"),
        };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "media": media, "features": features }));
    }

    /// What an expression is on the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let found = self.call("Runtime.evaluate", &json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }));
        assert!(found["exceptionDetails"].is_null(), "{expression}: {found:#}");
        found["result"]["value"].clone()
    }

    /// What is wrong with the page as it is shown now, in sentences.
    pub(crate) fn flaws(&mut self) -> Vec<String> {
        let found = self.value(JUDGE);
        let sentences = found.as_array().expect("a list").iter();
        sentences.map(|sentence| sentence.as_str().expect("sentences").to_owned()).collect()
    }

    /// What the page asked for beside itself, and what the browser complained of or the page said, since it was opened.
    pub(crate) fn unrest(&mut self) -> Vec<String> {
        // What was told before the answer to this has come.
        self.value("new Promise(done => setTimeout(() => done(0), 50))");
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let asked = asked.map(|event| &event["params"]["request"]["url"]).filter(|address| **address != self.address.as_str());
        let asked = asked.map(|address| format!("asked for {address}"));
        let said = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
        let said = self.events.iter().filter(|event| event["method"].as_str().is_some_and(|method| said.contains(&method)));
        asked.chain(said.map(|event| format!("said {}", event["params"]))).collect()
    }

    /// Calls a method and gives its result.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut call = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        let written = self.calls.as_mut().map(|calls| calls.write_all(format!("{call}\0").as_bytes()));
        if !matches!(written, Some(Ok(()))) {
            self.is_gone(method);
        }
        loop {
            let message = self.next(method);
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message:#}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn next(&mut self, awaited: &str) -> Value {
        match self.told.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("the browser did not answer to {awaited} within {} s", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => self.is_gone(awaited),
        }
    }

    fn is_gone(&mut self, awaited: &str) -> ! {
        let ended = self.process.wait().ok().and_then(|status| status.code());
        let said = std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
        let why = if ended == Some(127) { "is missing; run tools/lab/install as root" } else { "ended" };
        panic!("chromium {why} ({awaited}):\n{said}")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without its pipe it ends; whoever does not is ended.
        self.calls = None;
        for _ in 0..100 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
