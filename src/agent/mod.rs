//! SSH agents for a build: what `--ssh` offers, by id, and sockets that lend it.
//!
//! Whoever connects to such a socket can list public keys and have something signed, and nothing else: no key comes in, none
//! goes out. Who gets a socket, and where it is seen, is for others to say; nothing here knows a step or a sandbox.

mod error;
mod keys;
mod serve;
mod stop;
mod upstream;
mod wire;

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::AgentError;
pub use serve::{Access, ServedAgent};

use crate::fsio;
use keys::KeyRing;

/// The id of an agent that nobody named.
pub const DEFAULT_ID: &str = "default";

/// What a build may lend to its steps, by id.
#[derive(Clone, Debug, Default)]
pub struct Agents(BTreeMap<String, AgentSource>);

impl Agents {
    /// Offers an agent under an id; of two with one id the later counts.
    pub fn offer(&mut self, id: impl Into<String>, source: AgentSource) {
        self.0.insert(id.into(), source);
    }

    /// Whether there is an agent with this id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Lends the agent of an id through a socket in `folder`, which is made for it; `None` if there is no such agent. The
    /// socket works until the result is dropped.
    ///
    /// # Errors
    /// When the socket or its threads cannot be made.
    pub fn serve(
        &self,
        id: &str,
        folder: &Path,
        access: Access,
    ) -> Result<Option<ServedAgent>, AgentError> {
        let source = self.0.get(id);
        source
            .map(|source| ServedAgent::start(source.clone(), folder, access))
            .transpose()
    }
}

/// Where keys are: with an agent that runs already, or in memory here.
#[derive(Clone, Debug)]
pub struct AgentSource(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The socket of an agent.
    Socket(PathBuf),
    /// Keys that were read from files.
    Keys(Arc<KeyRing>),
}

impl AgentSource {
    /// One socket of an agent, or one or more files of private keys, which are read now.
    ///
    /// # Errors
    /// A path that is not there, both kinds at once, a key that cannot be used.
    pub fn open(paths: &[PathBuf]) -> Result<Self, AgentError> {
        let mut sockets = Vec::new();
        let mut files = Vec::new();
        for path in paths {
            if path.as_os_str().is_empty() {
                return Err(AgentError::NoSocket);
            }
            if fsio::metadata(path)?.file_type().is_socket() {
                sockets.push(path);
            } else {
                files.push(path);
            }
        }
        match (sockets.as_slice(), files.as_slice()) {
            ([], []) => Err(AgentError::NoSocket),
            ([socket], []) => Ok(Self(Source::Socket((*socket).clone()))),
            ([], files) => Ok(Self(Source::Keys(Arc::new(KeyRing::read(files)?)))),
            (_, []) => Err(AgentError::SeveralSockets),
            _ => Err(AgentError::Mixed),
        }
    }
}

#[cfg(test)]
mod tests;
