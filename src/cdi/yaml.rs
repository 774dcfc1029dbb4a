//! YAML as the JSON that it stands for. Numbers are read as those who write specs mean them: `0660` is octal.

use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;
use serde_json::{Map, Value};

/// The one document of a text.
///
/// # Errors
/// What is wrong with it, in the parser's words.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut loader = YamlLoader::<Yaml<'_>>::default();
    loader.early_parse(false);
    let mut parser = Parser::new_from_str(text);
    parser
        .load(&mut loader, true)
        .map_err(|error| error.to_string())?;
    if let Some(error) = loader.error() {
        return Err(error.to_string());
    }
    match loader.into_documents().as_slice() {
        [document] => json(document),
        documents => Err(format!("it has {} documents", documents.len())),
    }
}

fn json(node: &Yaml<'_>) -> Result<Value, String> {
    Ok(match node {
        Yaml::Representation(text, ScalarStyle::Plain, _) => plain(text),
        Yaml::Representation(text, _, _) => Value::String(text.to_string()),
        Yaml::Sequence(items) => items
            .iter()
            .map(json)
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Yaml::Mapping(pairs) => {
            let mut map = Map::new();
            for (key, value) in pairs {
                let Yaml::Representation(key, ..) = key else {
                    return Err("a key is no text".to_owned());
                };
                map.insert(key.to_string(), json(value)?);
            }
            map.into()
        }
        Yaml::Tagged(_, node) => json(node)?,
        _ => return Err("it has a value that is neither text nor list nor map".to_owned()),
    })
}

/// A value without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    integer(text).map_or_else(|| Value::String(text.to_owned()), Value::from)
}

/// A whole number, octal with `0` or `0o` before it, hexadecimal with `0x`.
fn integer(text: &str) -> Option<i64> {
    let (digits, radix) = match text.strip_prefix('0') {
        Some(rest) => match rest.as_bytes() {
            [] => (text, 10),
            [b'x', ..] => (&rest[1..], 16),
            [b'o', ..] => (&rest[1..], 8),
            _ => (rest, 8),
        },
        None => (text, 10),
    };
    // A sign after the prefix is none.
    if radix != 10 && digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok()
}
