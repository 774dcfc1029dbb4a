//! Instructions whose arguments are one text or a list of words: `EXPOSE`, `MAINTAINER`, `STOPSIGNAL`, `USER`, `VOLUME`, `WORKDIR`.

use super::super::ast::Word;
use super::super::pieces;
use super::{Parts, at_least_one};
use crate::source::Diagnostic;

/// The rest of the line as one argument.
pub(super) fn one(parts: Parts<'_>) -> Result<Word, Diagnostic> {
    if parts.arguments.text().is_empty() {
        let message = format!("{} requires exactly one argument", parts.name());
        return Err(Diagnostic::error("arity", message));
    }
    Ok(parts.arguments.into_word())
}

/// One or more words.
pub(super) fn words(parts: &Parts<'_>) -> Result<Vec<Word>, Diagnostic> {
    let words = pieces::words(parts.arguments.text());
    if words.is_empty() {
        return Err(at_least_one(parts.name()));
    }
    Ok(words
        .into_iter()
        .map(|range| parts.arguments.word(range))
        .collect())
}

/// The paths of `VOLUME`, none of them blank.
pub(super) fn volume(mut parts: Parts<'_>) -> Result<Vec<Word>, Diagnostic> {
    let mut paths = match parts.json.take() {
        Some(paths) if paths.is_empty() => return Err(at_least_one(parts.name())),
        Some(paths) => paths,
        None => words(&parts)?,
    };
    for path in &mut paths {
        path.text = path.text.trim().to_owned();
        if path.text.is_empty() {
            let message = "VOLUME specified can not be an empty string";
            return Err(Diagnostic::error("empty-volume", message).at(path.span, ""));
        }
    }
    Ok(paths)
}
