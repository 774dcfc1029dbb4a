//! COPY and ADD: sources and destination resolved as far as text goes; the files are the solver's.

use super::super::lower::{Lowering, Place};
use super::super::stage::StageState;
use super::super::step::{CopySource, CopyStep, StepKind, TreeSource};
use super::super::{Failure, expand_failure, fail, not_yet, paths};
use super::{expand, tree};
use crate::dockerfile::ast::{self, AddInstruction, CopyInstruction, Heredoc, Instruction, Word};
use crate::dockerfile::word::{self, Mode};

pub(super) fn copy(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    instruction: &Instruction,
    copy: &CopyInstruction,
    place: Place,
) -> Result<(), Failure> {
    let from = match &copy.from {
        Some(word) => tree(lowering, state, &word.text, None, place, word.span)?,
        None => TreeSource::Context,
    };
    let spec = Spec {
        keyword: "COPY",
        from,
        sources: &copy.sources,
        destination: &copy.destination,
        chown: copy.chown.as_ref(),
        chmod: copy.chmod.as_ref(),
        link: copy.link,
        parents: copy.parents,
        exclude: &copy.exclude,
        unpack: None,
    };
    lower(lowering, state, instruction, &spec, place)
}

pub(super) fn add(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    instruction: &Instruction,
    add: &AddInstruction,
    place: Place,
) -> Result<(), Failure> {
    let spec = Spec {
        keyword: "ADD",
        from: TreeSource::Context,
        sources: &add.sources,
        destination: &add.destination,
        chown: add.chown.as_ref(),
        chmod: add.chmod.as_ref(),
        link: add.link,
        parents: false,
        exclude: &add.exclude,
        unpack: add.unpack,
    };
    lower(lowering, state, instruction, &spec, place)?;
    if let Some(word) = &add.checksum {
        let remote = "checksum requires HTTP(S) or Git sources";
        let several = "checksum can't be specified for multiple sources";
        let message = if add.sources.len() > 1 {
            several
        } else {
            remote
        };
        return Err(fail("checksum", word.span, message));
    }
    Ok(())
}

/// COPY takes files of a tree only; what ADD fetches from elsewhere is not done yet.
fn refuse_remote(spec: &Spec<'_>, path: &str, word: &Word) -> Result<(), Failure> {
    let (git, url) = (is_git(path), is_url(path));
    if spec.keyword == "ADD" {
        return match (git, url) {
            (true, _) => Err(not_yet(word.span, "ADD of a Git repository")),
            (false, true) => Err(not_yet(word.span, "ADD of a URL")),
            (false, false) => Ok(()),
        };
    }
    if spec.from != TreeSource::Context {
        return Ok(());
    }
    match (url, git) {
        (true, _) => Err(fail(
            "copy-url",
            word.span,
            "source can't be a URL for COPY",
        )),
        (false, true) => Err(fail(
            "copy-git",
            word.span,
            "source can't be a git ref for COPY",
        )),
        (false, false) => Ok(()),
    }
}

/// What COPY and ADD have in common.
struct Spec<'a> {
    keyword: &'static str,
    from: TreeSource,
    sources: &'a [ast::CopySource],
    destination: &'a Word,
    chown: Option<&'a Word>,
    chmod: Option<&'a Word>,
    link: bool,
    parents: bool,
    exclude: &'a [Word],
    unpack: Option<bool>,
}

fn lower(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    instruction: &Instruction,
    spec: &Spec<'_>,
    place: Place,
) -> Result<(), Failure> {
    let mut optional = |word: Option<&Word>| {
        word.map(|word| expand(lowering, state, word, place))
            .transpose()
    };
    let chown = optional(spec.chown)?;
    let chmod = optional(spec.chmod)?;
    let written = expand(lowering, state, spec.destination, place)?;
    let mut sources = Vec::new();
    let mut names = Vec::new();
    // The history names heredocs after the paths, wherever they stand.
    let mut heredocs = Vec::new();
    for source in spec.sources {
        match source {
            ast::CopySource::Path(word) => {
                let path = expand(lowering, state, word, place)?;
                refuse_remote(spec, &path, word)?;
                names.push(path.clone());
                sources.push(CopySource::Path(path));
            }
            ast::CopySource::Heredoc(heredoc) => {
                heredocs.push(format!("<<{}", heredoc.name));
                sources.push(inline(lowering, state, heredoc)?);
            }
        }
    }
    names.append(&mut heredocs);
    let mut text = spec.keyword.to_owned();
    if spec.parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [("chown", &chown), ("chmod", &chmod)] {
        if let Some(value) = value {
            text.push_str(&format!(" --{flag}={value}"));
        }
    }
    text.push_str(&format!(" {} {written}", names.join(" ")));
    let step = CopyStep {
        add: spec.keyword == "ADD",
        from: spec.from.clone(),
        sources,
        destination: paths::destination(&state.cwd(), &written),
        chown,
        // As the reference has it: a linked copy would give the mode to every directory on the way, also to those there.
        link: spec.link && chmod.is_none(),
        chmod,
        parents: spec.parents,
        exclude: spec.exclude.iter().map(|word| word.text.clone()).collect(),
        unpack: spec.unpack,
    };
    let step = lowering.step(state, place, &instruction.text, StepKind::Copy(step));
    state.record(format!("{text} # buildkit"), Some(step));
    Ok(())
}

fn inline(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    heredoc: &Heredoc,
) -> Result<CopySource, Failure> {
    let mut content = heredoc.content();
    if heredoc.expand {
        let word = Word {
            text: content,
            span: heredoc.body_span,
        };
        let lookup = |name: &str| state.variable(name);
        let expansion =
            word::expand(&word, '\\', &lookup, Mode::Heredoc).map_err(expand_failure)?;
        for name in expansion.unset {
            let message = format!("Usage of undefined variable '${name}'");
            let warning = crate::source::Diagnostic::warning("UndefinedVar", message);
            lowering.warnings.push(warning.at(heredoc.marker, ""));
        }
        content = expansion.value;
    }
    Ok(CopySource::Inline {
        name: heredoc.name.clone(),
        content,
    })
}

fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// Git URLs: `git://`, `ssh://`, `git@host:path`, and http(s) ones whose path ends in `.git`.
fn is_git(path: &str) -> bool {
    let without_fragment = path.split(['#', '?']).next().unwrap_or_default();
    path.starts_with("git://")
        || path.starts_with("ssh://")
        || path.starts_with("git@")
        || (is_url(path) && without_fragment.ends_with(".git"))
}
