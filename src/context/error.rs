//! Failures of this module, and the ways in which a path cannot be had.

use std::path::{Path, PathBuf};

use super::ignore::RuleMatch;
use crate::fsio;

/// A context that cannot be used, or an operation on it that failed.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The root is not there.
    #[error("unable to prepare context: path \"{}\" not found", path.display())]
    RootNotFound {
        /// As it was given.
        path: PathBuf,
    },
    /// The root is no directory.
    #[error("unable to prepare context: path \"{}\" is not a directory", path.display())]
    RootNotDirectory {
        /// As it was given.
        path: PathBuf,
    },
    /// The root cannot be read.
    #[error("unable to prepare context: {source}")]
    RootUnreadable {
        /// What was tried and what the system answered.
        source: fsio::Error,
    },
    /// A file or directory of the context could not be read; the text names it.
    #[error(transparent)]
    Read(#[from] fsio::Error),
    /// Nobody wants to know any more.
    #[error("interrupted")]
    Stopped,
    /// A path could not be looked up.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// Why a path of a context cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// Nothing there, or a link on the way leads nowhere.
    #[error("\"/{}\": not found{}", path.display(), led_to(path, missing))]
    NotFound {
        /// What was asked for, relative to the root.
        path: PathBuf,
        /// What is missing: another path where links were followed.
        missing: PathBuf,
    },
    /// There is something, but an ignore rule keeps it out of the context.
    #[error("\"/{}\": not found: {rule} keeps it out of the context{}", path.display(), led_to(path, ignored))]
    Ignored {
        /// What was asked for, relative to the root.
        path: PathBuf,
        /// What is ignored: another path where links were followed.
        ignored: PathBuf,
        /// The rule that decided.
        rule: RuleMatch,
    },
    /// Links lead to links, more than 40 times.
    #[error("\"/{}\": too many levels of symbolic links", path.display())]
    TooManyLinks {
        /// What was asked for, relative to the root.
        path: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    Read(#[from] fsio::Error),
}

impl LookupError {
    /// Whether the path is not in the context, be it absent or ignored.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Ignored { .. })
    }
}

/// Where links led, if elsewhere.
fn led_to(path: &Path, end: &Path) -> String {
    if path.starts_with(end) {
        // No link: the path ends before it is whole.
        String::new()
    } else {
        format!(" (links lead to `{}`)", end.display())
    }
}
