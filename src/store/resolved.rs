//! Records of what names elsewhere led to when somebody was asked: references to images, branches and tags to commits.
//!
//! The store does not know for how long such an answer holds; it keeps when it was given.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, record};
use crate::fsio::Durability;
use crate::oci::{Descriptor, Digest, Hasher, Platform};

/// What a registry said about a reference. The manifest and the config are blobs of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedRecord {
    /// The full reference: `docker.io/library/python:3.9-slim`.
    pub reference: String,
    /// The platform that was asked for.
    pub platform: Platform,
    /// What the name led to: the index if there was one, else the manifest.
    pub root: Digest,
    /// The manifest of the image for the platform.
    pub manifest: Descriptor,
    /// Its config.
    pub config: Descriptor,
    /// When the registry was asked, seconds since 1970.
    pub asked: i64,
    /// The manifest before this one, if the name has moved since it was first asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

/// What a repository said about a branch or tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// The key the record is filed under; checked on read.
    pub key: Digest,
    /// The commit.
    pub commit: String,
    /// The tag object, for an annotated tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// When the repository was asked, seconds since 1970.
    pub asked: i64,
}

impl Store {
    /// What was last said about a reference (full) for a platform.
    #[must_use]
    pub fn resolved(&self, reference: &str, platform: &Platform) -> Option<ResolvedRecord> {
        let path = self.paths.resolved(image_key(reference, platform));
        record::read(&path).filter(|found: &ResolvedRecord| {
            found.reference == reference && found.platform == *platform
        })
    }

    /// Files what was said about a reference. The blobs have to be there before.
    ///
    /// # Errors
    /// The disk.
    pub fn put_resolved(&self, resolved: &ResolvedRecord) -> Result<(), StoreError> {
        let key = image_key(&resolved.reference, &resolved.platform);
        let path = self.paths.resolved(key);
        Ok(record::write(&path, resolved, Durability::Cached)?)
    }

    /// What was last said about a branch or tag.
    #[must_use]
    pub fn commit(&self, key: Digest) -> Option<CommitRecord> {
        let found: Option<CommitRecord> = record::read(&self.paths.resolved(key));
        found.filter(|found| found.key == key)
    }

    /// Files what was said about a branch or tag.
    ///
    /// # Errors
    /// The disk.
    pub fn put_commit(&self, commit: &CommitRecord) -> Result<(), StoreError> {
        let path = self.paths.resolved(commit.key);
        Ok(record::write(&path, commit, Durability::Cached)?)
    }
}

fn image_key(reference: &str, platform: &Platform) -> Digest {
    let mut hasher = Hasher::new("resolved image");
    hasher.field(reference);
    hasher.field(platform.to_string());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_one_name_and_platform_and_damage_is_absence() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let amd64: Platform = "linux/amd64".parse().unwrap();
        let arm64: Platform = "linux/arm64".parse().unwrap();
        let answer = ResolvedRecord {
            reference: "docker.io/library/a:1".to_owned(),
            platform: amd64.clone(),
            root: Digest::of("root"),
            manifest: Descriptor::of("m", b"manifest"),
            config: Descriptor::of("c", b"config"),
            asked: 7,
            previous: None,
        };
        store.put_resolved(&answer).unwrap();
        assert_eq!(store.resolved(&answer.reference, &amd64), Some(answer));
        assert_eq!(store.resolved("docker.io/library/a:1", &arm64), None);
        assert_eq!(store.resolved("docker.io/library/a:2", &amd64), None);
        let commit = CommitRecord {
            key: Digest::of("main"),
            commit: "abc".to_owned(),
            tag: None,
            asked: 7,
        };
        store.put_commit(&commit).unwrap();
        assert_eq!(store.commit(commit.key), Some(commit.clone()));
        std::fs::write(store.paths.resolved(commit.key), b"torn").unwrap();
        assert_eq!(store.commit(commit.key), None);
    }
}
