//! The form in which records of steps travel: the config of an OCI manifest whose layers are the steps' layers.
//!
//! Canonical: the same records give the same bytes, so that a cache that is read and written again has the digest it had. What
//! is read is hostile: each record is looked at on its own, and one that cannot be true is left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CacheError;
use crate::oci::{Descriptor, Digest, Manifest, canonical_json, media_type};
use crate::store::StepRecord;

/// Media type of the document, and the manifest's artifact type.
pub(super) const CACHE_TYPE: &str = "application/vnd.builder.cache.v1+json";

/// Version of the document. One that we do not know is not read.
const VERSION: u32 = 1;

/// The records of a cache, with their layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// By key.
    pub(super) steps: BTreeMap<Digest, (StepRecord, Descriptor)>,
    /// Quick keys, and the keys that they lead to.
    pub(super) aliases: BTreeMap<Digest, Digest>,
}

/// The document as written.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    records: Vec<Record>,
    aliases: Vec<Alias>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    step: StepRecord,
    /// Which layer of the manifest.
    layer: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Alias {
    quick: Digest,
    key: Digest,
}

impl Records {
    /// Manifest and config. Layers are in the order in which records, which are in the order of their keys, name them first.
    pub(super) fn to_documents(&self) -> (Vec<u8>, Vec<u8>) {
        let mut layers: Vec<&Descriptor> = Vec::new();
        let mut known: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut records = Vec::with_capacity(self.steps.len());
        for (step, blob) in self.steps.values() {
            let layer = *known.entry(blob.digest).or_insert_with(|| {
                layers.push(blob);
                layers.len() - 1
            });
            records.push(Record {
                step: step.clone(),
                layer,
            });
        }
        let alias = |(quick, key): (&Digest, &Digest)| Alias {
            quick: *quick,
            key: *key,
        };
        let config = canonical_json(&Document {
            version: VERSION,
            records,
            aliases: self.aliases.iter().map(alias).collect(),
        });
        (manifest(CACHE_TYPE, &config, &layers), config)
    }

    /// The layers, each once.
    pub(super) fn layers(&self) -> BTreeMap<Digest, &Descriptor> {
        let blobs = self.steps.values().map(|(_, blob)| blob);
        blobs.map(|blob| (blob.digest, blob)).collect()
    }

    /// Reads the config of a manifest.
    ///
    /// # Errors
    /// It is of another form. What is wrong with single records only leaves those out.
    pub(super) fn parse(manifest: &Manifest, config: &[u8]) -> Result<Self, CacheError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let json = |source| CacheError::Json {
            what: "document of the cache",
            source,
        };
        let version: Version = serde_json::from_slice(config).map_err(json)?;
        if version.version != VERSION {
            return Err(CacheError::Form(
                "the cache was written by another version of builder",
            ));
        }
        let document: Document = serde_json::from_slice(config).map_err(json)?;
        let mut records = Self::default();
        for Record { step, layer } in document.records {
            let Some(blob) = manifest.layers.get(layer).filter(|blob| is_layer(blob)) else {
                continue;
            };
            let known = records.steps.entry(step.key);
            known.or_insert_with(|| (step, blob.clone()));
        }
        let aliases = document.aliases.into_iter();
        records.aliases = aliases
            .filter(|alias| records.steps.contains_key(&alias.key))
            .map(|alias| (alias.quick, alias.key))
            .collect();
        Ok(records)
    }
}

/// The bytes of a manifest over a config of ours.
pub(super) fn manifest(artifact: &str, config: &[u8], layers: &[&Descriptor]) -> Vec<u8> {
    canonical_json(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": artifact,
        "config": Descriptor::of(artifact, config),
        "layers": layers,
    }))
}

/// Whether a descriptor can be that of a layer's blob.
pub(super) fn is_layer(blob: &Descriptor) -> bool {
    matches!(
        media_type::to_oci_layer(&blob.media_type),
        media_type::OCI_LAYER | media_type::OCI_LAYER_GZIP | media_type::OCI_LAYER_ZSTD
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cache) fn step(name: &str, layer: &str) -> StepRecord {
        serde_json::from_value(serde_json::json!({
            "key": Digest::of(name),
            "diff_id": Digest::of(layer),
            "content_id": Digest::of(format!("content {layer}")),
            "bytes": 4,
            "created": "2024-01-01T00:00:00Z",
            "millis": 12,
            "ingredients": {"kind": "RUN", "command": name},
        }))
        .unwrap()
    }

    fn blob(layer: &str) -> Descriptor {
        Descriptor::of(media_type::OCI_LAYER_GZIP, layer.as_bytes()).compressed_as("gzip-6")
    }

    fn sample() -> Records {
        let mut records = Records::default();
        for (name, layer) in [("a", "one"), ("b", "two"), ("c", "one")] {
            let step = step(name, layer);
            records.steps.insert(step.key, (step, blob(layer)));
        }
        records.aliases.insert(Digest::of("quick"), Digest::of("a"));
        records
    }

    #[test]
    fn what_is_written_is_read_and_written_again_the_same() {
        let (manifest, config) = sample().to_documents();
        let parsed = Manifest::parse(&manifest).unwrap();
        assert_eq!(parsed.layers.len(), 2, "a layer of two steps is there once");
        let read = Records::parse(&parsed, &config).unwrap();
        assert_eq!(read, sample());
        assert_eq!(read.to_documents(), (manifest, config));
    }

    #[test]
    fn records_that_cannot_be_true_are_left_out() {
        let (manifest, config) = sample().to_documents();
        let mut parsed = Manifest::parse(&manifest).unwrap();
        let first = parsed.layers[0].digest;
        parsed.layers.truncate(1);
        let read = Records::parse(&parsed, &config).unwrap();
        assert!(
            !read.steps.is_empty() && read.steps.values().all(|(_, blob)| blob.digest == first)
        );
        parsed.layers[0].media_type = "text/html".to_owned();
        let read = Records::parse(&parsed, &config).unwrap();
        assert!(read.steps.is_empty() && read.aliases.is_empty());
        for bad in [
            &b"{"[..],
            b"{}",
            br#"{"version":2,"records":[],"aliases":[]}"#,
        ] {
            assert!(Records::parse(&parsed, bad).is_err());
        }
    }
}
