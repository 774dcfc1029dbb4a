//! The query form of a Git source: its options, and where they have to agree with the fragment.

use url::form_urlencoded;

use super::git::{GitError, GitTime, Revision, is_whole_commit};
use crate::source::boolean;

/// Options of the query form as written.
#[derive(Default)]
pub(super) struct Query {
    pub(super) reference: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) checksum: Option<String>,
    pub(super) subdir: Option<String>,
    pub(super) keep_git_dir: Option<bool>,
    pub(super) submodules: Option<bool>,
    pub(super) time: Option<GitTime>,
}

impl Query {
    /// Reads `KEY=VALUE&KEY`.
    pub(super) fn parse(text: &str) -> Result<Self, GitError> {
        let mut query = Self::default();
        let mut seen = Vec::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let value = value.into_owned();
            // Two names of one option.
            let name = if key == "commit" { "checksum" } else { &*key };
            if seen.iter().any(|other: &String| other == name) {
                return Err(GitError::Several(key.into_owned()));
            }
            seen.push(name.to_owned());
            let is_switch = matches!(name, "keep-git-dir" | "submodules" | "fetch-by-commit");
            if value.is_empty() && !is_switch {
                return match name {
                    "ref" | "branch" | "tag" | "checksum" | "subdir" | "mtime" => {
                        Err(GitError::NoValue(key.into_owned()))
                    }
                    _ => Err(GitError::Unexpected(key.into_owned())),
                };
            }
            match name {
                "ref" => query.reference = Some(value),
                "branch" => query.branch = Some(value),
                "tag" => query.tag = Some(value),
                "checksum" => query.checksum = Some(value),
                "subdir" => query.subdir = Some(value),
                "keep-git-dir" => query.keep_git_dir = Some(switch("keep-git-dir", value)?),
                "submodules" => query.submodules = Some(switch("submodules", value)?),
                // How it is fetched is our affair; the result is the same.
                "fetch-by-commit" => _ = switch("fetch-by-commit", value)?,
                "mtime" => {
                    query.time = Some(match value.as_str() {
                        "commit" => GitTime::Commit,
                        "checkout" => GitTime::Checkout,
                        _ => {
                            return Err(GitError::Value {
                                key: "mtime",
                                value,
                            });
                        }
                    });
                }
                _ => return Err(GitError::Unexpected(key.into_owned())),
            }
        }
        Ok(query)
    }

    /// The one commit that fragment and query name together.
    pub(super) fn revision(&self, fragment: Option<String>) -> Result<Option<Revision>, GitError> {
        let named = agreed("ref", fragment, self.reference.clone())?;
        if self.branch.is_some() && self.tag.is_some() {
            return Err(GitError::Conflict("branch conflicts with tag".to_owned()));
        }
        let exact = match (&self.branch, &self.tag) {
            (Some(branch), _) => Some((branch, Revision::Branch(branch.clone()))),
            (_, Some(tag)) => Some((tag, Revision::Tag(tag.clone()))),
            _ => None,
        };
        match (named, exact) {
            (Some(named), Some((exact, _))) if named != *exact => Err(GitError::Conflict(format!(
                "ref conflicts: \"{named}\" vs \"{exact}\""
            ))),
            (_, Some((_, exact))) => Ok(Some(exact)),
            (Some(commit), None) if is_whole_commit(&commit) => {
                Ok(Some(Revision::Commit(commit.to_ascii_lowercase())))
            }
            (named, None) => Ok(named.map(Revision::Any)),
        }
    }
}

/// One value from two places that may both give it.
pub(super) fn agreed(
    what: &str,
    fragment: Option<String>,
    query: Option<String>,
) -> Result<Option<String>, GitError> {
    match (fragment, query) {
        (Some(a), Some(b)) if a != b => Err(GitError::Conflict(format!(
            "{what} conflicts: \"{a}\" vs \"{b}\""
        ))),
        (a, b) => Ok(a.or(b)),
    }
}

/// A switch that is on if it is only named.
fn switch(key: &'static str, value: String) -> Result<bool, GitError> {
    if value.is_empty() {
        return Ok(true);
    }
    boolean(&value).ok_or(GitError::Value { key, value })
}
