//! What the author of a Dockerfile wrote, typed, with its places. Nothing is expanded, looked up or defaulted here.
//!
//! The tree owns its data and has no lifetimes. Flags and arity were checked when it was made, so whoever walks it
//! sees no instruction that is wrong by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::directive::Directives;
use super::mount::MountSpec;
use crate::source::{FileId, Span, Spanned};

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text it was made from.
    pub file: FileId,
    /// What the comments at the very start of the file ask for.
    pub directives: Directives,
    /// The escape character in force: backslash, or backtick after `# escape=`.
    pub escape: char,
    /// `ARG` instructions before the first `FROM`.
    pub global_args: Vec<Instruction<ArgInstruction>>,
    /// The stages in order; at least one.
    pub stages: Vec<Stage>,
    /// Which stages have a name.
    pub(super) names: StageNames,
}

impl Dockerfile {
    /// The last stage of a name, in lower case, among the first `before` stages.
    #[must_use]
    pub fn last_named(&self, name: &str, before: usize) -> Option<usize> {
        let positions = self.names.0.get(name)?;
        let count = positions.partition_point(|&position| position < before);
        positions[..count].last().copied()
    }

    /// The first stage of a name, in lower case.
    #[must_use]
    pub fn first_named(&self, name: &str) -> Option<usize> {
        self.names.0.get(name)?.first().copied()
    }
}

/// The positions of stages by name, in lower case: looking through all stages would not do where there are thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StageNames(BTreeMap<String, Vec<usize>>);

impl StageNames {
    /// The names of some stages.
    pub(super) fn of(stages: &[Stage]) -> Self {
        let mut names: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (position, stage) in stages.iter().enumerate() {
            if let Some(name) = &stage.from.kind.name {
                names.entry(name.lower.clone()).or_default().push(position);
            }
        }
        Self(names)
    }
}

/// `FROM` up to the next `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The instruction that begins it.
    pub from: Instruction<FromInstruction>,
    /// The instructions in it.
    pub instructions: Vec<Instruction>,
}

/// One statement. `K` is what it says: [`InstructionKind`] inside a stage, the one possible kind elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction<K = InstructionKind> {
    /// All of it: keyword to the end of its last line, heredoc bodies and terminators included, last line end not.
    pub span: Span,
    /// The keyword as written, for checks of its casing.
    pub keyword: Spanned<String>,
    /// The text of the instruction with continued lines glued together and comments between them gone, trimmed,
    /// without heredoc bodies. Used where people are told which instruction is meant.
    pub text: String,
    /// The comment lines directly above, in order, without `#` and blanks around the text.
    pub comments: Vec<Spanned<String>>,
    /// What it says.
    pub kind: K,
}

impl<K> Instruction<K> {
    /// The same instruction with another payload.
    pub(super) fn with_kind<L>(self, kind: L) -> (Instruction<L>, K) {
        let Self {
            span,
            keyword,
            text,
            comments,
            kind: old,
        } = self;
        let new = Instruction {
            span,
            keyword,
            text,
            comments,
            kind,
        };
        (new, old)
    }
}

/// A piece of text that is subject to expansion, as written: quotes, escapes and variables are still in it.
///
/// In the JSON form of an instruction it is the decoded string, which is expanded all the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// The text. Where a line was continued inside the word, the two ends are glued.
    pub text: String,
    /// Where it was written.
    pub span: Span,
}

