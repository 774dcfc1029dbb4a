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
    /// Which step of its Dockerfile it was, whatever that is called and wherever it is: for explanations elsewhere.
    #[serde(default)]
    pub place: String,
    /// What it used, where that is known: not of one that copied files, nor of one that was recorded before there were figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<StepResources>,
    /// What entered the key, by name, so that a miss can be explained.
    pub ingredients: BTreeMap<String, String>,
}

/// What a command and its descendants used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResources {
    /// Microseconds of processor time in the programs.
    pub user_micros: u64,
    /// Microseconds of processor time in the kernel for them.
    pub system_micros: u64,
    /// The most memory it had, in bytes.
    pub peak_memory: u64,
    /// Whether that is the memory of all processes together; else it is that of the largest one.
    pub whole_step: bool,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to block devices, or to be.
    pub written_bytes: u64,
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
        self.step_once(key)
            .filter(|found| self.has_layer(found.diff_id))
    }

    /// The record of a key even if its layer is gone: for explanations.
    #[must_use]
    pub fn step_once(&self, key: Digest) -> Option<StepRecord> {
        record::read(&self.paths.step(key)).filter(|found: &StepRecord| found.key == key)
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
