//! What is measured at: a directory server with made-up people, tenants of their own processes, configurations.

use crate::child::{Outcome, Server, run};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use syncline::config::{Config, ConfigTemplate, MAIN_FILE, TemplateSource, TemplateTenant, write_secret};
use syncline::directory_generator::DirectoryRecipe;
use syncline::tenant::TenantCredentials;

/// Objects in one call to the tenant: more gain nothing at a local one (design: storage and performance, section 8).
pub(crate) const BATCH: usize = 250;
/// The source's name.
pub(crate) const SOURCE: &str = "Directory";
/// The target's name.
pub(crate) const TARGET: &str = "Entra";

/// A running OpenLDAP server. It goes with its owner.
pub(crate) struct Lab {
    tool: PathBuf,
    folder: PathBuf,
    state: Value,
}

impl Lab {
    /// Makes and starts the server below `folder`.
    pub(crate) fn start(folder: &Path, recipe: &DirectoryRecipe) -> Outcome<Self> {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/openldap").canonicalize()?;
        let data = folder.join("data.ldif");
        let mut file = BufWriter::new(File::create(&data)?);
        recipe.write_openldap_ldif(&mut file)?;
        file.flush()?;
        drop(file);
        let place = folder.join("lab");
        let mut lab = Self { tool, folder: place, state: Value::Null };
        let answer = run(Command::new(&lab.tool).arg("up").arg(&lab.folder).arg("--ldif").arg(&data))?;
        lab.state = serde_json::from_str(&answer)?;
        std::fs::remove_file(data)?;
        Ok(lab)
    }

    /// A Samba domain with these people and their passwords. Needs root.
    pub(crate) fn samba(folder: &Path, recipe: &DirectoryRecipe) -> Outcome<Self> {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/samba-ad").canonicalize()?;
        let data = folder.join("data.ldif");
        let mut file = BufWriter::new(File::create(&data)?);
        recipe.write_ldif(&mut file)?;
        file.flush()?;
        drop(file);
        let mut lab = Self { tool, folder: folder.join("dc"), state: Value::Null };
        let answer = run(Command::new(&lab.tool).arg("up").arg(&lab.folder).arg("--ldif").arg(&data))?;
        lab.state = serde_json::from_str(&answer)?;
        std::fs::remove_file(data)?;
        Ok(lab)
    }

    /// Everything that the server's description says.
    pub(crate) fn state(&self) -> &Value {
        &self.state
    }

    /// The server as a source of people.
    pub(crate) fn source(&self) -> TemplateSource {
        TemplateSource::Server {
            active_directory: false,
            url: self.text("ldap").to_owned(),
            start_tls: false,
            allow_plain: true,
            ca_file: None,
            bind_name: self.text("bind_name").to_owned(),
            credential: "directory-bind".to_owned(),
            base: Some(self.text("base").to_owned()),
        }
    }

    /// Writes the password of the account that reads.
    pub(crate) fn secret(&self, configuration: &Path) -> Outcome<()> {
        let config = Config::load(configuration)?;
        Ok(write_secret(&config.secrets.path("directory-bind"), self.text("password").as_bytes())?)
    }

