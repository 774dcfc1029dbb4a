//! `CMD`, `ENTRYPOINT` and `SHELL`: a command in JSON or as a text for the shell.

use super::super::ast::{Command, Word};
use super::super::glued::GluedText;
use super::super::json;
use super::{Parts, at_least_one};
use crate::source::Diagnostic;

/// The whole arguments as a command; there may be none.
pub(super) fn command(parts: &mut Parts<'_>) -> Command {
    match parts.json.take() {
        Some(elements) => Command::Exec(texts(elements)),
        None => Command::Shell(parts.arguments.text().to_owned()),
    }
}

/// Text that follows something else as a command.
pub(super) fn command_of(text: &GluedText<'_>) -> Result<Command, Diagnostic> {
    Ok(match json::array(text)? {
        Some(elements) => Command::Exec(texts(elements)),
        None => Command::Shell(text.text().to_owned()),
    })
}

/// `SHELL`, which knows only the JSON form.
pub(super) fn shell(mut parts: Parts<'_>) -> Result<Vec<String>, Diagnostic> {
    match parts.json.take() {
        Some(elements) if !elements.is_empty() => Ok(texts(elements)),
        None if !parts.arguments.text().is_empty() => {
            let message = "SHELL requires the arguments to be in JSON form";
            Err(Diagnostic::error("shell-not-json", message)
                .at(parts.arguments.whole(), "")
                .hint("write `SHELL [\"/bin/sh\", \"-c\"]`, with double quotes"))
        }
        _ => Err(at_least_one(parts.name())),
    }
}

fn texts(elements: Vec<Word>) -> Vec<String> {
    elements.into_iter().map(|element| element.text).collect()
}
