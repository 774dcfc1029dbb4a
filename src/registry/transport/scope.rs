//! Scopes: what a token is to allow, `repository:<name>:<actions>`.

use std::collections::BTreeSet;

/// What a request needs to be allowed to do, always with one repository first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Scopes {
    /// The repository whose login counts.
    repository: String,
    texts: BTreeSet<String>,
}

impl Scopes {
    /// Reading a repository.
    pub(in crate::registry) fn pull(repository: &str) -> Self {
        Self::new(repository, "pull")
    }

    /// Reading and writing a repository.
    pub(in crate::registry) fn push(repository: &str) -> Self {
        Self::new(repository, "pull,push")
    }

    fn new(repository: &str, actions: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            texts: [format!("repository:{repository}:{actions}")].into(),
        }
    }

    /// The same, and reading `other` too: what mounting a blob from there takes.
    #[must_use]
    pub(in crate::registry) fn and_pull(mut self, other: &str) -> Self {
        self.texts.insert(format!("repository:{other}:pull"));
        self
    }

    /// The repository whose login counts.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// The scopes and those that a registry says were missing, sorted.
    pub(super) fn texts(&self, also: &[String]) -> Vec<String> {
        let mut texts = self.texts.clone();
        texts.extend(also.iter().cloned());
        texts.into_iter().collect()
    }

    /// One text for all, as a key.
    pub(super) fn key(&self) -> String {
        self.texts(&[]).join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joint_scopes() {
        let scopes = Scopes::push("b/app").and_pull("a/base");
        assert_eq!(scopes.repository(), "b/app");
        assert_eq!(
            scopes.key(),
            "repository:a/base:pull repository:b/app:pull,push"
        );
        let also = ["repository:b/app:pull,push".to_owned(), "x".to_owned()];
        assert_eq!(scopes.texts(&also).len(), 3);
    }
}
