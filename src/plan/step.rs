//! The nodes of the instruction graph: what each step does, as plain data.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::origin::Origin;
use crate::oci::{Digest, Platform, Reference};
use crate::source::Span;

/// Index of a step in its plan. A step's inputs have smaller indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// Index of a base image in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseId(pub usize);

/// A state of the file system: the stack of layers that a step starts from or copies from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateRef {
    /// No layers.
    Scratch,
    /// The layers of a base image.
    Base(BaseId),
    /// What a step leaves: its input's layers and its own.
    Step(StepId),
}

/// Where a base comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseSource {
    /// A name, looked up in the local store and at its registry.
    Reference(Reference),
    /// An OCI layout on disk.
    Layout {
        /// The folder.
        path: PathBuf,
        /// Which image in it; `latest` or the only one where neither is given.
        tag: Option<String>,
        /// Which image in it, pinned.
        digest: Option<Digest>,
    },
    /// No image at all but files from elsewhere: one layer without a config.
    Tree(Origin),
}

/// An image or file tree that has to be resolved before the graph is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseRequest {
    /// Where it comes from.
    pub source: BaseSource,
    /// For which platform; for a tree, which is the same for all, the one that builds.
    pub platform: Platform,
}

/// A file tree to take files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeSource {
    /// The main build context.
    Context,
    /// A named context on the local disk.
    NamedContext(String),
    /// A state of the graph.
    State(StateRef),
}

/// One node of the graph: makes exactly one layer.
#[derive(Clone, Debug)]
pub struct Step {
    /// As shown to people: `[build 2/4] RUN make`.
    pub label: String,
    /// The instruction in the Dockerfile (for a trigger: the FROM line).
    pub span: Span,
    /// The stage, by position in the file.
    pub stage: usize,
    /// The state the step starts from.
    pub input: StateRef,
    /// For which platform it runs.
    pub platform: Platform,
    /// Whether the cache must not answer it.
    pub no_cache: bool,
    /// What it does.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// Runs a command.
    Run(RunStep),
    /// Copies files in (COPY and ADD).
    Copy(CopyStep),
    /// Makes a folder if it is not there.
    Workdir(WorkdirStep),
}

/// A command and everything it can see.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStep {
    /// Program and arguments, shell included.
    pub argv: Vec<String>,
    /// Environment in order, PATH included.
    pub env: Arc<Vec<(String, String)>>,
    /// Which of it are arguments of the build, for people.
    pub arguments: Vec<String>,
    /// Proxy variables: visible to the command, in no key and no history.
    pub proxy_env: Vec<(String, String)>,
    /// Absolute working directory.
    pub cwd: String,
    /// `user[:group]` as written, empty for root.
    pub user: String,
    /// Host name inside.
    pub hostname: String,
    /// Network.
    pub network: NetworkMode,
    /// Whether it runs with all privileges.
    pub insecure: bool,
    /// Extra file trees, in the order written.
    pub mounts: Vec<RunMount>,
    /// Devices of the machine.
    pub devices: Vec<DeviceRequest>,
    /// A script given as a heredoc with `#!`: file name below `/dev/pipes` and content.
    pub script: Option<(String, String)>,
}

/// A device that a RUN asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// Its name: `vendor.com/class`, which may be followed by `=name` or `=*`. Qualified once the machine was asked.
    pub name: String,
    /// Whether its absence is an error.
    pub required: bool,
    /// Where it is asked for.
    pub span: Span,
}

/// The network of a RUN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkMode {
    /// One of its own, with a way out.
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
    /// That of a namespace, by its path; the command line alone can say so.
    Namespace(String),
}

impl NetworkMode {
    /// The word that the Dockerfile and the command line use.
    #[must_use]
    pub fn word(&self) -> Cow<'static, str> {
        match self {
            Self::Default => "default".into(),
            Self::None => "none".into(),
            Self::Host => "host".into(),
            Self::Namespace(path) => format!("ns:{path}").into(),
        }
    }
}

