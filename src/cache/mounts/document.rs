//! The form in which folders of cache mounts travel: the config of an OCI manifest that says which blobs each folder has.
//!
//! A folder is a *tree*, which lists its entries and the chunks of their content, and *packs*, which hold chunks. All of it is
//! hostile when it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::backend::Stored;
use super::super::document::manifest;
use super::CacheError;
use crate::oci::{Descriptor, Digest, canonical_json};

/// Media type of the document, and the manifest's artifact type.
pub(super) const MOUNTS_TYPE: &str = "application/vnd.builder.mounts.v1+json";
/// Media type of a tree.
pub(super) const TREE_TYPE: &str = "application/vnd.builder.mount.tree.v1+zstd";
/// Media type of a pack.
pub(super) const PACK_TYPE: &str = "application/vnd.builder.mount.pack.v1";

const VERSION: u32 = 1;

/// The folders that a place has, by id.
pub(super) type Saved = BTreeMap<String, SavedMount>;

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedMount {
    /// Bytes of its files.
    pub(super) bytes: u64,
    /// Lists what is in it.
    pub(super) tree: Descriptor,
    /// The content, in the order in which the tree counts them.
    pub(super) packs: Vec<Descriptor>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    mounts: Vec<Mount>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mount {
    id: String,
    bytes: u64,
    /// Which layer of the manifest.
    tree: usize,
    packs: Vec<usize>,
}

/// Manifest, config, and the blobs that the manifest refers to.
pub(super) fn to_documents(saved: &Saved) -> (Vec<u8>, Vec<u8>, Vec<Descriptor>) {
    let mut layers: Vec<Descriptor> = Vec::new();
    let mut known: BTreeMap<Digest, usize> = BTreeMap::new();
    let mut layer = |blob: &Descriptor| {
        *known.entry(blob.digest).or_insert_with(|| {
            layers.push(blob.clone());
            layers.len() - 1
        })
    };
    let mounts = saved
        .iter()
        .map(|(id, mount)| Mount {
            id: id.clone(),
            bytes: mount.bytes,
            tree: layer(&mount.tree),
            packs: mount.packs.iter().map(&mut layer).collect(),
        })
        .collect();
    let config = canonical_json(&Document {
        version: VERSION,
        mounts,
    });
    let references: Vec<&Descriptor> = layers.iter().collect();
    (manifest(MOUNTS_TYPE, &config, &references), config, layers)
}

/// Reads what a place has.
pub(super) fn parse(stored: &Stored) -> Result<Saved, CacheError> {
    if stored.manifest.config.media_type != MOUNTS_TYPE {
        return Err(CacheError::Form("it holds no folders of cache mounts"));
    }
    let json = |source| CacheError::Json {
        what: "list of saved folders",
        source,
    };
    let document: Document = serde_json::from_slice(&stored.config).map_err(json)?;
    if document.version != VERSION {
        let form = "the folders were saved by another version of builder";
        return Err(CacheError::Form(form));
    }
    let layer = |index: usize, media_type: &str| {
        let blob = stored.manifest.layers.get(index);
        blob.filter(|blob| blob.media_type == media_type).cloned()
    };
    let mount = |mount: Mount| {
        let packs = mount.packs.iter().map(|index| layer(*index, PACK_TYPE));
        let saved = SavedMount {
            bytes: mount.bytes,
            tree: layer(mount.tree, TREE_TYPE)?,
            packs: packs.collect::<Option<_>>()?,
        };
        Some((mount.id, saved))
    };
    Ok(document.mounts.into_iter().filter_map(mount).collect())
}
