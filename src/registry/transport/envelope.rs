//! The words of answers that are no success, made fit for a message.
//!
//! Registries answer `{"errors":[{"code","message","detail"}]}` (distribution-spec, "Error Codes"), token servers `{"details"}`
//! or `{"error_description"}`. What is not understood is kept, shortened.

use serde::Deserialize;

/// The longest part of an answer that is repeated in a message.
const LONGEST_MESSAGE: usize = 300;

/// What an error answer says, on one line.
pub(super) fn message_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default)]
        errors: Vec<Entry>,
        #[serde(default)]
        details: String,
        #[serde(default)]
        error_description: String,
    }
    let text = match serde_json::from_slice::<Envelope>(body) {
        Ok(envelope) if !envelope.errors.is_empty() => {
            let entries: Vec<String> = envelope
                .errors
                .iter()
                .map(
                    |entry| match (entry.code.as_str(), entry.message.as_str()) {
                        (code, "") => code.to_lowercase().replace('_', " "),
                        ("", message) => message.to_owned(),
                        (code, message) => format!("{message} ({code})"),
                    },
                )
                .collect();
            entries.join("; ")
        }
        Ok(envelope) if !envelope.details.is_empty() => envelope.details,
        Ok(envelope) => envelope.error_description,
        // A page for people says nothing on one line.
        Err(_) if body.trim_ascii_start().starts_with(b"<") => String::new(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    shorten(&text)
}

/// One line without control characters, of bounded length.
pub(super) fn shorten(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_answers() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"NAME_UNKNOWN"}]}"#,
                "no (DENIED); name unknown",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            (
                r#"{"errors":[{"message":"two\nlines\u001b[31m"}]}"#,
                "two lines [31m",
            ),
            ("  plain\r\ntext ", "plain text"),
            ("<html>not found</html>", ""),
            ("", ""),
            ("{}", ""),
        ] {
            assert_eq!(message_of(body.as_bytes()), expected);
        }
        assert_eq!(message_of(&[b'x'; 10_000]).len(), LONGEST_MESSAGE + 3);
    }
}
