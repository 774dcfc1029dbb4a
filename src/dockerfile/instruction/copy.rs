//! `COPY` and `ADD`.

use std::ops::Range;

use super::super::ast::{AddInstruction, CopyInstruction, CopySource, Word};
use super::super::glued::GluedText;
use super::super::pieces;
use super::Parts;
use super::flags::Flags;
use crate::source::Diagnostic;

pub(super) fn copy(parts: Parts<'_>, mut flags: Flags<'_>) -> Result<CopyInstruction, Diagnostic> {
    let from = flags.text("from");
    if let Some(from) = &from
        && from.text.contains('$')
    {
        let message = "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround";
        return Err(Diagnostic::error("from-expansion", message).at(from.span, ""));
    }
    let json = parts.json.is_some();
    let (sources, destination) = sources_and_destination(parts)?;
    Ok(CopyInstruction {
        sources,
        destination,
        json,
        from,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.boolean("link").unwrap_or(false),
        parents: flags.boolean("parents").unwrap_or(false),
        exclude: patterns(&mut flags),
    })
}

pub(super) fn add(parts: Parts<'_>, mut flags: Flags<'_>) -> Result<AddInstruction, Diagnostic> {
    let json = parts.json.is_some();
    let (sources, destination) = sources_and_destination(parts)?;
    Ok(AddInstruction {
        sources,
        destination,
        json,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.boolean("link").unwrap_or(false),
        exclude: patterns(&mut flags),
        keep_git_dir: flags.boolean("keep-git-dir"),
        checksum: flags.text("checksum"),
        unpack: flags.boolean("unpack"),
    })
}

fn patterns(flags: &mut Flags<'_>) -> Vec<Word> {
    flags
        .list("exclude")
        .into_iter()
        .map(GluedText::into_word)
        .collect()
}

/// The last argument is the destination; before it, paths and heredocs may be mixed.
fn sources_and_destination(mut parts: Parts<'_>) -> Result<(Vec<CopySource>, Word), Diagnostic> {
    let mut sources: Vec<CopySource> = match parts.json.take() {
        Some(words) => words.into_iter().map(CopySource::Path).collect(),
        None => mixed(&mut parts),
    };
    let name = parts.name();
    match sources.pop() {
        Some(CopySource::Path(destination)) if !sources.is_empty() => Ok((sources, destination)),
        Some(CopySource::Heredoc(heredoc)) if !sources.is_empty() => {
            let message = format!("{name} cannot accept a heredoc as a destination");
            Err(Diagnostic::error("heredoc-destination", message).at(heredoc.marker, ""))
        }
        _ => {
            let message = format!(
                "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
            );
            Err(Diagnostic::error("arity", message))
        }
    }
}

/// Words between the announcements of heredocs are paths.
fn mixed(parts: &mut Parts<'_>) -> Vec<CopySource> {
    let mut sources = Vec::new();
    let mut at = 0;
    let markers = parts
        .markers
        .iter()
        .zip(std::mem::take(&mut parts.heredocs));
    for (marker, heredoc) in markers {
        sources.extend(paths(&parts.arguments, at..marker.range.start));
        sources.push(CopySource::Heredoc(heredoc));
        at = marker.range.end;
    }
    sources.extend(paths(&parts.arguments, at..parts.arguments.text().len()));
    sources
}

fn paths(arguments: &GluedText<'_>, range: Range<usize>) -> Vec<CopySource> {
    let start = range.start;
    let words = pieces::words(&arguments.text()[range]);
    let word =
        |word: Range<usize>| CopySource::Path(arguments.word(start + word.start..start + word.end));
    words.into_iter().map(word).collect()
}
