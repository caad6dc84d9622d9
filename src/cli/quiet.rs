//! Libraries that print what they encrypt and decrypt when they are asked for details: nobody may ask them.

use tracing::Metadata;
use tracing_subscriber::filter::{FilterFn, filter_fn};

/// The library of Kerberos and NTLM shows plain text, keys and tokens from `debug` on (drsuapi section 2).
const TALKATIVE: &str = "sspi";

/// Lets nothing of talkative libraries through, whatever other filters want to see. Their errors come back to us, and are
/// told in words; they themselves print tickets.
pub(super) fn no_secrets() -> FilterFn {
    filter_fn(harmless)
}

fn harmless(metadata: &Metadata<'_>) -> bool {
    let of_library = metadata.target().strip_prefix(TALKATIVE).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    !of_library
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::heard::Lines;
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::fmt::format::FmtSpan;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn logged(filter: &str, work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_span_events(FmtSpan::FULL).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(EnvFilter::new(filter)).with(no_secrets()).with(layer);
        tracing::subscriber::with_default(subscriber, work);
        lines.text()
    }

    #[test]
    fn no_filter_makes_the_library_talk() {
        for filter in [
            "trace",
            "sspi=trace",
            "sspi::ntlm=trace,info",
            "sspi[encrypt_message]=trace",
            "[{message}]=trace",
            "trace,[encrypt_message]=trace",
        ] {
            let text = logged(filter, || {
                let span = tracing::debug_span!(target: "sspi::ntlm", "encrypt_message", message = "secret");
                let _entered = span.enter();
                tracing::debug!(target: "sspi", "secret");
                tracing::info!(target: "sspi::kerberos::client", "secret");
                tracing::trace!(target: "sspi::ntlm", message = "secret");
            });
            assert!(!text.contains("secret"), "{filter}: {text}");
        }
    }

    #[test]
    fn everybody_else_is_heard() {
        let text = logged("trace", || {
            tracing::warn!(target: "sspi::kerberos", "first");
            tracing::error!(target: "sspi", "second");
            tracing::trace!(target: "sspire", "third");
            tracing::debug!(target: "syncline", "fourth");
        });
        for (word, heard) in [("first", false), ("second", false), ("third", true), ("fourth", true)] {
            assert_eq!(text.contains(word), heard, "{word}: {text}");
        }
    }

    /// What the library does here is real: a sign-in by NTLM, and a message.
    #[test]
    fn the_library_itself_is_silent() {
        use sspi::Sspi as _;
        let work = || {
            let mut context = sspi::Ntlm::new();
            let identity =
                sspi::AuthIdentity { username: sspi::Username::parse("somebody").unwrap(), password: "Pa55-word".to_owned().into() };
            let acquired =
                context.acquire_credentials_handle().with_credential_use(sspi::CredentialUse::Outbound).with_auth_data(&identity);
            acquired.execute(&mut context).unwrap();
            let mut plain = *b"plain text of a call";
            let mut token = [0; 16];
            let mut parts = [sspi::SecurityBufferRef::data_buf(&mut plain), sspi::SecurityBufferRef::token_buf(&mut token)];
            let _ = context.decrypt_message(&mut parts);
        };
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_span_events(FmtSpan::FULL).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(EnvFilter::new("trace")).with(layer), work);
        let unguarded = lines.text();
        assert!(unguarded.contains("decrypt_message"), "the library says something when nobody stops it: {unguarded}");
        let guarded = logged("trace", work);
        assert!(!guarded.contains("decrypt_message"), "{guarded}");
    }
}
