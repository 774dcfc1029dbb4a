//! Gets file trees that are neither folders nor images: URLs, Git repositories, archives. Each becomes one layer in the store.
//!
//! As a layer it can be copied from, mounted and started from like any base; nothing downstream knows where it came
//! from. What was fetched before is not fetched again: a URL is asked whether its file has changed, a commit never changes. What
//! comes from outside is taken to be hostile: names are confined by the formats of `layer`, programs in a repository are not run.
//!
//! Files of a tree belong to root. Which texts name what is `plan`'s affair.

mod archive;
mod command;
mod error;
mod git;
mod git_refs;
mod http;
mod tree;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

pub use error::{FetchError, GitError};

use crate::agent::Agents;
use crate::oci::{BaseImage, BaseLayer, Config, Digest, Platform};
use crate::plan::Origin;
use crate::registry::{Client, Secret};
use crate::store::{FetchedRecord, Lock, Store, StoreError};

/// How much is copied at once.
const BUFFER: usize = 128 << 10;

/// Looks a secret up by its ID.
pub type Secrets = dyn Fn(&str) -> Option<Secret> + Send + Sync;

/// Gets file trees.
pub struct Fetcher {
    /// Where layers and the memory of what was fetched are.
    pub store: Arc<Store>,
    /// Asks URLs.
    pub client: Client,
    /// Logins: `HTTP_AUTH_TOKEN_<host>`, `HTTP_AUTH_HEADER_<host>`, `GIT_AUTH_TOKEN[.<host>]`, `GIT_AUTH_HEADER[.<host>]`.
    pub secrets: Arc<Secrets>,
    /// SSH agents; `git` is lent the default one where the user offers it (`--ssh`).
    pub agents: Agents,
    /// The environment of `git`: search path, proxies, SSH agent. Nothing else of ours reaches it.
    pub git_environment: Vec<(OsString, OsString)>,
    /// Says what time it is.
    pub clock: fn() -> SystemTime,
    /// Whether the user wants to stop.
    pub is_cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Makes sure that a tree is in the store.
    ///
    /// # Errors
    /// It is not there, is not what it should be, or cannot be had now.
    pub fn fetch(&self, origin: &Origin, platform: &Platform) -> Result<BaseImage, FetchError> {
        let record = match origin {
            Origin::Http(source) => self.http(source),
            Origin::Git(source) => self.git(source),
            Origin::Archive(path) => self.archive(path),
        };
        // Whatever a request to stop broke off, it is the request that counts.
        let record = record.or_else(|error| self.stop_if_cancelled().and(Err(error)))?;
        Ok(BaseImage {
            name: origin.name(),
            digest: record.diff_id,
            config: Config::scratch(platform),
            layers: vec![BaseLayer {
                diff_id: record.diff_id,
                remote: None,
            }],
            time: record.time,
        })
    }

    /// What is remembered under a key, if its layer is still here.
    fn remembered(&self, key: Digest) -> Option<FetchedRecord> {
        self.store.fetched(key)
    }

    fn secret(&self, id: &str) -> Option<Secret> {
        (self.secrets)(id)
    }

    /// Waits until nobody else is fetching the same, or the user wants to stop.
    fn lock(&self, key: Digest) -> Result<Lock, FetchError> {
        let lock = self
            .store
            .lock_unless("fetch", key, || (self.is_cancelled)());
        lock.map_err(|error| match error {
            StoreError::Stopped => FetchError::Cancelled,
            error => error.into(),
        })
    }

    /// Copies all there is; ends soon after the user wants to stop, however much is still to come.
    fn copy(
        &self,
        from: &mut dyn Read,
        to: &mut dyn Write,
        reading: &dyn Fn(io::Error) -> FetchError,
        writing: &dyn Fn(io::Error) -> FetchError,
    ) -> Result<(), FetchError> {
        let mut buffer = vec![0; BUFFER];
        loop {
            self.stop_if_cancelled()?;
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(reading(error)),
            };
            let piece = buffer.get(..count).unwrap_or_default();
            to.write_all(piece).map_err(writing)?;
        }
    }

    fn stop_if_cancelled(&self) -> Result<(), FetchError> {
        if (self.is_cancelled)() {
            return Err(FetchError::Cancelled);
        }
        Ok(())
    }
}
