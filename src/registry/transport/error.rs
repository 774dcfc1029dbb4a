//! Why a request to a registry failed: the answer's status, or the failure to get an answer.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::{StatusCode, Url};

use super::envelope::{message_of, shorten};
use super::redact::SafeUrl;
use crate::oci::{ConfigError, Digest, DocumentError};

/// Why something that was asked of a registry did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The registry does not have it.
    #[error("not found at `{url}`{}", said(message))]
    NotFound {
        /// What was asked for.
        url: SafeUrl,
        /// What the registry said.
        message: String,
    },
    /// Credentials are missing, wrong, or not enough.
    #[error("access denied at `{url}`{}", said(message))]
    Denied {
        /// What was asked for.
        url: SafeUrl,
        /// What the registry or its token server said.
        message: String,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// Too many requests; waiting did not help or would take too long.
    #[error("too many requests to `{url}`{}", said(message))]
    RateLimited {
        /// What was asked for.
        url: SafeUrl,
        /// What the registry said.
        message: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// No answer, or the connection broke.
    #[error("{cause} at `{url}`{}{}", said(message), after(*attempts))]
    Unreachable {
        /// What was asked for.
        url: SafeUrl,
        /// What went wrong, by class.
        cause: Unreachable,
        /// What went wrong, in the words of the layer below.
        message: String,
        /// How many times it was tried.
        attempts: u32,
    },
    /// An answer that is neither success nor any of the above.
    #[error("`{url}` answered {status}{}{}", said(message), after(*attempts))]
    Status {
        /// What was asked for.
        url: SafeUrl,
        /// The answer's status.
        status: StatusCode,
        /// What the registry said.
        message: String,
        /// How many times it was tried.
        attempts: u32,
    },
    /// The registry does not know the upload that it opened a moment ago.
    #[error("the registry lost the upload at `{url}`{}", said(message))]
    LostSession {
        /// The upload.
        url: SafeUrl,
        /// What the registry said.
        message: String,
    },
    /// The answer came, and it is wrong.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The registry asks for something that is not safe to do, or that we do not understand.
    #[error("`{url}` {reason}")]
    Protocol {
        /// Who asked.
        url: SafeUrl,
        /// What it did, as the rest of a sentence.
        reason: String,
    },
    /// The credentials of a registry could not be got.
    #[error(transparent)]
    Credentials(#[from] crate::registry::CredentialsError),
    /// The content to be pushed could not be read on this machine.
    #[error("cannot read the content to send: {0}")]
    Source(io::Error),
    /// The user wants to wait no longer.
    #[error("interrupted")]
    Stopped,
    /// The user wants no network to be touched.
    #[error("not on this machine, and `--offline` keeps builder from asking")]
    Offline,
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

/// Content that is not what it was said to be, or that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Other bytes than the digest promises.
    #[error("content has digest {found}, expected {expected}")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// More or fewer bytes than the descriptor promises.
    #[error("content of {digest} has {found} bytes, expected {expected}")]
    Size {
        /// Which content.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What came; where there is more than expected, the count at which reading stopped.
        found: u64,
    },
    /// A document larger than any sensible one.
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge {
        /// `manifest`, `image config`, ...
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A manifest or index that cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A config that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The config and the manifest disagree.
    #[error("the manifest lists {layers} layers and the image config {diff_ids}")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// `rootfs.diff_ids` of the config.
        diff_ids: usize,
    },
    /// Something that is no container image.
    #[error("not a container image: its config has the media type `{0}`")]
    NotAnImage(String),
    /// A layer that registries do not store.
    #[error("layer {digest} has the unsupported media type `{media_type}`")]
    LayerType {
        /// Which layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// Indexes that contain indexes that contain indexes.
    #[error("the index is nested too deeply")]
    Nesting,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The name of the host is not known.
    Name,
    /// Nobody listens there.
    Refused,
    /// No encrypted connection, or a certificate that is not trusted.
    Tls,
    /// Nothing came for too long.
    Timeout,
    /// The connection could not be made, or broke.
    Connection,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Name => "host not found",
            Self::Refused => "connection refused",
            Self::Tls => "no secure connection",
            Self::Timeout => "no answer in time",
            Self::Connection => "broken connection",
        })
    }
}

/// `: text`, or nothing.
fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// ` (after 3 attempts)`, or nothing.
fn after(attempts: u32) -> String {
    if attempts > 1 {
        format!(" (after {attempts} attempts)")
    } else {
        String::new()
    }
}

impl Failure {
    /// A failure from an answer that is no success.
    pub(in crate::registry) fn from_answer(
        url: SafeUrl,
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
        with_credentials: bool,
    ) -> Self {
        let message = message_of(body);
        match status {
            StatusCode::NOT_FOUND => Self::NotFound { url, message },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied {
                url,
                message,
                with_credentials,
            },
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited {
                url,
                message,
                retry_after,
            },
            status => Self::Status {
                url,
                status,
                message,
                attempts: 1,
            },
        }
    }

