//! A cache inside an image: the records of its steps, under a key of its config.
//!
//! They say nothing that differs between two builds that make the same image: no times and no durations. What the image says
//! already (diff IDs, when a layer was made) is taken from there.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use super::document::{Records, is_layer};
use super::export::BuiltStep;
use crate::oci::{Config, Digest, Manifest};
use crate::store::StepRecord;

/// The key of an image config that holds the records.
pub const INLINE_KEY: &str = "builder.cache.v1";

/// For layers of images whose history does not say.
const UNKNOWN_TIME: &str = "1970-01-01T00:00:00Z";

#[derive(Debug, Serialize, Deserialize)]
struct Inline {
    /// How the blobs of the image's own layers were compressed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compression: Option<String>,
    records: Vec<Record>,
}

/// A record without what differs or is said elsewhere.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Which layer of the image, from 0.
    layer: usize,
    key: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quick: Option<Digest>,
    content_id: Digest,
    bytes: u64,
    #[serde(default)]
    place: String,
    ingredients: BTreeMap<String, String>,
}

/// The value for the config of an image with these layers. `compression` is that of the blobs, as the store names it.
#[must_use]
pub fn inline(steps: &[BuiltStep], diff_ids: &[Digest], compression: Option<&str>) -> Value {
    let record = |step: &BuiltStep| {
        let record = step.record.as_ref()?;
        let layer = diff_ids.iter().rposition(|id| *id == record.diff_id)?;
        Some(Record {
            layer,
            key: record.key,
            quick: step.quick,
            content_id: record.content_id,
            bytes: record.bytes,
            place: record.place.clone(),
            ingredients: record.ingredients.clone(),
        })
    };
    let inline = Inline {
        compression: compression.map(str::to_owned),
        records: steps.iter().filter_map(record).collect(),
    };
    serde_json::json!(inline)
}

/// The records in an image; none if it has none.
pub(super) fn read(manifest: &Manifest, config: &Config) -> Option<Records> {
    let value = config.raw().get(INLINE_KEY)?;
    let inline: Inline = serde_json::from_value(value.clone()).ok()?;
    let diff_ids = config.diff_ids();
    let history = config.history();
    let created: Vec<&str> = history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .map(|entry| entry.created.as_deref().unwrap_or_default())
        .collect();
    let mut records = Records::default();
    for record in inline.records {
        let blob = manifest
            .layers
            .get(record.layer)
            .filter(|blob| is_layer(blob));
        let (Some(blob), Some(diff_id)) = (blob, diff_ids.get(record.layer)) else {
            continue;
        };
        let mut blob = blob.clone();
        blob.annotations.clear();
        if let Some(compression) = &inline.compression {
            blob = blob.compressed_as(compression);
        }
        let step = StepRecord {
            key: record.key,
            diff_id: *diff_id,
            content_id: record.content_id,
            bytes: record.bytes,
            created: created
                .get(record.layer)
                .filter(|created| !created.is_empty())
                .map_or(UNKNOWN_TIME, |created| created)
                .to_owned(),
            millis: 0,
            place: record.place,
            resources: None,
            ingredients: record.ingredients,
        };
        if let Some(quick) = record.quick {
            records.aliases.insert(quick, record.key);
        }
        records.steps.insert(record.key, (step, blob));
    }
    Some(records)
}
