//! The value of `--mount` to its fields, and what can be said against them before anything is expanded.

use super::super::csv;
use super::super::glued::GluedText;
use super::super::keyword::did_you_mean;
use super::super::word::is_special;
use super::resolve::{KEYS, KEYS_WITHOUT_VALUE, resolve};
use super::{MountError, MountField, MountSpec};
use crate::source::{Diagnostic, Span, Spanned};

/// Reads the value of one `--mount`. If nothing in it is to be expanded, it is checked as a whole.
pub(in crate::dockerfile) fn parse(value: &GluedText<'_>) -> Result<MountSpec, Diagnostic> {
    let invalid =
        |message: String, span: Span| Err(Diagnostic::error("invalid-mount", message).at(span, ""));
    let records = match csv::fields(value) {
        Ok(records) => records,
        Err(reason) => {
            return invalid(
                format!("failed to parse csv mounts: {reason}"),
                value.whole(),
            );
        }
    };
    let mut fields = Vec::with_capacity(records.len());
    for record in &records {
        match field(record) {
            Ok(field) => fields.push(field),
            Err(message) => return invalid(message, record.whole()),
        }
    }
    let spec = MountSpec {
        span: value.whole(),
        fields,
    };
    let is_plain = |field: &MountField| {
        !field
            .value
            .as_ref()
            .is_some_and(|value| value.text.contains(is_special))
    };
    if spec.fields.iter().all(is_plain)
        && let Err(MountError::Invalid { message, span }) =
            resolve(&spec, &mut |word| Ok(word.text.clone()))
    {
        return invalid(message, span);
    }
    Ok(spec)
}

fn field(record: &GluedText<'_>) -> Result<MountField, String> {
    let text = record.text();
    let equals = text.find('=');
    let key_end = equals.unwrap_or(text.len());
    let key = text[..key_end].to_lowercase();
    match equals {
        None if !KEYS_WITHOUT_VALUE.contains(&key.as_str()) => {
            return Err(format!("invalid field '{text}' must be a key=value pair"));
        }
        Some(_) if !KEYS.contains(&key.as_str()) => {
            let suggestion = did_you_mean(&key, KEYS);
            return Err(format!("unexpected key '{key}' in '{text}'{suggestion}"));
        }
        _ => {}
    }
    let value = equals.map(|equals| record.word(equals + 1..text.len()));
    let has_variable = |text: &str| {
        text.split_once('$')
            .is_some_and(|(_, after)| !after.is_empty())
    };
    if key == "from"
        && value
            .as_ref()
            .is_some_and(|value| has_variable(&value.text))
    {
        return Err(
            "'from' doesn't support variable expansion, define alias stage instead".to_owned(),
        );
    }
    Ok(MountField {
        key: Spanned::new(key, record.span(0..key_end)),
        value,
    })
}
