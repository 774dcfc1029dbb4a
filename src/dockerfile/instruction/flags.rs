//! Flags of an instruction, checked against the table of flags.

use super::super::ast::Word;
use super::super::glued::GluedText;
use super::super::keyword::{FlagKind, Keyword, did_you_mean};
use crate::source::Diagnostic;

/// The flags of one instruction: each known, none twice unless it may be, values of the right kind.
#[derive(Debug, Default)]
pub(super) struct Flags<'f> {
    given: Vec<Flag<'f>>,
}

#[derive(Debug)]
struct Flag<'f> {
    name: &'static str,
    /// The text after `=`. A boolean alone has `true`.
    value: GluedText<'f>,
    on: bool,
}

impl<'f> Flags<'f> {
    /// Checks the flags of an instruction.
    pub(super) fn check(keyword: Keyword, written: &[GluedText<'f>]) -> Result<Self, Diagnostic> {
        let mut flags = Self::default();
        for flag in written {
            let flag = check_one(keyword, flag, &flags.given)?;
            flags.given.push(flag);
        }
        Ok(flags)
    }

    /// The values of a flag that may be repeated, in order.
    pub(super) fn list(&mut self, name: &str) -> Vec<GluedText<'f>> {
        let flags = self.given.extract_if(.., |flag| flag.name == name);
        flags.map(|flag| flag.value).collect()
    }

    /// The value of a flag, if it was given and is not empty: an empty value is the same as none.
    pub(super) fn text(&mut self, name: &str) -> Option<Word> {
        let value = self.list(name).pop()?;
        (!value.text().is_empty()).then(|| value.into_word())
    }

    /// The value of a boolean flag, if it was given.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.given
            .iter()
            .find(|flag| flag.name == name)
            .map(|flag| flag.on)
    }
}

fn check_one<'f>(
    keyword: Keyword,
    written: &GluedText<'f>,
    before: &[Flag<'f>],
) -> Result<Flag<'f>, Diagnostic> {
    let text = written.text();
    let name_end = text.find('=').unwrap_or(text.len());
    let name = text.get(2..name_end).unwrap_or_default();
    let place = written.whole();
    let table = keyword.flags();
    let Some(&(name, kind)) = table.iter().find(|(known, _)| *known == name) else {
        let suggestion = did_you_mean(name, table.iter().map(|(known, _)| *known));
        let message = format!("unknown flag: --{name}{suggestion}");
        return Err(Diagnostic::error("unknown-flag", message).at(place, ""));
    };
    if kind != FlagKind::List && before.iter().any(|flag| flag.name == name) {
        let message = format!("duplicate flag specified: --{name}");
        return Err(Diagnostic::error("duplicate-flag", message).at(place, ""));
    }
    let value = written.part((name_end + 1).min(text.len())..text.len());
    let on = match (kind, value.text()) {
        (FlagKind::Boolean, _) if name_end == text.len() => true,
        (FlagKind::Boolean, "") => {
            return Err(missing_value(
                name,
                written,
                &format!("write `--{name}` or `--{name}=false`"),
            ));
        }
        (FlagKind::Boolean, value) if value.eq_ignore_ascii_case("true") => true,
        (FlagKind::Boolean, value) if value.eq_ignore_ascii_case("false") => false,
        (FlagKind::Boolean, other) => {
            let message = format!("expecting boolean value for flag --{name}, not: {other}");
            return Err(Diagnostic::error("bad-flag-value", message).at(value.whole(), ""));
        }
        _ if name_end == text.len() => {
            return Err(missing_value(
                name,
                written,
                &format!("write `--{name}=VALUE`, without blanks"),
            ));
        }
        _ => true,
    };
    Ok(Flag { name, value, on })
}

fn missing_value(name: &str, written: &GluedText<'_>, hint: &str) -> Diagnostic {
    let message = format!("missing a value on flag: --{name}");
    Diagnostic::error("bad-flag-value", message)
        .at(written.whole(), "")
        .hint(hint)
}
