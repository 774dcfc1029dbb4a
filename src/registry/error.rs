//! Errors of this module: which operation failed, on what, and why.

use super::transport::{Failure, Unreachable};
use crate::oci::{Digest, Platform};

/// An operation at a registry that failed.
///
/// The variant says what was being done, [`RegistryError::failure`] why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A reference did not lead to a usable manifest.
    #[error("cannot resolve `{reference}`: {failure}")]
    Resolve {
        /// The reference, as people write it.
        reference: String,
        /// Why.
        failure: Box<Failure>,
    },
    /// There is an image, but not for this platform.
    #[error(
        "`{reference}` has no image for platform `{wanted}`, it has {}",
        list(available)
    )]
    NoPlatform {
        /// The reference, as people write it.
        reference: String,
        /// The platform that was asked for.
        wanted: Box<Platform>,
        /// The platforms there are.
        available: Vec<String>,
    },
    /// The config of an image could not be had.
    #[error("cannot read the image config of `{reference}`: {failure}")]
    Config {
        /// The reference, as people write it.
        reference: String,
        /// Why.
        failure: Box<Failure>,
    },
    /// A blob could not be read.
    #[error("cannot read blob {digest} of `{repository}`: {failure}")]
    Blob {
        /// Which blob.
        digest: Digest,
        /// `registry/repository`.
        repository: String,
        /// Why.
        failure: Box<Failure>,
    },
    /// A layer or config could not be sent.
    #[error("cannot push blob {digest} to `{repository}`: {failure}")]
    PushBlob {
        /// Which blob.
        digest: Digest,
        /// `registry/repository`.
        repository: String,
        /// Why.
        failure: Box<Failure>,
    },
    /// A manifest could not be sent.
    #[error("cannot push the manifest of `{reference}`: {failure}")]
    PushManifest {
        /// The name it was to get.
        reference: String,
        /// Why.
        failure: Box<Failure>,
    },
    /// A file could not be downloaded.
    #[error("cannot download `{url}`: {failure}")]
    Download {
        /// As it may be shown.
        url: String,
        /// Why.
        failure: Box<Failure>,
    },
    /// The answer to a download was no.
    #[error("cannot download `{url}`: invalid response status {status}")]
    DownloadStatus {
        /// As it may be shown.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A push that names nothing.
    #[error("cannot push an image without a name")]
    NoReference,
}

impl RegistryError {
    /// Why it failed; `None` where the registry had nothing to do with it.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Resolve { failure, .. }
            | Self::Config { failure, .. }
            | Self::Blob { failure, .. }
            | Self::PushBlob { failure, .. }
            | Self::PushManifest { failure, .. }
            | Self::Download { failure, .. } => Some(failure),
            Self::NoPlatform { .. } | Self::DownloadStatus { .. } | Self::NoReference => None,
        }
    }

    /// Whether the registry answered that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.failure(), Some(Failure::NotFound { .. }))
            || matches!(
                self,
                Self::DownloadStatus {
                    status: 404 | 410,
                    ..
                }
            )
    }

    /// Whether it was the user who wanted to wait no longer.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.failure(), Some(Failure::Stopped))
    }

    /// Whether nobody was asked, because the user wants no network to be touched.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self.failure(), Some(Failure::Offline))
    }

    /// Whether there was no usable answer, rather than one that says no.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(
            self.failure(),
            Some(Failure::Unreachable { .. } | Failure::RateLimited { .. })
        ) || matches!(self.failure(), Some(Failure::Status { status, .. }) if status.is_server_error())
    }

    /// One line on what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPlatform { .. } => Some(
                "choose one of its platforms with `--platform`, or another base image".to_owned(),
            ),
            Self::DownloadStatus {
                status: 401 | 403, ..
            } => Some("give a login with `--secret id=HTTP_AUTH_TOKEN_<host>,env=VAR`".to_owned()),
            Self::Download { failure, .. } => download_hint(failure),
            Self::NoReference => Some("give the image a name with `--tag`".to_owned()),
            _ => self.failure().and_then(Failure::hint),
        }
    }
}

/// What can be done about a server that is no registry.
fn download_hint(failure: &Failure) -> Option<String> {
    let Failure::Unreachable { cause, .. } = failure else {
        return failure
            .hint()
            .filter(|_| matches!(failure, Failure::Offline));
    };
    let hint = match cause {
        Unreachable::Tls => {
            "if the server speaks plain HTTP write `http://`; a private certificate has to be trusted by this machine"
        }
        Unreachable::Name => "check the name of the host and the network's name service",
        _ => "check the address, the network and the proxy settings",
    };
    Some(hint.to_owned())
}

/// The platforms in a sentence.
fn list(platforms: &[String]) -> String {
    if platforms.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = platforms
        .iter()
        .map(|platform| format!("`{platform}`"))
        .collect();
    quoted.join(", ")
}