    /// A failure to get an answer.
    pub(in crate::registry) fn from_request(url: SafeUrl, error: reqwest::Error) -> Self {
        let error = error.without_url();
        let chain = causes(&error);
        let refused = |cause: &&(dyn Error + 'static)| {
            cause
                .downcast_ref::<io::Error>()
                .is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused)
        };
        let texts: Vec<String> = chain.iter().map(ToString::to_string).collect();
        let cause = if error.is_timeout() {
            Unreachable::Timeout
        } else if chain.iter().any(refused) {
            Unreachable::Refused
        } else if texts.iter().any(|text| text.contains("dns error")) {
            Unreachable::Name
        } else if error.is_connect() && texts.iter().any(|text| is_tls(text)) {
            Unreachable::Tls
        } else {
            Unreachable::Connection
        };
        // The innermost cause says what happened; the ones around it say that a request failed.
        let message = match cause {
            Unreachable::Refused | Unreachable::Timeout => String::new(),
            _ => texts.last().map(|text| shorten(text)).unwrap_or_default(),
        };
        Self::Unreachable {
            url,
            cause,
            message,
            attempts: 1,
        }
    }

    /// Silence for longer than patience allows.
    pub(in crate::registry) fn timeout(url: SafeUrl) -> Self {
        Self::Unreachable {
            url,
            cause: Unreachable::Timeout,
            message: String::new(),
            attempts: 1,
        }
    }

    /// Something that is not safe to do, or that we do not understand; `reason` continues a sentence.
    pub(in crate::registry) fn protocol(url: &Url, reason: impl Into<String>) -> Self {
        Self::Protocol {
            url: SafeUrl::from(url),
            reason: reason.into(),
        }
    }

    /// The same failure, saying how often it was tried.
    pub(in crate::registry) fn with_attempts(mut self, count: u32) -> Self {
        if let Self::Unreachable { attempts, .. } | Self::Status { attempts, .. } = &mut self {
            *attempts = count;
        }
        self
    }

    /// One line on what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { .. } => "check the spelling of the name and the tag".to_owned(),
            Self::Denied { with_credentials: false, .. } => {
                "the repository may be private or misspelt; log in with `docker login`, then try again".to_owned()
            }
            Self::Denied { .. } => "check that the account may access this repository, or log in again".to_owned(),
            Self::RateLimited { retry_after: Some(wait), .. } => {
                format!("try again in {} seconds, or log in for a higher limit", wait.as_secs())
            }
            Self::RateLimited { .. } => "wait, log in for a higher limit, or use a mirror".to_owned(),
            Self::Unreachable { cause: Unreachable::Tls, .. } => {
                "if the registry speaks plain HTTP or has a private certificate, mark it as insecure or install its certificate".to_owned()
            }
            Self::Unreachable { cause: Unreachable::Name, .. } => {
                "check the registry's name and the network's name service".to_owned()
            }
            Self::Unreachable { .. } => "check the address, the network and the proxy settings".to_owned(),
            Self::Status { status, .. } if status.is_server_error() => {
                "the registry has a problem; try again later".to_owned()
            }
            Self::Offline => "run once without `--offline`".to_owned(),
            Self::Content(ContentError::Digest { .. } | ContentError::Size { .. }) => {
                "the registry, a mirror or a proxy on the way changed the content; try again without it".to_owned()
            }
            _ => return None,
        })
    }
}

/// Whether the words of a cause are those of a failed TLS handshake.
fn is_tls(text: &str) -> bool {
    [
        "certificate",
        "handshake",
        "InvalidContentType",
        "corrupt message",
        "TLS",
        "tls",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// An error and its causes, outermost first.
fn causes(error: &reqwest::Error) -> Vec<&(dyn Error + 'static)> {
    let outermost: &(dyn Error + 'static) = error;
    std::iter::successors(Some(outermost), |&cause| cause.source()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_classes() {
        let url = || SafeUrl::from(&reqwest::Url::parse("https://a.io/v2/x").unwrap());
        let of = |status: StatusCode| Failure::from_answer(url(), status, b"", None, false);
        assert!(matches!(
            of(StatusCode::NOT_FOUND),
            Failure::NotFound { .. }
        ));
        assert!(matches!(
            of(StatusCode::UNAUTHORIZED),
            Failure::Denied { .. }
        ));
        assert!(matches!(of(StatusCode::FORBIDDEN), Failure::Denied { .. }));
        assert!(matches!(
            of(StatusCode::TOO_MANY_REQUESTS),
            Failure::RateLimited { .. }
        ));
        assert_eq!(
            of(StatusCode::BAD_GATEWAY).with_attempts(3).to_string(),
            "`https://a.io/v2/x` answered 502 Bad Gateway (after 3 attempts)"
        );
    }
}
