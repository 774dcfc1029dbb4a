//! What keeps a tree from being fetched.

use crate::agent::AgentError;
use crate::fsio;
use crate::layer;
use crate::oci::Digest;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// A tree that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A URL does not answer with a file.
    #[error(transparent)]
    Download(#[from] RegistryError),
    /// The download broke off.
    #[error("cannot download `{url}`: {source}")]
    Broken {
        /// As it may be shown.
        url: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another file than the Dockerfile demands.
    #[error("digest mismatch for {url}: {found} (expected: {expected})")]
    Checksum {
        /// As it may be shown.
        url: String,
        /// What came.
        found: Digest,
        /// What was demanded.
        expected: Digest,
    },
    /// A repository cannot be had.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file that was to be unpacked is no archive.
    #[error(
        "`{0}` is not an archive: expected a tar, plain or packed with gzip, bzip2, xz or zstd"
    )]
    NotAnArchive(String),
    /// What came cannot be kept as a layer.
    #[error("cannot use `{name}`: {source}")]
    Unfit {
        /// As it may be shown.
        name: String,
        /// What is wrong.
        source: layer::Error,
    },
    /// An SSH agent cannot be lent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// It is elsewhere, and the user wants no network to be touched.
    #[error("`{0}` is not on this machine, and `--offline` keeps builder from asking")]
    Offline(
        /// As it may be shown.
        String,
    ),
    /// The user wants to stop.
    #[error("cancelled")]
    Cancelled,
}

/// A repository that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git`.
    #[error("cannot run `git`: {0}")]
    Start(std::io::Error),
    /// `git` failed.
    #[error("`git {command}` failed for `{remote}`: {output}")]
    Failed {
        /// What it was to do.
        command: String,
        /// The repository, without login.
        remote: String,
        /// The last of what it said.
        output: String,
    },
    /// An answer of a length that no repository needs.
    #[error("the answer of `{0}` is too long")]
    LongAnswer(
        /// The repository, without login.
        String,
    ),
    /// No such branch, tag or commit.
    #[error("repository does not contain ref {reference}, output: \"{output}\"")]
    NoRef {
        /// As written.
        reference: String,
        /// What `git` said, in short.
        output: String,
        /// A name there is that may have been meant.
        similar: Option<String>,
    },
    /// Another commit than demanded.
    #[error("expected checksum to match {expected}, got {found}")]
    Checksum {
        /// What was demanded.
        expected: String,
        /// The commit there is.
        found: String,
    },
    /// No such directory.
    #[error("invalid subdir {0}")]
    Subdir(String),
}

impl FetchError {
    /// Whether the author named something that is not there, rather than something that cannot be reached.
    #[must_use]
    pub fn is_authors(&self) -> bool {
        match self {
            Self::Download(error) => error.is_not_found(),
            Self::Checksum { .. } | Self::NotAnArchive(_) => true,
            // The disk is nobody's archive.
            Self::Unfit { source, .. } => {
                !matches!(source, layer::Error::File(_) | layer::Error::WriteTar(_))
            }
            Self::Git(error) => !matches!(
                error,
                GitError::Start(_) | GitError::Failed { .. } | GitError::LongAnswer(_)
            ),
            _ => false,
        }
    }

    /// One line on what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Download(error) => error.hint(),
            Self::Offline(_) => Some("run once without `--offline`".to_owned()),
            Self::Git(GitError::Start(_)) => {
                Some("install `git`: it is needed for Git contexts and ADD of repositories".to_owned())
            }
            Self::Git(GitError::NoRef { similar: Some(similar), .. }) => Some(format!("did you mean `{similar}`?")),
            Self::Git(GitError::NoRef { reference, .. }) if is_short_commit(reference) => Some(
                "a commit is named by its whole hash; `?checksum=` checks a branch or tag against the first digits of one".to_owned(),
            ),
            Self::Git(GitError::Failed { .. }) => Some(
                "for a private repository give `--secret id=GIT_AUTH_TOKEN,env=VAR`, or an SSH agent".to_owned(),
            ),
            _ => None,
        }
    }
}

/// Whether a name looks like the first digits of a commit.
fn is_short_commit(name: &str) -> bool {
    (7..40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
