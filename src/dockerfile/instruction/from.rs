//! `FROM [--platform=P] IMAGE [AS NAME]`

use super::super::ast::{FromInstruction, StageName, Word};
use super::super::pieces;
use super::Parts;
use super::flags::Flags;
use crate::source::{Diagnostic, Spanned};

pub(super) fn from(
    parts: &Parts<'_>,
    flags: &mut Flags<'_>,
) -> Result<FromInstruction, Diagnostic> {
    let ranges = pieces::words(parts.arguments.text());
    let mut words = ranges
        .iter()
        .map(|range| parts.arguments.word(range.clone()));
    let (image, name) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(image), None, None, None) => (image, None),
        (Some(image), Some(keyword), Some(name), None)
            if keyword.text.eq_ignore_ascii_case("as") =>
        {
            (image, Some(stage_name(keyword, name)?))
        }
        _ => {
            let message = "FROM requires either one or three arguments";
            return Err(Diagnostic::error("arity", message)
                .hint("write `FROM IMAGE` or `FROM IMAGE AS NAME`"));
        }
    };
    Ok(FromInstruction {
        image,
        platform: flags.text("platform"),
        name,
    })
}

fn stage_name(as_keyword: Word, name: Word) -> Result<StageName, Diagnostic> {
    let lower = name.text.to_lowercase();
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if !lower.starts_with(|first: char| first.is_ascii_lowercase()) || !lower.bytes().all(allowed) {
        let message = format!(
            "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
            name.text
        );
        return Err(Diagnostic::error("stage-name", message).at(name.span, ""));
    }
    Ok(StageName {
        lower,
        written: Spanned::new(name.text, name.span),
        as_keyword: Spanned::new(as_keyword.text, as_keyword.span),
    })
}
