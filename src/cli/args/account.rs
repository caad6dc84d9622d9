//! Arguments about the accounts that synchronization signs in with, and about secrets.

use super::at_least_one;
use crate::connector::ad::rights::Feature;
use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Commands about accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// The accounts in Active Directory: their rights, their passwords.
    #[command(subcommand)]
    Ad(AdAccountCommand),
}

/// Commands about accounts in Active Directory.
#[derive(Debug, Subcommand)]
pub(crate) enum AdAccountCommand {
    /// List the accounts that connectors sign in with.
    List,
    /// Say which rights an account has, and which of those that features take it lacks.
    Check {
        /// The connector's name.
        connector: String,
        /// What the account is for; by default what the configuration wants of it.
        #[arg(long, value_enum)]
        feature: Vec<Feature>,
        /// The container that is looked at; by default the domain.
        #[arg(long, value_name = "DN")]
        ou: Option<String>,
        /// What the account may do with this one object instead.
        #[arg(long, value_name = "DN", conflicts_with_all = ["feature", "ou", "inheritance"])]
        object: Option<String>,
        /// List the objects that do not take inherited rights instead.
        #[arg(long, conflicts_with = "feature")]
        inheritance: bool,
        /// At most so many of them.
        #[arg(long, default_value_t = 100, value_parser = at_least_one)]
        limit: usize,
    },
    /// Give an account the rights that features take and no others, or write down how.
    Grant {
        /// The connector's name.
        connector: String,
        /// What the account is for.
        #[arg(long, value_enum, required = true)]
        feature: Vec<Feature>,
        /// The container that gets the rights; by default the domain.
        #[arg(long, value_name = "DN")]
        ou: Option<String>,
        /// Print commands for an administrator, in the tools of this system. Without it and --apply the entries are listed.
        #[arg(long, value_enum)]
        script: Option<RightsScript>,
        /// Do it now, as an administrator of the domain.
        #[arg(long, conflicts_with = "script", requires = "admin_name")]
        apply: bool,
        /// The administrator.
        #[command(flatten)]
        admin: Administrator,
    },
    /// Shut the account's own object against everybody but administrators.
    Harden {
        /// The connector's name.
        connector: String,
        /// The administrator.
        #[command(flatten)]
        admin: Administrator,
        /// Only show what the access list would be.
        #[arg(long)]
        what_if: bool,
    },
    /// Give the account a new random password, and keep it.
    Rotate {
        /// The connector's name.
        connector: String,
        /// Only say whether it could be done.
        #[arg(long)]
        what_if: bool,
    },
}

/// Commands about anchors.
#[derive(Debug, Subcommand)]
pub(crate) enum AnchorCommand {
    /// Convert a GUID, hex, LDAP filter, base64 or cloud name into all the others.
    Convert {
        /// The anchor in any of these forms.
        anchor: String,
    },
    /// Show what an object is told apart by: its key, mS-DS-ConsistencyGuid, and the source anchor that targets know.
    Get {
        /// Name, anchor, sign-in name or number; `connector:` may stand before it.
        object: String,
    },
    /// Write mS-DS-ConsistencyGuid of an object of Active Directory, as an administrator.
    Set {
        /// The object: distinguished name, user@domain or account; `connector:` stands before it where there are several forests.
        object: String,
        /// The anchor: GUID, base64, hex or cloud name.
        anchor: String,
        /// How it is done.
        #[command(flatten)]
        how: AnchorWriting,
    },
    /// Empty mS-DS-ConsistencyGuid of an object of Active Directory, as an administrator: objectGUID counts again.
    Clear {
        /// The object: distinguished name, user@domain or account; `connector:` stands before it where there are several forests.
        object: String,
        /// How it is done.
        #[command(flatten)]
        how: AnchorWriting,
    },
}

/// How an anchor is written.
#[derive(Debug, Args)]
pub(crate) struct AnchorWriting {
    /// The administrator.
    #[command(flatten)]
    pub admin: Administrator,
    /// Only show what is there and what would be; the connector's own account looks.
    #[arg(long)]
    pub what_if: bool,
}

/// Who does it.
#[derive(Debug, Args)]
pub(crate) struct Administrator {
    /// An administrator of the domain (user@domain); the password is asked for.
    #[arg(long, value_name = "ACCOUNT")]
    pub admin_name: Option<String>,
    /// File with the administrator's password, instead of asking for it. It is kept nowhere.
    #[arg(long, value_name = "FILE", requires = "admin_name")]
    pub admin_secret_file: Option<PathBuf>,
}

impl ValueEnum for Feature {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let meaning = match self {
            Self::Read => "Reading people, groups and contacts",
            Self::Changes => "Being told of changes, and of what was deleted",
            Self::PasswordHash => "Reading password hashes by replication",
            Self::ConsistencyGuid => "Writing mS-DS-ConsistencyGuid",
            Self::PasswordWriteback => "Setting passwords that were changed in the cloud",
            Self::ExchangeHybrid => "Writing what Exchange Online writes",
            Self::MailPublicFolder => "Reading mail-enabled public folders",
            Self::GroupWriteback => "Keeping groups of the cloud in a container (--ou)",
        };
        Some(PossibleValue::new(self.as_str()).help(meaning))
    }
}

/// Whose tools a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RightsScript {
    /// dsacls, on Windows.
    Windows,
    /// samba-tool, on a domain controller of Samba.
    Samba,
    /// LDIF for ldapmodify: whole access lists, as they are now with the entries added.
    Ldif,
}

/// Commands about secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// List the secrets that the configuration names, and where each comes from; never what they are.
    List,
    /// Keep a secret in the configuration folder (mode 0600). It is asked for, or read from a file.
    Set {
        /// The credential's name.
        name: String,
        /// The file to take it from.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// Only say what would change.
        #[arg(long)]
        what_if: bool,
    },
    /// Remove a secret from the configuration folder; one that the configuration names stays.
    Remove {
        /// The credential's name.
        name: String,
        /// Only say what would change.
        #[arg(long)]
        what_if: bool,
    },
}