/// An extra file tree visible to one RUN. Paths are absolute and expanded.
#[derive(Clone, Debug, PartialEq)]
pub enum RunMount {
    /// Files of a context, a stage or an image.
    Bind {
        /// The tree.
        from: TreeSource,
        /// Path in the tree.
        source: String,
        /// Where it is seen.
        target: String,
        /// Writable; what is written is dropped.
        writable: bool,
    },
    /// A folder that outlives the build.
    Cache {
        /// Its name.
        id: String,
        /// Where it is seen.
        target: String,
        /// How concurrent users share it.
        sharing: Sharing,
        /// Initial content.
        from: Option<TreeSource>,
        /// Path in the initial content.
        source: String,
        /// Mode of the folder when made.
        mode: u32,
        /// Owner when made.
        uid: u32,
        /// Group when made.
        gid: u32,
        /// Not writable.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Where it is seen.
        target: String,
        /// Limit in bytes.
        size: Option<u64>,
        /// Not writable.
        read_only: bool,
    },
    /// A secret as a file, a variable or both.
    Secret {
        /// Its name.
        id: String,
        /// File, if wanted.
        target: Option<String>,
        /// Variable, if wanted.
        env: Option<String>,
        /// Whether its absence is an error.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Owner of the file.
        uid: u32,
        /// Group of the file.
        gid: u32,
    },
    /// A forwarded SSH agent.
    Ssh {
        /// Its name.
        id: String,
        /// Where its socket is seen.
        target: String,
        /// Whether its absence is an error.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Owner of the socket.
        uid: u32,
        /// Group of the socket.
        gid: u32,
    },
}

/// How concurrent users share a cache mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All at once.
    Shared,
    /// A second user gets a folder of its own.
    Private,
    /// A second user waits.
    Locked,
}

/// Files to copy and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyStep {
    /// Whether it is an ADD, which unpacks archives.
    pub add: bool,
    /// Where path sources are found.
    pub from: TreeSource,
    /// What to copy, in order.
    pub sources: Vec<CopySource>,
    /// Absolute destination, a trailing slash kept.
    pub destination: String,
    /// `user[:group]`, expanded.
    pub chown: Option<String>,
    /// Octal or symbolic mode, expanded.
    pub chmod: Option<String>,
    /// Independent of what is below.
    pub link: bool,
    /// Keep the sources' folders.
    pub parents: bool,
    /// Patterns of what to leave out.
    pub exclude: Vec<String>,
    /// ADD: `Some(false)` copies archives as files, `Some(true)` also unpacks what was fetched.
    pub unpack: Option<bool>,
}

/// One source of a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum CopySource {
    /// A path or wildcard in the tree.
    Path(String),
    /// What ADD takes from elsewhere.
    Remote {
        /// The tree that was made of it.
        from: TreeSource,
        /// The file in it; all of it if absent.
        file: Option<String>,
    },
    /// A heredoc: file name and content.
    Inline {
        /// File name at the destination.
        name: String,
        /// Content.
        content: String,
    },
}

impl BaseRequest {
    /// A request by a stage for `platform`.
    #[must_use]
    pub fn new(source: BaseSource, platform: &Platform, build_platform: &Platform) -> Self {
        let is_tree = matches!(source, BaseSource::Tree(_));
        let platform = if is_tree { build_platform } else { platform };
        Self {
            source,
            platform: platform.clone(),
        }
    }

    /// Whether it is for files without a config.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        matches!(self.source, BaseSource::Tree(_))
    }
}

impl RunMount {
    /// The tree that it shows or is filled from.
    #[must_use]
    pub fn tree(&self) -> Option<&TreeSource> {
        match self {
            Self::Bind { from, .. }
            | Self::Cache {
                from: Some(from), ..
            } => Some(from),
            _ => None,
        }
    }
}

impl CopySource {
    /// The tree that something from elsewhere is in.
    #[must_use]
    pub fn remote(&self) -> Option<&TreeSource> {
        match self {
            Self::Remote { from, .. } => Some(from),
            Self::Path(_) | Self::Inline { .. } => None,
        }
    }
}

/// A folder to make.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkdirStep {
    /// Absolute cleaned path.
    pub path: String,
    /// Who owns what is made: `user[:group]` as written, empty for root.
    pub user: String,
}

