//! Records of finished steps: key → layer, facts, and the ingredients of the key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, record};
use crate::fsio::Durability;
use crate::oci::Digest;

/// What is known of a step that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The key the record is filed under; checked on read.
    pub key: Digest,
    /// The layer the step made.
    pub diff_id: Digest,
    /// Digest of the layer's table of contents without times.
    pub content_id: Digest,
    /// Bytes of file content in the layer.
    pub bytes: u64,
    /// When the layer was made, RFC 3339.
    pub created: String,
    /// How long the step took.
    pub millis: u64,
    /// What entered the key, by name, so that a miss can be explained.
    pub ingredients: BTreeMap<String, String>,
}

/// What was last built where in one Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Step keys by place.
    pub keys: BTreeMap<String, Digest>,
}

/// A second, cheaper key that leads to a step's key while its inputs are the very same states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Alias {
    quick: Digest,
    key: Digest,
}

impl Store {
    /// The record of a key; `None` if there is none, or it or its layer is damaged or gone.
    #[must_use]
    pub fn step(&self, key: Digest) -> Option<StepRecord> {
        let found: StepRecord = record::read(&self.paths.step(key))?;
        (found.key == key && self.has_layer(found.diff_id)).then_some(found)
    }

    /// The record of a key even if its layer is gone: for explanations.
    #[must_use]
    pub fn step_ingredients(&self, key: Digest) -> Option<BTreeMap<String, String>> {
        record::read(&self.paths.step(key)).map(|found: StepRecord| found.ingredients)
    }

    /// Files a record. The layer has to be published before.
    ///
    /// # Errors
    /// The disk.
    pub fn put_step(&self, step: &StepRecord) -> Result<(), StoreError> {
        Ok(record::write(
            &self.paths.step(step.key),
            step,
            Durability::Cached,
        )?)
    }

    /// What was last built where in a Dockerfile; nothing if that is not known.
    #[must_use]
    pub fn places(&self, dockerfile: Digest) -> Places {
        record::read(&self.paths.place(dockerfile)).unwrap_or_default()
    }

    /// Remembers what was built where.
    ///
    /// # Errors
    /// The disk.
    pub fn put_places(&self, dockerfile: Digest, places: &Places) -> Result<(), StoreError> {
        Ok(record::write(
            &self.paths.place(dockerfile),
            places,
            Durability::Cached,
        )?)
    }

    /// The key that a quick key leads to.
    #[must_use]
    pub fn alias(&self, quick: Digest) -> Option<Digest> {
        let alias: Alias = record::read(&self.paths.alias(quick))?;
        (alias.quick == quick).then_some(alias.key)
    }

    /// Files a quick key for a key.
    ///
    /// # Errors
    /// The disk.
    pub fn put_alias(&self, quick: Digest, key: Digest) -> Result<(), StoreError> {
        Ok(record::write(
            &self.paths.alias(quick),
            &Alias { quick, key },
            Durability::Cached,
        )?)
    }
}
