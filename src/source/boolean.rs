//! Yes and no, as they are written in options of all kinds.

/// Reads a boolean in any of the spellings that the language and the reference's client allow.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_spellings() {
        for (text, expected) in [
            ("1", Some(true)),
            ("True", Some(true)),
            ("f", Some(false)),
            ("FALSE", Some(false)),
            ("", None),
            ("tRUE", None),
            ("yes", None),
            (" 1", None),
        ] {
            assert_eq!(boolean(text), expected, "{text:?}");
        }
    }
}