impl CopyStep {
    /// Everything of a tree, to the root.
    pub(super) fn whole(from: TreeSource) -> Self {
        Self {
            add: false,
            from,
            sources: vec![CopySource::Path("/".to_owned())],
            destination: "/".to_owned(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: None,
        }
    }
}

impl Step {
    /// The instruction, without its place: `RUN make`.
    #[must_use]
    pub fn text(&self) -> &str {
        let label = self.label.split_once("] ");
        label.map_or(&self.label, |(_, text)| text)
    }

    /// Its place as shown: `[build 2/4]`.
    #[must_use]
    pub fn shown_place(&self) -> &str {
        match self.label.find("] ") {
            Some(end) => &self.label[..=end],
            None => "",
        }
    }

    /// The name of its stage as shown; empty for the only stage of a file.
    #[must_use]
    pub fn stage_name(&self) -> &str {
        let place = self.shown_place().trim_matches(['[', ']']);
        let before = place.rsplit_once(' ').map_or("", |(before, _)| before);
        let name = before.trim_end().rsplit(' ').next().unwrap_or_default();
        // A platform is no name of a stage.
        if name.contains('/') { "" } else { name }
    }

    /// Whether another step makes the same layer of the same state, whatever it is called and wherever it is written.
    pub(super) fn does_the_same(&self, other: &Self) -> bool {
        self.input == other.input
            && self.platform == other.platform
            && self.no_cache == other.no_cache
            && self.kind == other.kind
    }

    /// Gives every state that the step reads another name.
    pub(super) fn map_states(&mut self, rename: &mut dyn FnMut(StateRef) -> StateRef) {
        self.input = rename(self.input);
        let mut tree = |source: &mut TreeSource| {
            if let TreeSource::State(state) = source {
                *state = rename(*state);
            }
        };
        match &mut self.kind {
            StepKind::Run(run) => run.mounts.iter_mut().for_each(|mount| match mount {
                RunMount::Bind { from, .. }
                | RunMount::Cache {
                    from: Some(from), ..
                } => tree(from),
                _ => {}
            }),
            StepKind::Copy(copy) => {
                tree(&mut copy.from);
                for source in &mut copy.sources {
                    if let CopySource::Remote { from, .. } = source {
                        tree(from);
                    }
                }
            }
            StepKind::Workdir(_) => {}
        }
    }

    /// Every state the step reads, its input first.
    #[must_use]
    pub fn inputs(&self) -> Vec<StateRef> {
        let mut inputs = vec![self.input];
        let mut tree = |source: &TreeSource| {
            if let TreeSource::State(state) = source {
                inputs.push(*state);
            }
        };
        match &self.kind {
            StepKind::Run(run) => run.mounts.iter().for_each(|mount| match mount {
                RunMount::Bind { from, .. }
                | RunMount::Cache {
                    from: Some(from), ..
                } => tree(from),
                _ => {}
            }),
            StepKind::Copy(copy) => {
                tree(&copy.from);
                copy.sources
                    .iter()
                    .filter_map(CopySource::remote)
                    .for_each(tree);
            }
            StepKind::Workdir(_) => {}
        }
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_apart() {
        let step = |label: &str| Step {
            label: label.to_owned(),
            span: Span::default(),
            stage: 0,
            input: StateRef::Scratch,
            platform: Platform::new("linux", "amd64", ""),
            no_cache: false,
            kind: StepKind::Workdir(WorkdirStep {
                path: "/".into(),
                user: String::new(),
            }),
        };
        for (label, place, stage, text) in [
            ("[2/4] RUN [ x ] ] y", "[2/4]", "", "RUN [ x ] ] y"),
            ("[ 2/14] RUN x", "[ 2/14]", "", "RUN x"),
            ("[build  2/14] RUN x", "[build  2/14]", "build", "RUN x"),
            ("[linux/amd64 2/4] RUN x", "[linux/amd64 2/4]", "", "RUN x"),
            (
                "[linux/amd64->arm64 stage-1 2/4] RUN x",
                "[linux/amd64->arm64 stage-1 2/4]",
                "stage-1",
                "RUN x",
            ),
        ] {
            let step = step(label);
            let found = (step.shown_place(), step.stage_name(), step.text());
            assert_eq!(found, (place, stage, text));
        }
    }
}
