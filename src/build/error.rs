//! Why a build failed, and whose fault it is.

use std::path::PathBuf;

use crate::cache::CacheError;
use crate::context::{ContextError, IgnoreError};
use crate::dockerfile::directive::CheckOptionsError;
use crate::export::{Damage, ExportError};
use crate::fetch::FetchError;
use crate::fsio;
use crate::image::LayoutError;
use crate::oci::BlobError;
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

/// The error of the store among the causes of another one, also where a reader or writer passed it on.
fn within<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e StoreError> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    match error.downcast_ref::<std::io::Error>() {
        Some(passed_on) => within(passed_on.get_ref()?),
        None => within(error.source()?),
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

    /// The error of the store that is behind it, if it is one.
    fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error)
            | Self::Export(ExportError::Store(error))
            | Self::ContextFile(LayerError::Store(error))
            | Self::Solve(SolveError {
                source: StepError::Store(error) | StepError::Layer(LayerError::Store(error)),
                ..
            })
            | Self::Base {
                source: ResolveError::Fetch(FetchError::Store(error)),
                ..
            }
            | Self::ContextSource {
                source: ResolveError::Fetch(FetchError::Store(error)),
                ..
            } => Some(error),
            _ => within(self),
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

    /// What to try.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        if let Some(StoreError::NoRoom { .. }) = self.of_store() {
            return vec![
                "give the store more with `--cache-max`, or take names away with `builder rmi`"
                    .to_owned(),
            ];
        }
        if fsio::is_no_space(self) || matches!(self.of_store(), Some(StoreError::DiskFull { .. })) {
            return vec![
                "the disk is full: `builder prune` frees what nothing needs, `builder du` shows what takes the room; `--root` puts the store elsewhere"
                    .to_owned(),
            ];
        }
        let disk = |error: &fsio::Error| match error.is_permission() {
            true => {
                vec!["check the permissions, or put the store elsewhere with `--root`".to_owned()]
            }
            false => Vec::new(),
        };
        match self {
            Self::ReadDockerfile(error) if error.is_not_found() => {
                vec!["name another file with `-f FILE`".to_owned()]
            }
            Self::DockerfileInContext { inside, .. } => vec![format!(
                "the file is looked for in the current folder; the one in the context is `-f {}`",
                inside.display()
            )],
            Self::NoDockerfile { .. } => vec![
                "`-f FILE` is a file in this context; `-f /PATH`, `-f URL` and `-f -` are not"
                    .to_owned(),
            ],
            Self::Base {
                source,
                name,
                stage,
                ..
            } => {
                let mut hints = source.hints();
                if let ResolveError::Registry(_) = source {
                    hints.extend(stage.clone().or_else(|| similar_image(name)));
                    hints.push(format!(
                        "a stand-in can be given with `--build-context {name}=oci-layout://FOLDER`"
                    ));
                }
                hints
            }
            Self::ContextSource { source, .. } => source.hints(),
            Self::Solve(error) => step_hints(&error.source, &disk),
            Self::Export(ExportError::DockerIndex) => {
                vec!["build for one platform, or write the images with `-o type=oci`".to_owned()]
            }
            Self::Export(ExportError::Registry(error)) => {
                error.hint().into_iter().map(|h| h.to_string()).collect()
            }
            Self::Export(ExportError::Blob(error)) => blob_hints(error),
            Self::Export(ExportError::Gone { .. }) => vec![GONE.to_owned()],
            Self::Export(ExportError::Store(error)) | Self::Store(error) => {
                store_hints(error, &disk)
            }
            Self::ContextFile(LayerError::Store(error)) => store_hints(error, &disk),
            Self::Export(ExportError::Disk(error)) | Self::Disk(error) => disk(error),
            Self::NotCached(_) => vec!["build once without `--require-cached`".to_owned()],
            Self::NoSuchStage(_) => {
                vec!["`--call=targets` lists the stages of a Dockerfile".to_owned()]
            }
            Self::Cache { .. } => vec![
                "without `ignore-error=false` a cache that cannot be written is a warning"
                    .to_owned(),
            ],
            Self::DockerfileChanged => vec!["mend it once more".to_owned()],
            Self::Check(_) => vec![
                "fix what the warnings say, or take rules out with `# check=skip=RULE`".to_owned(),
            ],
            Self::CheckOptions(_) => {
                vec!["write `skip=RULE,RULE;error=true;experimental=RULE`".to_owned()]
            }
            _ => Vec::new(),
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

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Fetch(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::OutOfDate { source, known } => {
                let known = format!(
                    "the store knows {known}: build with that under a longer `--tag-age`, or with `--offline`"
                );
                return source.hint().into_iter().chain([known]).collect();
            }
            Self::Layout(_) | Self::NoStore | Self::Store(_) => None,
        };
        hint.into_iter().collect()
    }
}

