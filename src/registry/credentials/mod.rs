//! Who we are at a registry: Docker's `config.json` and files of the same form.
//!
//! Which files there are is for the caller to say. Passwords are read when a registry asks for them, from the file or from
//! a credential helper, and are never kept anywhere else.

mod helper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::transport::Secret;
use crate::fsio;
use crate::oci::base64;

/// The key under which Docker stores the login of its own registry.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Who we are, by registry.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// In the order in which they are asked.
    documents: Vec<Document>,
}

/// Credentials that could not be got.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] fsio::Error),
    /// The file is no credentials document.
    #[error("`{}` is not a valid credentials file: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An `auth` field that is not base64 of `user:password`.
    #[error("the stored credentials for `{0}` cannot be decoded")]
    Encoding(String),
    /// The credential helper could not be started.
    #[error("cannot run the credential helper `{program}`: {reason}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// The credential helper failed.
    #[error("the credential helper `{program}` failed for `{registry}`: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// What it was asked for.
        registry: String,
        /// What it said, or what is wrong with its answer.
        reason: String,
    },
}

/// What to show to a registry or its token server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// A user and a password.
    Basic { user: String, password: Secret },
    /// A token to be exchanged for access tokens.
    Identity(Secret),
    /// A token to be shown as it is.
    Registry(Secret),
}

/// One file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// The login of one registry or repository.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "lowercase")]
struct Entry {
    auth: Secret,
    username: String,
    password: Secret,
    identitytoken: Secret,
    registrytoken: Secret,
}

impl Credentials {
    /// Reads Docker's `config.json` and files of the same form (`containers/auth.json`); what comes first wins, a file that
    /// is not there is fine.
    ///
    /// # Errors
    /// A file that is there and cannot be read or understood.
    pub fn from_files<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, CredentialsError> {
        let mut documents = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let Some(bytes) = fsio::read_if_there(path)? else {
                continue;
            };
            documents.push(Document::parse(&bytes).map_err(|error| {
                CredentialsError::Parse {
                    path: path.to_owned(),
                    // Words and a position; the text itself may hold a secret.
                    reason: format!("line {}, column {}", error.line(), error.column()),
                }
            })?);
        }
        Ok(Self { documents })
    }

    /// Adds a login that goes before those of files.
    #[must_use]
    pub fn with_login(mut self, registry: &str, user: &str, password: Secret) -> Self {
        let entry = Entry {
            username: user.to_owned(),
            password,
            ..Entry::default()
        };
        let document = Document {
            auths: Some([(normalise(registry), Some(entry))].into()),
            ..Document::default()
        };
        self.documents.insert(0, document);
        self
    }

    /// Finds the login for a repository; `None` is to be anonymous. May run a credential helper, so it blocks.
    pub(super) fn login(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Login>, CredentialsError> {
        for document in &self.documents {
            if let Some(login) = document.login(registry, repository)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

impl Document {
    fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let mut document: Self = serde_json::from_slice(bytes)?;
        document.auths = document.auths.map(|auths| {
            let pairs = auths.into_iter();
            pairs.map(|(key, entry)| (normalise(&key), entry)).collect()
        });
        document.cred_helpers = document.cred_helpers.map(|helpers| {
            let pairs = helpers.into_iter();
            pairs.map(|(key, name)| (normalise(&key), name)).collect()
        });
        Ok(document)
    }

    /// A helper named for the registry goes before the general one, and that before what the file itself says: where there is a
    /// helper, entries in the file are placeholders or left over.
    fn login(&self, registry: &str, repository: &str) -> Result<Option<Login>, CredentialsError> {
        let named = self.cred_helpers.as_ref().and_then(|h| h.get(registry));
        let general = self.creds_store.as_ref().filter(|name| !name.is_empty());
        let stored = self.stored(registry, repository);
        if let Some(name) = named.or(general) {
            let key = if registry == "docker.io" {
                DOCKER_HUB_KEY
            } else {
                registry
            };
            return match helper::get(name, key) {
                Ok(Some(login)) => Ok(Some(login)),
                Ok(None) => stored,
                // A file that came from another machine names helpers that are not here.
                Err(error) => match stored {
                    Ok(Some(login)) => Ok(Some(login)),
                    _ => Err(error),
                },
            };
        }
        stored
    }

    /// The file's own entry for the repository, or for the longest part of its path that has one.
    fn stored(&self, registry: &str, repository: &str) -> Result<Option<Login>, CredentialsError> {
        let Some(auths) = &self.auths else {
            return Ok(None);
        };
        let mut key = format!("{registry}/{repository}");
        loop {
            if let Some(Some(entry)) = auths.get(&key)
                && let Some(login) = entry.login(&key)?
            {
                return Ok(Some(login));
            }
            match key.rfind('/') {
                Some(end) => key.truncate(end),
                None => return Ok(None),
            }
        }
    }
}

impl Entry {
    fn login(&self, key: &str) -> Result<Option<Login>, CredentialsError> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Login::Registry(self.registrytoken.clone())));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::Identity(self.identitytoken.clone())));
        }
        if !self.auth.is_empty() {
            let bad = || CredentialsError::Encoding(key.to_owned());
            let bytes = base64::decode(self.auth.reveal()).ok_or_else(bad)?;
            let text = String::from_utf8(bytes).map_err(|_| bad())?;
            let (user, password) = text.split_once(':').ok_or_else(bad)?;
            return Ok(Some(Login::Basic {
                user: user.to_owned(),
                password: Secret::new(password.trim_end_matches('\0')),
            }));
        }
        Ok((!self.username.is_empty()).then(|| Login::Basic {
            user: self.username.clone(),
            password: self.password.clone(),
        }))
    }
}

