//! COPY and ADD: sources and destination resolved as far as text goes; the files are the solver's.

use super::super::lower::{Lowering, Place};
use super::super::origin::{GitError, GitSource, HttpSource, Origin, is_git, is_http};
use super::super::stage::StageState;
use super::super::step::{
    BaseRequest, BaseSource, CopySource, CopyStep, StateRef, StepKind, TreeSource,
};
use super::super::{Failure, FileMode, expand_failure, fail, paths};
use super::{expand, tree};
use crate::dockerfile::ast::{self, AddInstruction, CopyInstruction, Heredoc, Instruction, Word};
use crate::dockerfile::word::{self, Mode};
use crate::source::Span;

pub(super) fn copy(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    instruction: &Instruction,
    copy: &CopyInstruction,
    place: Place,
) -> Result<(), Failure> {
    let from = match &copy.from {
        Some(word) => Some(tree(lowering, state, &word.text, None, place, word.span)?),
        None => None,
    };
    let spec = Spec {
        keyword: "COPY",
        from,
        remote: None,
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
    let remote = Remote {
        checksum: add.checksum.as_ref(),
        keep_git_dir: add.keep_git_dir,
    };
    let spec = Spec {
        keyword: "ADD",
        from: None,
        remote: Some(remote),
        sources: &add.sources,
        destination: &add.destination,
        chown: add.chown.as_ref(),
        chmod: add.chmod.as_ref(),
        link: add.link,
        parents: false,
        exclude: &add.exclude,
        unpack: add.unpack,
    };
    if let Some(word) = add.checksum.as_ref().filter(|_| add.sources.len() > 1) {
        let message = "checksum can't be specified for multiple sources";
        return Err(fail("checksum", word.span, message));
    }
    lower(lowering, state, instruction, &spec, place)
}

/// What only ADD says of what it fetches.
struct Remote<'a> {
    checksum: Option<&'a Word>,
    keep_git_dir: Option<bool>,
}

/// A URL or repository as one of the plan's bases; nothing for a path.
fn remote(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    spec: &Spec<'_>,
    path: &str,
    word: &Word,
    place: Place,
) -> Result<Option<(CopySource, String)>, Failure> {
    let (git, url) = (is_git(path), is_http(path));
    let Some(remote) = &spec.remote else {
        if spec.from.is_some() {
            return Ok(None);
        }
        let refuse = |code, message| Err(fail(code, word.span, message));
        return match (url, git) {
            (true, _) => refuse("copy-url", "source can't be a URL for COPY"),
            (false, true) => refuse("copy-git", "source can't be a git ref for COPY"),
            (false, false) => Ok(None),
        };
    };
    let checksum = match remote.checksum {
        Some(word) => Some((expand(lowering, state, word, place)?, word.span)),
        None => None,
    };
    let (origin, file) = if git {
        git_origin(path, word, remote, checksum)?
    } else if url {
        http_origin(path, word, checksum)?
    } else if let Some((_, span)) = checksum {
        let message = "checksum requires HTTP(S) or Git sources";
        return Err(fail("checksum", span, message));
    } else {
        return Ok(None);
    };
    let shown = origin.name();
    let build = &lowering.options.build_platform;
    let request = BaseRequest::new(BaseSource::Tree(origin), build, build);
    let state = lowering.base_image_state(&request, word.span);
    let from = TreeSource::State(state);
    Ok(Some((CopySource::Remote { from, file }, shown)))
}

type Checksum = Option<(String, Span)>;

fn git_origin(
    text: &str,
    word: &Word,
    remote: &Remote<'_>,
    checksum: Checksum,
) -> Result<(Origin, Option<String>), Failure> {
    let mut source =
        GitSource::parse(text).map_err(|error| fail("git", word.span, error.to_string()))?;
    if let Some((checksum, span)) = checksum {
        let wrong = |error: GitError| fail("checksum", span, error.to_string());
        source.expect(&checksum).map_err(wrong)?;
    }
    if let Some(keep) = remote.keep_git_dir {
        source
            .keep_git_dir(keep)
            .map_err(|error| fail("git", word.span, error.to_string()))?;
    }
    Ok((Origin::Git(source), None))
}

fn http_origin(
    text: &str,
    word: &Word,
    checksum: Checksum,
) -> Result<(Origin, Option<String>), Failure> {
    let mut source =
        HttpSource::parse(text).map_err(|error| fail("url", word.span, error.to_string()))?;
    if let Some((checksum, span)) = checksum {
        let digest = checksum.parse().map_err(|_| {
            let message = format!("invalid checksum `{checksum}`");
            let failure = fail("checksum", span, message);
            Box::new(failure.hint("write it as `sha256:` and 64 hexadecimal digits"))
        })?;
        source.checksum = Some(digest);
    }
    let file = source.file_name.clone();
    Ok((Origin::Http(source), Some(file)))
}

/// The solver reads it again: what it does to a file depends on the file.
fn check_mode(word: Option<&Word>, expanded: Option<&str>) -> Result<(), Failure> {
    let (Some(word), Some(text)) = (word, expanded) else {
        return Ok(());
    };
    if FileMode::parse(text).is_some() {
        return Ok(());
    }
    let message = format!(
        "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
    );
    let failure = fail("chmod", word.span, message);
    Err(Box::new(failure.hint(
        "symbolic modes such as `u=rwX,go=rX` will do as well",
    )))
}

/// What COPY and ADD have in common.
struct Spec<'a> {
    keyword: &'static str,
    /// What was named to take files from; the main context if nothing was.
    from: Option<TreeSource>,
    /// Set for ADD, which also fetches.
    remote: Option<Remote<'a>>,
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
    check_mode(spec.chmod, chmod.as_deref())?;
    let written = expand(lowering, state, spec.destination, place)?;
    let mut sources = Vec::new();
    let mut names = Vec::new();
    // The history names heredocs after the paths, wherever they stand.
    let mut heredocs = Vec::new();
    for source in spec.sources {
        match source {
            ast::CopySource::Path(word) => {
                let path = expand(lowering, state, word, place)?;
                let source = remote(lowering, state, spec, &path, word, place)?;
                let (source, name) =
                    source.unwrap_or_else(|| (CopySource::Path(path.clone()), path));
                names.push(name);
                sources.push(source);
            }
            ast::CopySource::Heredoc(heredoc) => {
                heredocs.push(format!("<<{}", heredoc.name));
                sources.push(inline(lowering, state, heredoc)?);
            }
        }
    }
    names.append(&mut heredocs);
    let takes_paths = sources
        .iter()
        .any(|source| matches!(source, CopySource::Path(_)));
    let from = match &spec.from {
        Some(from) => from.clone(),
        None if takes_paths => lowering.main_context(&state.platform, place.span),
        // The context is not even opened.
        None => TreeSource::State(StateRef::Scratch),
    };
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
        from,
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
    // A login in a URL is not shown.
    let fetches = step.sources.iter().any(|source| source.remote().is_some());
    let label = if fetches { &text } else { &instruction.text };
    let step = lowering.step(state, place, label, StepKind::Copy(step));
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
        lowering.notice_undefined(state, expansion.unset, heredoc.marker);
        content = expansion.value;
    }
    Ok(CopySource::Inline {
        name: heredoc.name.clone(),
        content,
    })
}