    /// Something that the server's description says.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.state[key].as_str().unwrap_or_default()
    }

    /// The command that reads the same objects and attributes as an import, in pages, and prints them to nowhere.
    pub(crate) fn search(&self, filter: &str, attributes: &[String]) -> Command {
        let mut command = Command::new("ldapsearch");
        command.args(["-x", "-LLL", "-o", "ldif-wrap=no", "-E", "pr=1000/noprompt", "-H", self.text("ldap")]);
        command.args(["-D", self.text("bind_name"), "-w", self.text("password"), "-b", self.text("base"), filter]).args(attributes);
        command
    }

    /// Gives the first people another title. Gives how many there were.
    pub(crate) fn change(&self, folder: &Path, count: u64, title: &str) -> Outcome<u64> {
        let mut search = Command::new("ldapsearch");
        search.args(["-x", "-LLL", "-o", "ldif-wrap=no", "-z", &count.to_string(), "-H", self.text("ldap")]);
        search.args(["-D", self.text("admin_name"), "-w", self.text("password"), "-b", self.text("base"), "(objectClass=user)", "1.1"]);
        // A limit that was reached is exit code 4, and what is wanted here.
        let found = search.stdin(Stdio::null()).output()?;
        let changes = folder.join("changes.ldif");
        let mut file = BufWriter::new(File::create(&changes)?);
        let mut changed = 0;
        for line in String::from_utf8(found.stdout)?.lines().filter(|line| line.starts_with("dn:")) {
            write!(file, "{line}\nchangetype: modify\nreplace: title\ntitle: {title}\n\n")?;
            changed += 1;
        }
        file.flush()?;
        drop(file);
        let mut modify = Command::new("ldapmodify");
        modify.args(["-x", "-H", self.text("ldap"), "-D", self.text("admin_name"), "-w", self.text("password"), "-f"]).arg(&changes);
        run(&mut modify)?;
        Ok(changed)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(run(Command::new(&self.tool).arg("wipe").arg(&self.folder)));
    }
}

/// A tenant in its own process, with a file of its own.
pub(crate) struct Tenant {
    /// The process.
    pub server: Server,
    base_url: String,
    credentials: TenantCredentials,
}

impl Tenant {
    /// Starts an empty tenant in `folder`.
    pub(crate) fn start(binary: &Path, folder: &Path, domain: &str) -> Outcome<Self> {
        let data = folder.join("tenant.redb");
        let mut command = Command::new(binary);
        command.args(["tenant", "serve", "--json", "--plain-http", "--listen", "127.0.0.1:0", "--domain", domain, "--data"]).arg(&data);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take();
        let server = Server(child);
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line)?;
        }
        let ready: Value = serde_json::from_str(&line).map_err(|error| format!("the tenant did not start: {error}"))?;
        let text = |key: &str| ready[key].as_str().map(str::to_owned).ok_or_else(|| format!("the tenant does not say its {key}"));
        let credentials = TenantCredentials::load_or_create(Path::new(&text("credentials")?))?;
        Ok(Self { server, base_url: text("baseUrl")?, credentials })
    }
}

/// Writes the configuration that reads from a source and writes to the tenant.
pub(crate) fn configure(folder: &Path, source: TemplateSource, tenant: &Tenant, domain: &str) -> Outcome<()> {
    let template = ConfigTemplate {
        source_name: SOURCE.to_owned(),
        source,
        target_name: TARGET.to_owned(),
        tenant: TemplateTenant::Entra {
            tenant: tenant.credentials.tenant_id.to_string(),
            client_id: Some(tenant.credentials.client_id.to_string()),
            credential: "tenant-secret".to_owned(),
            login_url: Some(tenant.base_url.clone()),
            provisioning_url: Some(format!("{}/provisioningservice.svc", tenant.base_url)),
            ca_file: None,
        },
        include: Vec::new(),
        exclude: Vec::new(),
        domain: Some(domain.to_owned()),
        max_deletes: 500,
        staging: false,
        password_hashes: None,
    };
    let files = template.write(folder)?;
    let [source, target, ..] = files.as_slice() else { return Err("the template wrote no source and target".into()) };
    // The people of the test directory have the classes of Active Directory.
    writeln!(OpenOptions::new().append(true).open(source)?, "\n[selection]\nobject_types = [\"user\", \"group\", \"contact\"]")?;
    // The template is for the real cloud, where smaller calls are known to work.
    writeln!(OpenOptions::new().append(true).open(target)?, "batch_objects = {BATCH}")?;
    // Nobody is there to approve the first export.
    let main = folder.join(MAIN_FILE);
    let text = std::fs::read_to_string(&main)?;
    let free = text.replacen("[guard]", "[guard]\nfirst_export = \"free\"", 1);
    if free == text {
        return Err("the template has no table [guard] any more".into());
    }
    std::fs::write(&main, free)?;
    let config = Config::load(folder)?;
    let secret = secrecy::ExposeSecret::expose_secret(&tenant.credentials.client_secret);
    write_secret(&config.secrets.path("tenant-secret"), secret.as_bytes())?;
    Ok(())
}
