//! `ENV`, `LABEL` and `ARG`: names and values.

use std::ops::Range;

use super::super::ast::{ArgDeclaration, ArgInstruction, Assignments, Word};
use super::super::pieces::{quoted_words, words};
use super::{Parts, at_least_one};
use crate::source::{Diagnostic, Span};

/// `NAME=VALUE...`, or the old form `NAME rest of the line`; the first word decides.
pub(super) fn assignments(parts: &Parts<'_>) -> Result<Assignments, Diagnostic> {
    let text = parts.arguments.text();
    let list = quoted_words(text, parts.escape);
    let Some(first) = list.first() else {
        return Err(at_least_one(parts.name()));
    };
    if !text[first.clone()].contains('=') {
        return legacy(parts);
    }
    let mut pairs = Vec::with_capacity(list.len());
    for range in list {
        let (name, value) = split(parts, range);
        let Some(value) = value else {
            let message = format!(
                "Syntax error - can't find = in {:?}. Must be of the form: name=value",
                name.text
            );
            return Err(Diagnostic::error("missing-equals", message)
                .at(name.span, "")
                .hint("put a value with blanks in it in quotes"));
        };
        check_name(parts, &name, value.span)?;
        pairs.push((name, value));
    }
    Ok(Assignments {
        pairs,
        legacy: false,
    })
}

/// The old form. Its value has everything in it, as written, until it is expanded.
fn legacy(parts: &Parts<'_>) -> Result<Assignments, Diagnostic> {
    let arguments = &parts.arguments;
    let list = words(arguments.text());
    let (Some(name), Some(value)) = (list.first(), list.get(1)) else {
        let message = format!("{} must have two arguments", parts.name());
        return Err(Diagnostic::error("arity", message)
            .hint(format!("write `{} NAME=VALUE`", parts.name())));
    };
    let value = value.start..arguments.text().len();
    Ok(Assignments {
        pairs: vec![(arguments.word(name.clone()), arguments.word(value))],
        legacy: true,
    })
}

/// `NAME[=DEFAULT]...`
pub(super) fn arg(parts: &Parts<'_>) -> Result<ArgInstruction, Diagnostic> {
    let list = quoted_words(parts.arguments.text(), parts.escape);
    if list.is_empty() {
        return Err(at_least_one(parts.name()));
    }
    let mut declarations = Vec::with_capacity(list.len());
    for range in list {
        let (name, default) = split(parts, range);
        check_name(
            parts,
            &name,
            default.as_ref().map_or(name.span, |default| default.span),
        )?;
        declarations.push(ArgDeclaration { name, default });
    }
    Ok(ArgInstruction { declarations })
}

/// Splits a word at its first `=`.
fn split(parts: &Parts<'_>, range: Range<usize>) -> (Word, Option<Word>) {
    let arguments = &parts.arguments;
    match arguments.text()[range.clone()].find('=') {
        Some(equals) => {
            let equals = range.start + equals;
            (
                arguments.word(range.start..equals),
                Some(arguments.word(equals + 1..range.end)),
            )
        }
        None => (arguments.word(range), None),
    }
}

fn check_name(parts: &Parts<'_>, name: &Word, value: Span) -> Result<(), Diagnostic> {
    if name.text.is_empty() {
        let message = format!("{} names can not be blank", parts.name());
        return Err(Diagnostic::error("blank-name", message).at(name.span.to(value), ""));
    }
    Ok(())
}