fn step_hints(error: &StepError, disk: &dyn Fn(&fsio::Error) -> Vec<String>) -> Vec<String> {
    match error {
        StepError::Sandbox { source, .. } => source.hint().into_iter().map(str::to_owned).collect(),
        StepError::NeedsRoot => {
            vec!["run the builder as root; a Dockerfile without RUN needs no privileges".to_owned()]
        }
        StepError::SecretMissing { id } => {
            vec![format!("give it with `--secret id={id},src=FILE`")]
        }
        StepError::SshMissing { id } => {
            let example = if id == crate::agent::DEFAULT_ID {
                "--ssh default".to_owned()
            } else {
                format!("--ssh {id}=SOCKET")
            };
            vec![format!("forward an agent or a key with `{example}`")]
        }
        StepError::Agent(error) => error.hint().into_iter().collect(),
        StepError::Disk(error) => disk(error),
        StepError::Store(error) | StepError::Layer(LayerError::Store(error)) => {
            store_hints(error, disk)
        }
        _ => Vec::new(),
    }
}

fn store_hints(error: &StoreError, disk: &dyn Fn(&fsio::Error) -> Vec<String>) -> Vec<String> {
    match error {
        StoreError::Disk(error) => disk(error),
        StoreError::Source(error) => blob_hints(error),
        _ => Vec::new(),
    }
}

/// For a layer that nobody has any more.
const GONE: &str = "`builder fsck` tells what else is missing; then build the image again";

fn blob_hints(error: &BlobError) -> Vec<String> {
    match error {
        BlobError::Offline { .. } => vec!["run once without `--offline`".to_owned()],
        BlobError::NotFound(_) => vec![
            "build again where the base image can be had; `builder fsck` tells which images are not whole".to_owned(),
        ],
        _ => Vec::new(),
    }
}

/// Images that many Dockerfiles start from, for "did you mean".
const COMMON_IMAGES: [&str; 20] = [
    "alpine",
    "amazonlinux",
    "archlinux",
    "busybox",
    "centos",
    "debian",
    "eclipse-temurin",
    "fedora",
    "golang",
    "httpd",
    "mysql",
    "nginx",
    "node",
    "openjdk",
    "php",
    "postgres",
    "python",
    "redis",
    "rust",
    "ubuntu",
];

fn similar_image(name: &str) -> Option<String> {
    let repository = name.split([':', '@']).next().unwrap_or_default();
    let close = COMMON_IMAGES
        .iter()
        .map(|common| (strsim::levenshtein(common, repository), common))
        .min()?;
    (1..=2)
        .contains(&close.0)
        .then(|| format!("did you mean `{}`?", close.1))
}

/// How an image is called in messages.
pub(super) fn image_name(request: &BaseRequest) -> String {
    match &request.source {
        BaseSource::Reference(reference) => reference.familiar(),
        BaseSource::Tree(origin) => origin.name(),
        BaseSource::Layout { path, .. } => format!("oci-layout://{}", path.display()),
    }
}