/// What an instruction inside a stage says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstructionKind {
    /// `ADD`
    Add(AddInstruction),
    /// `ARG`
    Arg(ArgInstruction),
    /// `CMD`
    Cmd(Command),
    /// `COPY`
    Copy(CopyInstruction),
    /// `ENTRYPOINT`
    Entrypoint(Command),
    /// `ENV`
    Env(Assignments),
    /// `EXPOSE`, the words in the order written; at least one. Each may expand to several.
    Expose(Vec<Word>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`
    Label(Assignments),
    /// `MAINTAINER`, never expanded.
    Maintainer(String),
    /// `ONBUILD`
    Onbuild(OnbuildInstruction),
    /// `RUN`
    Run(RunInstruction),
    /// `SHELL`, at least one element, never expanded.
    Shell(Vec<String>),
    /// `STOPSIGNAL`
    Stopsignal(Word),
    /// `USER`
    User(Word),
    /// `VOLUME`, at least one.
    Volume(Vec<Word>),
    /// `WORKDIR`
    Workdir(Word),
}

impl InstructionKind {
    /// The heredocs in it, in order.
    #[must_use]
    pub fn heredocs(&self) -> Vec<&Heredoc> {
        match self {
            Self::Add(add) => add.sources.iter().filter_map(CopySource::heredoc).collect(),
            Self::Copy(copy) => copy
                .sources
                .iter()
                .filter_map(CopySource::heredoc)
                .collect(),
            Self::Run(run) => run.command.heredocs().iter().collect(),
            Self::Onbuild(onbuild) => onbuild.inner.kind.heredocs(),
            _ => Vec::new(),
        }
    }
}

/// `FROM [--platform=P] IMAGE [AS NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromInstruction {
    /// Image or stage.
    pub image: Word,
    /// The value of `--platform`.
    pub platform: Option<Word>,
    /// The name given to the stage.
    pub name: Option<StageName>,
}

/// The name of a stage and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageName {
    /// In lower case: stage names are compared without regard to case.
    pub lower: String,
    /// As written.
    pub written: Spanned<String>,
    /// The word `AS` as written.
    pub as_keyword: Spanned<String>,
}

/// `ARG NAME[=DEFAULT]...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgInstruction {
    /// What it declares, in order; at least one. Each default sees the declarations before it on the same line.
    pub declarations: Vec<ArgDeclaration>,
}

/// One `NAME[=DEFAULT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name; not empty. Subject to expansion as everything else.
    pub name: Word,
    /// The default; `NAME=` has an empty one. Only expanded if it is used.
    pub default: Option<Word>,
}

/// `ENV` or `LABEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignments {
    /// Names and values, both subject to expansion; at least one pair.
    pub pairs: Vec<(Word, Word)>,
    /// True for the old form `ENV NAME rest of the line`.
    pub legacy: bool,
}

/// What is to be executed, not expanded by the builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A text for the shell; may be empty.
    Shell(String),
    /// Program and arguments of the JSON form; may be empty.
    Exec(Vec<String>),
}

/// `RUN`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInstruction {
    /// What to execute.
    pub command: RunCommand,
    /// The values of `--mount`, in order.
    pub mounts: Vec<MountSpec>,
    /// The value of `--network`; without it the setting of the whole build holds.
    pub network: Option<Spanned<NetworkMode>>,
    /// The value of `--security`.
    pub security: Option<Spanned<SecurityMode>>,
    /// The values of `--device`, in order.
    pub devices: Vec<Spanned<DeviceRequest>>,
}

/// What a `RUN` executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunCommand {
    /// No heredoc.
    Plain(Command),
    /// `RUN <<EOF`: the content of the heredoc is the text for the shell.
    Script(Heredoc),
    /// `RUN <<EOF` with content that begins with `#!`: the content is an executable file `/dev/pipes/<name>`, mode 0755,
    /// and its path is the text for the shell. (On Windows it is a [`RunCommand::Script`] like any other.)
    Executable(Heredoc),
    /// Anything else with heredocs: the shell gets the line, the bodies and the terminators and makes sense of them.
    Reassembled {
        /// The text for the shell.
        text: String,
        /// The part of it that is on the line of the instruction.
        line: String,
        /// The heredocs, in order; at least one.
        heredocs: Vec<Heredoc>,
    },
}