/// A key of a credentials file in the form of references: no scheme, no `/v1/`, one name for Docker's own registry.
fn normalise(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    match path {
        "" | "v1" | "v2" => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(text: &str) -> Credentials {
        Credentials {
            documents: vec![Document::parse(text.as_bytes()).unwrap()],
        }
    }

    fn basic(user: &str, password: &str) -> Option<Login> {
        Some(Login::Basic {
            user: user.to_owned(),
            password: Secret::new(password),
        })
    }

    #[test]
    fn the_most_specific_entry_wins() {
        let credentials = credentials(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldDp4"},
                "ghcr.io": {"username": "u", "password": "p"},
                "ghcr.io/team": {"identitytoken": "idt", "auth": "aHViOnNlY3JldDp4"},
                "quay.io": {},
                "gcr.io": null,
                "bad.io": {"auth": "!"},
                "nocolon.io": {"auth": "YWJj"}
            }, "unknown": [1]}"#,
        );
        let login = |registry, repository| credentials.login(registry, repository);
        assert_eq!(
            login("docker.io", "library/a").unwrap(),
            basic("hub", "secret:x")
        );
        assert_eq!(login("ghcr.io", "other/a").unwrap(), basic("u", "p"));
        assert_eq!(
            login("ghcr.io", "team/a").unwrap(),
            Some(Login::Identity(Secret::new("idt")))
        );
        assert_eq!(login("ghcr.io", "teams/a").unwrap(), basic("u", "p"));
        for anonymous in ["quay.io", "gcr.io", "localhost:5000"] {
            assert_eq!(login(anonymous, "a").unwrap(), None);
        }
        for bad in ["bad.io", "nocolon.io"] {
            assert!(matches!(
                login(bad, "a"),
                Err(CredentialsError::Encoding(_))
            ));
        }
    }

    #[test]
    fn earlier_files_and_given_logins_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("1"), folder.path().join("2"));
        fsio::write_atomic(
            &first,
            br#"{"auths":{"a.io":{"username":"one"}}}"#,
            fsio::Durability::Cached,
        )
        .unwrap();
        fsio::write_atomic(
            &second,
            br#"{"auths":{"a.io":{"username":"two"},"b.io":{"username":"two"}}}"#,
            fsio::Durability::Cached,
        )
        .unwrap();
        let missing = folder.path().join("none");
        let credentials = Credentials::from_files([&missing, &first, &second]).unwrap();
        assert_eq!(credentials.login("a.io", "x").unwrap(), basic("one", ""));
        assert_eq!(credentials.login("b.io", "x").unwrap(), basic("two", ""));
        let credentials = credentials.with_login("https://b.io/", "three", Secret::new("s"));
        assert_eq!(credentials.login("b.io", "x").unwrap(), basic("three", "s"));
    }

    #[test]
    fn a_bad_file_is_named_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fsio::write_atomic(
            &path,
            br#"{"auths":{"a.io":{"auth":hunter2}}}"#,
            fsio::Durability::Cached,
        )
        .unwrap();
        let message = Credentials::from_files([&path]).unwrap_err().to_string();
        assert!(
            message.contains("config.json") && !message.contains("hunter2"),
            "{message}"
        );
    }

    #[test]
    fn passwords_do_not_print() {
        let credentials =
            credentials(r#"{"auths":{"a.io":{"username":"u","password":"hunter2"}}}"#);
        let login = credentials.login("a.io", "x").unwrap();
        assert!(!format!("{credentials:?} {login:?}").contains("hunter2"));
    }
}
