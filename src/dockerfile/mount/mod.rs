//! `RUN --mount`: the fields as written, and the typed mount that they make once their values are expanded.

mod resolve;
mod spec;

pub use self::resolve::resolve;
pub(super) use self::spec::parse;
use super::ast::Word;
use super::word::ExpandError;
use crate::source::{Span, Spanned};

/// The value of one `--mount`: its fields in order, values not expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountSpec {
    /// Where it was written.
    pub span: Span,
    /// The fields, in order. Some mean different things depending on the type named before them.
    pub fields: Vec<MountField>,
}

/// `key=value` or a key alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountField {
    /// The key in lower case.
    pub key: Spanned<String>,
    /// The value, subject to expansion (of `from`: contains no variable).
    pub value: Option<Word>,
}

/// A mount, ready to be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Files of the context, a stage or an image.
    Bind {
        /// Stage, named context or image; the build context if absent.
        from: Option<String>,
        /// Path in it; the root if absent.
        source: Option<String>,
        /// Where to; relative to the working directory.
        target: String,
        /// Writes are allowed, and dropped after the step.
        read_write: bool,
    },
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// An empty directory in memory.
    Tmpfs {
        /// Where to.
        target: String,
        /// Its size in bytes, if limited.
        size: Option<u64>,
        /// Whether writes are refused.
        read_only: bool,
    },
    /// A secret as a file, a variable or both.
    Secret {
        /// Its identity; the last element of `target` if that was given alone.
        id: String,
        /// The file, if there is to be one; `None` for a variable alone.
        target: Option<String>,
        /// The variable, if there is to be one.
        env: Option<String>,
        /// Whether its absence is an error.
        required: bool,
        /// Mode of the file.
        mode: Option<u32>,
        /// Owner of the file.
        uid: Option<u32>,
        /// Group of the file.
        gid: Option<u32>,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Its identity; `default` if absent.
        id: Option<String>,
        /// The socket; chosen by the builder if absent.
        target: Option<String>,
        /// Whether its absence is an error.
        required: bool,
        /// Mode of the socket.
        mode: Option<u32>,
        /// Owner of the socket.
        uid: Option<u32>,
        /// Group of the socket.
        gid: Option<u32>,
    },
}

/// A directory that outlives the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheMount {
    /// Its identity; `target` if absent.
    pub id: Option<String>,
    /// Where to.
    pub target: String,
    /// What happens when two steps want it at once.
    pub sharing: Sharing,
    /// Where its first content comes from.
    pub from: Option<String>,
    /// Path in `from`, or in the cache.
    pub source: Option<String>,
    /// Mode of the directory when it is created.
    pub mode: Option<u32>,
    /// Owner of the directory when it is created.
    pub uid: Option<u32>,
    /// Group of the directory when it is created.
    pub gid: Option<u32>,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// What happens when two steps want the same cache at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sharing {
    /// Both use it.
    #[default]
    Shared,
    /// The second one gets another directory.
    Private,
    /// The second one waits.
    Locked,
}

/// Why a mount is no good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// A value could not be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// The fields do not make a mount.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// The field that is wrong, or the whole mount.
        span: Span,
    },
}

impl MountError {
    /// Where it is wrong.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Expand(error) => error.span,
            Self::Invalid { span, .. } => *span,
        }
    }
}
