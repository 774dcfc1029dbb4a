//! What can go wrong with an agent. Texts about a key name its file and never show what is in it.

use std::io;
use std::path::PathBuf;

use crate::fsio;

/// Why an agent cannot be lent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is nothing to lend.
    #[error("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")]
    NoSocket,
    /// Several sockets under one id.
    #[error("only single socket allowed")]
    SeveralSockets,
    /// Sockets and key files under one id.
    #[error("invalid combination of keys and sockets")]
    Mixed,
    /// A path that is not there or cannot be read.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// A file that is too large for a key.
    #[error("`{}` is too large for a private key", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A key that takes a passphrase.
    #[error("the key `{}` is protected with a passphrase", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A file that is no private key in a form that can be read.
    #[error("cannot read `{}` as a private key: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A kind of key that cannot sign here.
    #[error("`{}` is a key of the kind `{kind}`, which is not supported", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The algorithm's name.
        kind: String,
    },
    /// The socket cannot be made.
    #[error("cannot {operation} the agent's socket `{}`: {source}", path.display())]
    Serve {
        /// "make", "serve".
        operation: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
}

impl AgentError {
    /// What to try, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Encrypted { path } | Self::Unsupported { path, .. } => Some(format!(
                "add it to an agent with `ssh-add {}`, and forward that agent: `--ssh default`",
                path.display()
            )),
            Self::Malformed { path, .. } => Some(format!(
                "forward an agent that has the key (`ssh-add {}`, `--ssh default`), or convert it to OpenSSH's format with `ssh-keygen -p`",
                path.display()
            )),
            Self::SeveralSockets | Self::Mixed => {
                Some("give each socket an id of its own: `--ssh id=SOCKET`".to_owned())
            }
            _ => None,
        }
    }
}
