//! Records of what was fetched from elsewhere: the source → its layer, and what tells whether the source has changed.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, record};
use crate::fsio::Durability;
use crate::oci::Digest;

/// What is known of something that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedRecord {
    /// The key the record is filed under; checked on read.
    pub key: Digest,
    /// The layer that was made of it.
    pub diff_id: Digest,
    /// SHA-256 of what came, where it was one file.
    pub content: Option<Digest>,
    /// `ETag` of the answer.
    pub etag: Option<String>,
    /// `Last-Modified` of the answer.
    pub last_modified: Option<String>,
    /// When what is in it was made, seconds since 1970.
    pub time: Option<i64>,
}

impl Store {
    /// The record of a key; `None` if there is none, or it or its layer is damaged or gone.
    #[must_use]
    pub fn fetched(&self, key: Digest) -> Option<FetchedRecord> {
        let found: FetchedRecord = record::read(&self.paths.fetched(key))?;
        (found.key == key && self.has_layer(found.diff_id)).then_some(found)
    }

    /// Files a record. The layer has to be published before.
    ///
    /// # Errors
    /// The disk.
    pub fn put_fetched(&self, fetched: &FetchedRecord) -> Result<(), StoreError> {
        Ok(record::write(
            &self.paths.fetched(fetched.key),
            fetched,
            Durability::Cached,
        )?)
    }
}
