//! Why a step cannot have a network of its own.

use rustix::io::Errno;

use crate::fsio;

/// What failed while a network was made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused.
    #[error("cannot {doing}: {}", std::io::Error::from(*errno))]
    Kernel {
        /// "make a network namespace".
        doing: &'static str,
        /// What it answered.
        errno: Errno,
    },
    /// A file of the kernel's settings could not be written.
    #[error(transparent)]
    Setting(#[from] fsio::Error),
    /// There is no program that connects a network to the machine's.
    #[error("neither `pasta` (package `passt`) nor `slirp4netns` is here")]
    NoHelper,
    /// A program that connects a network to the machine's ended, or did not get ready.
    #[error("`{program}` failed: {words}")]
    Helper {
        /// Which.
        program: &'static str,
        /// What it said.
        words: String,
    },
    /// All ranges of addresses that could be taken are in use.
    #[error("no range of addresses is free")]
    NoAddresses,
}

impl NetworkError {
    pub(super) fn kernel(doing: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Kernel { doing, errno }
    }
}
