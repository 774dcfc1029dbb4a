//! A build as asked for: every wish resolved to a value. Nothing here comes from the environment any more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::devices::DeviceSettings;
use crate::export::OutputSpec;
use crate::oci::{Digest, Platform, Reference};
use crate::plan::{BaseSource, Entitlements, HttpSource, NetworkMode, NoCache, Origin};
use crate::registry;
use crate::solve::RunSettings;

/// A build as asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to build.
    pub source: SourceRequest,
    /// What shapes the graph.
    pub plan: PlanRequest,
    /// What every RUN gets.
    pub run: RunSettings,
    /// Devices that a RUN may get.
    pub devices: DeviceSettings,
    /// Where the result goes.
    pub outputs: Vec<OutputSpec>,
    /// Caches outside this machine.
    pub cache: crate::cache::Request,
    /// Names of the image.
    pub names: Vec<Reference>,
    /// Write an index even over the image of a single platform (`BUILDKIT_MULTI_PLATFORM`).
    pub index: bool,
    /// Folder of the store.
    pub root: PathBuf,
    /// How registries are spoken to.
    pub registry: registry::Settings,
    /// Ask registries even if the image is in the local store, or was asked for a moment ago.
    pub pull: bool,
    /// How long it holds what a registry said about a tag.
    pub tag_age: Duration,
    /// Bytes that the store may take, if there is a limit.
    pub cache_max: Option<u64>,
    /// What has to be in the cache, or nothing is built.
    pub require_cached: Option<RequireCached>,
    /// File for the image ID.
    pub image_id_file: Option<PathBuf>,
    /// Steps that may run at the same time.
    pub jobs: usize,
    /// Says what time it is.
    pub clock: fn() -> SystemTime,
}

/// What has to be in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequireCached {
    /// Every step.
    All,
    /// The steps of a stage and of what it needs.
    Stage(String),
}

/// What to build.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// The main context.
    pub context: ContextSource,
    /// The Dockerfile; `Dockerfile` in the context if absent.
    pub dockerfile: Option<DockerfileSource>,
    /// Named contexts, by normalised name.
    pub named_contexts: BTreeMap<String, ContextSource>,
}

impl SourceRequest {
    /// Whether reading context and Dockerfile takes a store: both are usually files of this machine.
    #[must_use]
    pub fn needs_store(&self) -> bool {
        !matches!(
            self.context,
            ContextSource::Directory(_) | ContextSource::Scratch
        ) || matches!(self.dockerfile, Some(DockerfileSource::Url(_)))
    }
}

/// Where a Dockerfile comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfileSource {
    /// A file; a relative path is in the context if that is no folder.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// A URL.
    Url(HttpSource),
}

/// Where a context comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A folder.
    Directory(PathBuf),
    /// Standard input: an archive or a Dockerfile.
    Stdin,
    /// A URL, a Git repository or an archive.
    Tree(Origin),
    /// An image at a registry or in the local store.
    Image(Reference),
    /// Nothing at all: `docker-image://scratch`.
    Scratch,
    /// Another stage of the Dockerfile, by lower-case name.
    Stage(String),
    /// An image in an OCI layout.
    Layout {
        /// The folder.
        path: PathBuf,
        /// Its tag there.
        tag: Option<String>,
        /// Its digest there.
        digest: Option<Digest>,
    },
}

impl ContextSource {
    /// The base that it is, unless it is a folder, nothing, or still to be found out.
    pub(super) fn base(&self) -> Option<BaseSource> {
        match self {
            Self::Tree(origin) => Some(BaseSource::Tree(origin.clone())),
            Self::Image(reference) => Some(BaseSource::Reference(reference.clone())),
            Self::Layout { path, tag, digest } => Some(BaseSource::Layout {
                path: path.clone(),
                tag: tag.clone(),
                digest: *digest,
            }),
            Self::Directory(_) | Self::Stdin | Self::Scratch | Self::Stage(_) => None,
        }
    }
}

/// What shapes the graph.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// Stage to build.
    pub target: Option<String>,
    /// Without a target, plan every stage: for checking a whole file.
    pub all_stages: bool,
    /// Values of `ARG`s.
    pub build_args: BTreeMap<String, String>,
    /// Labels put on the image.
    pub labels: Vec<(String, String)>,
    /// Platforms asked for, each once, in order.
    pub platforms: Vec<Platform>,
    /// Network of RUN steps that do not say.
    pub network: NetworkMode,
    /// Steps that the cache must not answer.
    pub no_cache: NoCache,
    /// What the Dockerfile may ask for.
    pub entitlements: Entitlements,
}
