//! Where file trees come from that are neither folders nor images: URLs, Git repositories, archives.
//!
//! Only what their texts say; nothing here asks a network or a disk. `fetch` gets what they name. Logins that stand in a URL
//! are kept apart from it, so that no message, history or key can show them.

mod git;
mod git_query;
mod http;

use std::fmt;
use std::path::PathBuf;

pub use git::{GitError, GitSource, GitTime, Revision, is_git};
pub use http::{HttpError, HttpSource, is_http};

/// Where a file tree comes from that is neither a folder nor an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// What a URL answers with.
    Http(HttpSource),
    /// A commit of a Git repository.
    Git(GitSource),
    /// An archive on the local disk, unpacked.
    Archive(PathBuf),
}

impl Origin {
    /// As shown to people, without logins.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Http(http) => http.url.clone(),
            Self::Git(git) => git.name(),
            Self::Archive(path) => path.display().to_string(),
        }
    }
}

/// A user and a password from a URL. Prints as `***`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Login {
    /// The user, decoded.
    pub user: String,
    /// The password, decoded; may be empty.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Takes the login out of a URL.
fn take_login(url: &mut url::Url) -> Option<Login> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let login = Login {
        user: decoded(url.username()),
        password: decoded(url.password().unwrap_or_default()),
    };
    // Both fail only for URLs that cannot have a user at all, and this one has.
    let _cleared = url.set_username("").and_then(|()| url.set_password(None));
    Some(login)
}
