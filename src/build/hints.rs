//! What to try after a failure: an action where there is one. What went wrong is told by the errors themselves.

use super::error::{BuildError, ResolveError};
use crate::export::ExportError;
use crate::fetch::FetchError;
use crate::fsio;
use crate::oci::BlobError;
use crate::solve::{LayerError, SolveError, StepError};
use crate::store::StoreError;

impl BuildError {
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

impl ResolveError {
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
        StepError::Sandbox { source, .. } | StepError::Limits(source) => {
            source.hint().into_iter().map(str::to_owned).collect()
        }
        StepError::Exit { one_id: true, .. } => vec![
            "here files belong to one user, and commands that give them to others or become others (`chown`, `su`, package \
             managers) fail: `builder doctor` tells how to get more ids"
                .to_owned(),
        ],
        StepError::OtherUser { .. } => {
            vec!["`builder doctor` tells how to get more ids, or run the builder as root".to_owned()]
        }
        error if has_unknown_owner(error) => vec![
            "the builder's user has too few subordinate ids for this owner: see `builder doctor`".to_owned(),
        ],
        StepError::NoEmulator(missing) => vec![missing.hint()],
        StepError::NoFooting(obstacle) => vec![obstacle.remedy().to_owned()],
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

/// Whether a file could not be given to its owner because the user namespace does not have that one.
fn has_unknown_owner(error: &StepError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<fsio::Error>() {
            return error.operation == fsio::SET_OWNER && error.is_invalid();
        }
        cause = error.source();
    }
    false
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
