//! Why a build failed, and whose fault it is.

use std::path::PathBuf;

use crate::cache::CacheError;
use crate::context::{ContextError, IgnoreError};
use crate::dockerfile::directive::CheckOptionsError;
use crate::export::{Damage, ExportError};
use crate::fetch::FetchError;
use crate::fsio;
use crate::image::LayoutError;
use crate::plan::{BaseRequest, BaseSource};
use crate::registry::RegistryError;
use crate::solve::{LayerError, SolveError, StepError};
use crate::source::{Diagnostic, SourceError, Span};
use crate::store::StoreError;

/// Whose fault a failure is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The Dockerfile or a step.
    Build,
    /// The command line.
    Usage,
    /// The machine: kernel, disk, permission, registry.
    Environment,
    /// Nobody's: the user stopped it.
    Interrupted,
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile cannot be read.
    #[error("failed to read dockerfile: {0}")]
    ReadDockerfile(#[source] fsio::Error),
    /// The Dockerfile is not here but in the context.
    #[error("failed to read dockerfile: {source}")]
    DockerfileInContext {
        /// Why not.
        source: fsio::Error,
        /// Where it is.
        inside: PathBuf,
    },
    /// The context that is no folder has no Dockerfile.
    #[error("failed to read dockerfile: `{}` is not in the context `{context}`", path.display())]
    NoDockerfile {
        /// What was looked for.
        path: PathBuf,
        /// As it may be shown.
        context: String,
    },
    /// The Dockerfile is no text.
    #[error("failed to read dockerfile: {0}")]
    Text(#[from] SourceError),
    /// Mistakes in the Dockerfile.
    #[error("{}", first(.0))]
    Dockerfile(Vec<Diagnostic>),
    /// The build argument for the checks cannot be read.
    #[error(transparent)]
    CheckOptions(#[from] CheckOptionsError),
    /// The author wants no build where these rules are violated.
    #[error("lint violation found for rules: {}", .0.join(", "))]
    Check(Vec<&'static str>),
    /// The context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A named context cannot be used.
    #[error("build context `{name}`: {source}")]
    NamedContext {
        /// Its name.
        name: String,
        /// Why.
        source: Box<BuildError>,
    },
    /// The ignore file cannot be used.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// The main context cannot be had.
    #[error("unable to prepare context: {source}")]
    ContextSource {
        /// As it may be shown.
        name: String,
        /// Why.
        source: ResolveError,
    },
    /// A file of a context that is no folder cannot be read.
    #[error("cannot read the context: {0}")]
    ContextFile(#[source] LayerError),
    /// Standard input cannot be read as an archive.
    #[error("cannot read standard input: {0}")]
    StandardInput(#[source] Box<crate::layer::Error>),
    /// Text on standard input, and `-f`.
    #[error("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")]
    AmbiguousDockerfile,
    /// A Dockerfile that is to be changed and is no file of this machine.
    #[error("only a Dockerfile that is a file of this machine can be mended")]
    NotAFile,
    /// A Dockerfile that somebody else has changed before its edits were written.
    #[error("the Dockerfile has changed since it was read, so it was not mended")]
    DockerfileChanged,
    /// A Dockerfile of a size that none has.
    #[error("the Dockerfile `{name}` is larger than {limit} bytes")]
    LargeDockerfile {
        /// As it may be shown.
        name: String,
        /// The limit.
        limit: u64,
    },
    /// A base image or tree cannot be had.
    #[error("{source}")]
    Base {
        /// The image as asked for.
        name: String,
        /// The line that asks for it.
        span: Span,
        /// Which stage was probably meant, if one was.
        stage: Option<String>,
        /// Why.
        source: ResolveError,
    },
    /// A step failed.
    #[error("failed to solve: {0}")]
    Solve(#[from] SolveError),
    /// What had to be in the cache is not; each step with the reason.
    #[error("{} not in the cache, and nothing was run:\n{}", steps_are(.0.len()), .0.join("\n"))]
    NotCached(Vec<String>),
    /// A stage that is not part of what is built.
    #[error("there is no stage `{0}` in what is built")]
    NoSuchStage(String),
    /// The user wanted to stop.
    #[error("interrupted")]
    Interrupted,
    /// An output could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A cache could not be written, and the user wants that to be a failure.
    #[error("cannot write the cache {place}: {source}")]
    Cache {
        /// Where it goes.
        place: String,
        /// Why not.
        source: Box<CacheError>,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// No image of that name in the local store.
    #[error("no image `{0}` in the local store")]
    NoImage(String),
}

fn steps_are(count: usize) -> String {
    match count {
        1 => "1 step is".to_owned(),
        count => format!("{count} steps are"),
    }
}

fn first(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .find(|d| d.is_error())
        .map(|d| d.message.clone())
        .unwrap_or_default()
}

/// A base image that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// From an OCI layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// From a registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry does not answer, and what it said before is too old.
    #[error("{source}")]
    OutOfDate {
        /// Why there is no answer.
        source: RegistryError,
        /// What is known: `sha256:0123456789ab… asked 3 h ago`.
        known: String,
    },
    /// There is nowhere to put what would be fetched.
    #[error("there is no local store to fetch into")]
    NoStore,
    /// From a URL, a repository or an archive.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// From the local store.
    #[error("the image in the local store is damaged: {0}")]
    Store(String),
}

impl BuildError {
    /// What of the store is damaged or gone, if that is why.
    #[must_use]
    pub(super) fn damage(&self) -> Option<Damage> {
        match self {
            Self::Solve(error) => error.source.damaged_layer().map(Damage::Layer),
            Self::Export(error) => error.damage(),
            _ => None,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::NamedContext { source, .. } => source.category(),
            Self::Interrupted
            | Self::Export(ExportError::Stopped)
            | Self::Solve(SolveError {
                source: StepError::Cancelled,
                ..
            }) => Category::Interrupted,
            Self::Solve(error) if error.source.is_environment() => Category::Environment,
            Self::ReadDockerfile(error) if error.is_permission() => Category::Environment,
            Self::ReadDockerfile(_)
            | Self::DockerfileInContext { .. }
            | Self::NoDockerfile { .. }
            | Self::LargeDockerfile { .. }
            | Self::Text(_)
            | Self::Dockerfile(_)
            | Self::Check(_)
            | Self::Solve(_)
            | Self::NotCached(_)
            | Self::Ignore(_) => Category::Build,
            Self::Context(
                ContextError::RootNotFound { .. } | ContextError::RootNotDirectory { .. },
            )
            | Self::Export(
                ExportError::IsFolder(_) | ExportError::NotALayout(_) | ExportError::DockerIndex,
            )
            | Self::AmbiguousDockerfile
            | Self::NotAFile
            | Self::NoSuchStage(_)
            | Self::CheckOptions(_)
            | Self::NoImage(_) => Category::Usage,
            Self::Base { source, .. } | Self::ContextSource { source, .. } => source.category(),
            Self::Export(ExportError::Registry(error)) if error.is_stopped() => {
                Category::Interrupted
            }
            Self::Context(_)
            | Self::ContextFile(_)
            | Self::StandardInput(_)
            | Self::DockerfileChanged
            | Self::Export(_)
            | Self::Cache { .. }
            | Self::Store(_)
            | Self::Disk(_) => Category::Environment,
        }
    }

    /// The place in the Dockerfile that it is about.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Base { span, .. } => Some(*span),
            Self::Solve(error) if !error.label.is_empty() => Some(error.span),
            _ => None,
        }
    }
}

impl ResolveError {
    fn category(&self) -> Category {
        match self {
            Self::Fetch(FetchError::Cancelled) => Category::Interrupted,
            Self::Registry(error) | Self::OutOfDate { source: error, .. } if error.is_stopped() => {
                Category::Interrupted
            }
            Self::Fetch(error) if error.is_authors() => Category::Build,
            Self::Registry(error) if error.is_not_found() => Category::Build,
            Self::Layout(_) => Category::Build,
            Self::Fetch(_)
            | Self::Registry(_)
            | Self::OutOfDate { .. }
            | Self::NoStore
            | Self::Store(_) => Category::Environment,
        }
    }
}

/// How an image is called in messages.
pub(super) fn image_name(request: &BaseRequest) -> String {
    match &request.source {
        BaseSource::Reference(reference) => reference.familiar(),
        BaseSource::Tree(origin) => origin.name(),
        BaseSource::Layout { path, .. } => format!("oci-layout://{}", path.display()),
    }
}
