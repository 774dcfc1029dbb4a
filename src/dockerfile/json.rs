//! The JSON form of arguments: `["program", "argument"]`.

use super::ast::Word;
use super::glued::GluedText;
use crate::source::Diagnostic;

/// Reads arguments as a JSON array of strings. `None` if they are not valid JSON, in which case they are meant
/// as plain text, without an error: that is the rule of the language.
///
/// # Errors
/// A JSON array with something else than strings in it.
pub(super) fn array(arguments: &GluedText<'_>) -> Result<Option<Vec<Word>>, Diagnostic> {
    let text = arguments.text();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let mut places = string_literals(text);
    let mut words = Vec::with_capacity(values.len());
    for value in values {
        let serde_json::Value::String(text) = value else {
            let message = "when using JSON array syntax, arrays must be comprised of strings only";
            return Err(Diagnostic::error("json-not-strings", message)
                .at(arguments.whole(), "")
                .hint("put each element in double quotes"));
        };
        let span = places
            .next()
            .map_or_else(|| arguments.whole(), |place| arguments.span(place));
        words.push(Word { text, span });
    }
    Ok(Some(words))
}

/// Where the string literals of a valid array of strings are.
fn string_literals(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut bytes = text.bytes().enumerate();
    std::iter::from_fn(move || {
        let (start, _) = bytes.find(|&(_, byte)| byte == b'"')?;
        loop {
            match bytes.next()? {
                (_, b'\\') => drop(bytes.next()),
                (end, b'"') => return Some(start..end + 1),
                _ => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn glued(text: &str) -> GluedText<'_> {
        GluedText::piece(FileId(0), text, 100)
    }

    #[test]
    fn arrays_of_strings() {
        let text = r#"[ "a\"b" , "é\\", ""]"#;
        let words = array(&glued(text)).unwrap().unwrap();
        let found: Vec<_> = words
            .iter()
            .map(|word| (word.text.as_str(), word.span.range()))
            .collect();
        assert_eq!(
            found,
            [("a\"b", 102..108), ("é\\", 111..117), ("", 119..121)]
        );
        assert_eq!(array(&glued("[]")).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn everything_else() {
        for text in ["", "a", "['a']", "[\"a\"] b", "[\"a\"", r#"["\x"]"#, "[a]"] {
            assert_eq!(array(&glued(text)).unwrap(), None, "of {text:?}");
        }
        for text in ["[1]", "[\"a\", null]", "[[\"a\"]]"] {
            assert!(array(&glued(text)).is_err(), "of {text:?}");
        }
    }
}
