//! Writes an example directory as LDIF: a thin command over the library's generator.

use clap::Parser;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe};

/// Writes an example directory as LDIF. Equal options give equal files.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// People
    #[arg(long, default_value_t = 1_000)]
    users: u64,
    /// Groups
    #[arg(long, default_value_t = 50)]
    groups: u64,
    /// Contacts
    #[arg(long, default_value_t = 20)]
    contacts: u64,
    /// Equal seeds give equal directories
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Distinguished name of the root
    #[arg(long, default_value = "DC=corp,DC=example")]
    suffix: String,
    /// Domain of logon names and mail addresses
    #[arg(long, default_value = "corp.example")]
    domain: String,
    /// Write for OpenLDAP's slapadd, with the schema tools/lab/ad-shaped.schema
    #[arg(long)]
    openldap: bool,
    /// Also password hashes of people; the file is then readable for its owner only
    #[arg(long, conflicts_with = "openldap")]
    passwords: bool,
    /// So many people, the first ones, have changed their passwords
    #[arg(long, default_value_t = 0, requires = "passwords")]
    changed_passwords: u64,
    /// The file to write; standard output without it
    #[arg(long, short)]
    output: Option<PathBuf>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let recipe = DirectoryRecipe {
        users: options.users,
        groups: options.groups,
        contacts: options.contacts,
        seed: options.seed,
        suffix: options.suffix,
        domain: options.domain,
        passwords: options.passwords.then_some(PasswordRecipe { changed: options.changed_passwords }),
    };
    let mut file = File::options();
    file.write(true).create(true).truncate(true);
    if options.passwords {
        file.mode(0o600);
    }
    let target: Box<dyn Write> = match &options.output {
        Some(path) => Box::new(file.open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?),
        None => Box::new(io::stdout().lock()),
    };
    let mut out = BufWriter::with_capacity(1 << 20, target);
    if options.openldap {
        recipe.write_openldap_ldif(&mut out)?;
    } else {
        recipe.write_ldif(&mut out)?;
    }
    out.flush()
}
