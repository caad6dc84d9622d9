//! Mail: what is told together is one plain letter.

use super::{LONGEST_CALL, host};
use crate::alert::{Message, News};
use crate::config::{MailSecurity, MailTable, Secrets};
use crate::model::Timestamp;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message as Letter};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use secrecy::ExposeSecret as _;
use std::fmt::Write as _;
use std::path::Path;

/// Sends one letter.
pub(super) async fn send(table: &MailTable, secrets: &Secrets, folder: &Path, messages: &[Message]) -> Result<(), String> {
    let letter = letter(table, folder, messages)?;
    let port = table.port.unwrap_or(match table.security {
        MailSecurity::Starttls => 587,
        MailSecurity::Tls => 465,
        MailSecurity::None => 25,
    });
    let tls = match table.security {
        MailSecurity::Starttls => Tls::Required(parameters(table, folder)?),
        MailSecurity::Tls => Tls::Wrapper(parameters(table, folder)?),
        MailSecurity::None => Tls::None,
    };
    // Nothing is dangerous about it: how the connection is protected is said here.
    let mut builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&table.server).port(port).tls(tls).timeout(Some(LONGEST_CALL));
    if let (Some(user), Some(password)) = (&table.user, &table.password) {
        let password = secrets.resolve(password).map_err(|problem| problem.to_string())?;
        // The library keeps a text that is not wiped; it lives as long as this one mail.
        builder = builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
    }
    let place = format!("{}:{port}", table.server);
    let sent = tokio::time::timeout(LONGEST_CALL * 2, builder.build().send(letter)).await;
    match sent {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{place}: {}", reasons(&error))),
        Err(_) => Err(format!("{place}: no answer within {} s", LONGEST_CALL.as_secs() * 2)),
    }
}

/// An error with what is behind it.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            let _ = write!(text, ": {inner_text}");
        }
        cause = inner.source();
    }
    text
}

fn parameters(table: &MailTable, folder: &Path) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(table.server.clone());
    if let Some(file) = &table.ca_file {
        let path = folder.join(file);
        let wrong = |error: &dyn std::fmt::Display| format!("certificate file {}: {error}", path.display());
        let pem = std::fs::read(&path).map_err(|error| wrong(&error))?;
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong(&error))?);
    }
    builder.build_rustls().map_err(|error| format!("TLS cannot be set up: {error}"))
}

fn letter(table: &MailTable, folder: &Path, messages: &[Message]) -> Result<Letter, String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("'{text}' is no address for mail: {error}"));
    let mut letter = Letter::builder().from(mailbox(&table.from)?).subject(subject(messages)).header(ContentType::TEXT_PLAIN);
    for receiver in &table.to {
        letter = letter.to(mailbox(receiver)?);
    }
    letter.body(body(folder, messages)).map_err(|error| format!("the mail cannot be written: {error}"))
}

fn subject(messages: &[Message]) -> String {
    let Some(first) = messages.first() else { return "Syncline".to_owned() };
    let news = match first.news {
        News::Began => "",
        News::Lasts => "still: ",
        News::Over => "over: ",
        News::Test => return format!("[Syncline {}] TEST: nothing is wrong", host()),
    };
    // Whatever a directory is called, it must not write headers.
    let subject: String = first.found.subject.chars().filter(|character| !character.is_control()).collect();
    let about = if subject.is_empty() { String::new() } else { format!(" ({subject})") };
    let more = if messages.len() > 1 { format!(" and {} more", messages.len() - 1) } else { String::new() };
    format!("[Syncline {}] {news}{}{about}{more}", host(), first.found.condition)
}

fn body(folder: &Path, messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        let news = match message.news {
            News::Began => "",
            News::Lasts => "Still there: ",
            News::Over => "Over: ",
            News::Test => {
                let _ = writeln!(text, "{}.\nNothing is wrong, and nothing is to be done.\n", message.found.text);
                continue;
            }
        };
        let since = Timestamp(message.since);
        // Writing to a text cannot fail.
        let _ = write!(text, "{news}{}\n  condition: {}\n  since:     {since}\n", message.found.text, message.found.condition);
        if message.news != News::Over && !message.found.command.is_empty() {
            let _ = writeln!(text, "  look at:   {}", message.found.command);
        }
        text.push('\n');
    }
    let _ = writeln!(text, "Syncline on {}, configuration {}", host(), folder.display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Condition, Found};

    #[test]
    fn a_letter_says_what_since_when_and_what_to_do() {
        let found = Found {
            condition: Condition::DeletesHeld,
            subject: "Entra\r\nBcc: everybody@corp.example".to_owned(),
            text: "612 deletes wait for Entra, and 500 are allowed".to_owned(),
            command: "syncline export Entra --what-if".to_owned(),
        };
        let message = Message { news: News::Began, found, since: 1_700_000_000_000_000 };
        let table = MailTable {
            server: "smtp.corp.example".to_owned(),
            port: None,
            security: MailSecurity::Starttls,
            ca_file: None,
            from: "Syncline <syncline@corp.example>".to_owned(),
            to: vec!["ops@corp.example".to_owned()],
            user: None,
            password: None,
        };
        let text = String::from_utf8(letter(&table, Path::new("/etc/syncline"), &[message.clone(), message]).unwrap().formatted()).unwrap();
        let (headers, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!headers.contains("\r\nBcc:"), "{headers}");
        assert!(headers.contains("deletes-held") && headers.contains("ops@corp.example"), "{headers}");
        for part in ["612 deletes", "2023-11-14T22:13:20", "syncline export Entra --what-if", "/etc/syncline"] {
            assert!(body.contains(part), "{part}: {body}");
        }
        let wrong = letter(&MailTable { to: vec!["nobody".to_owned()], ..table }, Path::new("/"), &[]).unwrap_err();
        assert!(wrong.contains("'nobody'"), "{wrong}");
    }
}
