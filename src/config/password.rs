//! `[password_hash_sync]` of a directory: whether its accounts' password hashes go to the cloud, and where they are read.

use super::secrets::CredentialReference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// `[password_hash_sync]` of a connector of kind `ad` (specification: sync engine, section 7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdPasswordTable {
    /// Password hashes of this directory's accounts are synchronized.
    pub enabled: bool,
    /// Where they are read.
    pub source: PasswordReader,
    /// Domain controllers to read from, the one to prefer first; by default the host of `url`.
    pub servers: Vec<PasswordServer>,
    /// How to sign in.
    pub sign_in: PasswordSignIn,
    /// The Kerberos server, `host[:port]`; by default the domain controller itself.
    pub kdc: Option<String>,
    /// The account; by default `bind_name`.
    pub account: Option<String>,
    /// Its password, by reference; by default `password`.
    pub password: Option<CredentialReference>,
    /// The domains to read, as naming contexts; by default the partitions of the connector that are domains.
    pub domains: Vec<String>,
    /// The privileged socket of a Samba domain controller on this very machine, with `source = "ldapi"`.
    pub socket: Option<PathBuf>,
}

/// `[password_hash_sync]` of a connector of kind `ldif`: the hashes are in the file, as `unicodePwd`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LdifPasswordTable {
    /// Password hashes of this directory's accounts are synchronized.
    pub enabled: bool,
}

/// Where password hashes of Active Directory are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordReader {
    /// From a domain controller, by replication (MS-DRSR).
    #[default]
    Replication,
    /// From the privileged socket of a Samba domain controller, on its own machine, as root.
    Ldapi,
}

/// How to sign in at a domain controller for replication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordSignIn {
    /// Kerberos.
    #[default]
    Kerberos,
    /// SPNEGO: Kerberos, as the other side agrees.
    Negotiate,
    /// NTLM, for places where Kerberos cannot work.
    Ntlm,
}

/// A domain controller to read from: its full name, or its name with the address to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PasswordServer {
    /// The full name, which Kerberos knows it by.
    Name(String),
    /// The name and more.
    Place(PasswordServerPlace),
}

/// A domain controller whose address does not follow from its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordServerPlace {
    /// The full name, which Kerberos knows it by.
    pub name: String,
    /// Where to connect; by default the name.
    pub address: Option<String>,
    /// A fixed port of the replication service; by default the server is asked for it (port 135).
    pub port: Option<u16>,
}

// By hand: of a table, the key that is wrong is named.
impl<'de> Deserialize<'de> for PasswordServer {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = PasswordServer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"dc1.corp.example\" or { name = \"dc1.corp.example\", address = \"10.0.0.5\", port = 49152 }")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(PasswordServer::Name(name.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                PasswordServerPlace::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(PasswordServer::Place)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl PasswordServer {
    /// The full name.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Place(place) => &place.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_server_the_key_that_is_wrong_is_named() {
        let read = |servers: &str| {
            let text = format!("enabled = true\nservers = {servers}\n");
            let path = std::path::Path::new("ad.toml");
            super::super::file::parse::<AdPasswordTable>(std::path::Path::new(""), path, &text).map_err(|problem| problem.to_string())
        };
        let known = read("[\"dc1.corp.example\", { name = \"dc2.corp.example\", port = 49152 }]").unwrap();
        assert_eq!(known.servers.iter().map(PasswordServer::name).collect::<Vec<_>>(), ["dc1.corp.example", "dc2.corp.example"]);
        for (servers, told) in [
            ("[{ name = \"dc1\", kdc = \"dc2\" }]", "ad.toml:2:28: unknown key `kdc` (keys known here: name, address, port)"),
            ("[{ address = \"dc1\" }]", "missing key `name`"),
            ("[5]", "ad.toml:2:12: `servers`: invalid type: integer (write \"dc1.corp.example\" or { name = "),
            ("[{ name = \"dc1\", port = \"x\" }]", "`servers.port`: invalid type: string (write a whole number of 0 or more)"),
        ] {
            let error = read(servers).unwrap_err();
            assert!(error.contains(told), "{servers}: {error}");
        }
    }
}