impl RunCommand {
    /// The heredocs, in order.
    #[must_use]
    pub fn heredocs(&self) -> &[Heredoc] {
        match self {
            Self::Plain(_) => &[],
            Self::Script(heredoc) | Self::Executable(heredoc) => std::slice::from_ref(heredoc),
            Self::Reassembled { heredocs, .. } => heredocs,
        }
    }
}

/// `--network`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkMode {
    /// A network of its own with access to the outside.
    Default,
    /// Only loopback.
    None,
    /// The network of the host.
    Host,
}

/// `--security`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityMode {
    /// Confined.
    Sandbox,
    /// All capabilities, nothing masked.
    Insecure,
}

/// `--device=NAME[,required]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// `vendor/class`, `vendor/class=name` or `vendor/class=*`.
    pub name: String,
    /// Whether its absence is an error.
    pub required: bool,
}

/// A text that follows the lines of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without its quotes; the name of the file that `COPY` and `ADD` make.
    pub name: String,
    /// The digits before `<<`, if any.
    pub file_descriptor: Option<String>,
    /// `<<-`: tabs at the start of lines are not part of the content.
    pub strip_tabs: bool,
    /// False if any part of the delimiter is quoted: `COPY` and `ADD` then leave variables alone.
    pub expand: bool,
    /// The lines up to the terminator, byte for byte. See [`Heredoc::content`].
    pub body: String,
    /// The `<<EOF` on the line of the instruction.
    pub marker: Span,
    /// The lines of the body, without the terminator.
    pub body_span: Span,
}

impl Heredoc {
    /// The body, without the tabs at the start of lines if the author asked for that.
    #[must_use]
    pub fn content(&self) -> String {
        if !self.strip_tabs {
            return self.body.clone();
        }
        let lines = self.body.split_inclusive('\n');
        lines.map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// Something to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path or pattern; for `ADD` also a URL or a Git repository.
    Path(Word),
    /// A file with the content of a heredoc.
    Heredoc(Heredoc),
}

impl CopySource {
    /// The heredoc, if it is one.
    #[must_use]
    pub const fn heredoc(&self) -> Option<&Heredoc> {
        match self {
            Self::Path(_) => None,
            Self::Heredoc(heredoc) => Some(heredoc),
        }
    }
}

/// `COPY`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyInstruction {
    /// What to copy, in the order written; at least one.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
    /// Whether the JSON form was used.
    pub json: bool,
    /// `--from`; never expanded, contains no `$`.
    pub from: Option<Word>,
    /// `--chown`
    pub chown: Option<Word>,
    /// `--chmod`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// The values of `--exclude`, in order; never expanded.
    pub exclude: Vec<Word>,
}

/// `ADD`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddInstruction {
    /// What to add, in the order written; at least one.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
    /// Whether the JSON form was used.
    pub json: bool,
    /// `--chown`
    pub chown: Option<Word>,
    /// `--chmod`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// The values of `--exclude`, in order; never expanded.
    pub exclude: Vec<Word>,
    /// `--keep-git-dir`, if given.
    pub keep_git_dir: Option<bool>,
    /// `--checksum`
    pub checksum: Option<Word>,
    /// `--unpack`, if given: without it local archives are unpacked and remote ones are not.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`
    None,
    /// `HEALTHCHECK CMD ...`
    Cmd(HealthcheckCommand),
}

/// The test of a `HEALTHCHECK` and how often to run it. `None` is whatever the runtime does by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthcheckCommand {
    /// What to execute; not empty.
    pub command: Command,
    /// `--interval`
    pub interval: Option<Duration>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--start-period`
    pub start_period: Option<Duration>,
    /// `--start-interval`
    pub start_interval: Option<Duration>,
    /// `--retries`; zero is the same as none.
    pub retries: u32,
}

/// `ONBUILD`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnbuildInstruction {
    /// The text to store in the image: the inner instruction as written, with heredoc bodies and terminators.
    pub text: String,
    /// The inner instruction, checked. It is not what runs: the stored text is read again downstream.
    pub inner: Box<Instruction>,
}
