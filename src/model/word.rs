//! Words of commands that messages propose.

/// A word as a shell reads it.
pub fn quoted(text: &str) -> String {
    let plain = text.chars().all(|character| character.is_ascii_alphanumeric() || "-_./:@+,=".contains(character));
    if plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
