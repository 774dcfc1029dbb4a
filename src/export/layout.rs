//! An OCI image layout as a folder (image-spec, image-layout.md); an existing one gets one more image.

use std::collections::BTreeMap;
use std::path::Path;

use super::ExportError;
use super::document::PreparedSet;
use crate::fsio::{self, Context as _, Durability};
use crate::oci::{Descriptor, Index, Reference};
use crate::registry::Stop;
use crate::store::Store;

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The content of the file `oci-layout`.
pub(super) const LAYOUT_MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Writes images into a layout folder. Blobs come first, the index last.
///
/// # Errors
/// A folder that is something else; a blob that cannot be had; the disk.
pub fn write_layout(
    store: &Store,
    set: &PreparedSet,
    names: &[Reference],
    folder: &Path,
) -> Result<Descriptor, ExportError> {
    fsio::create_dir_all(folder)?;
    let index = existing(folder)?;
    let blobs = folder.join("blobs/sha256");
    fsio::create_dir_all(&blobs)?;
    fsio::write_atomic(
        &folder.join("oci-layout"),
        LAYOUT_MARKER,
        Durability::Cached,
    )?;
    for (descriptor, layer) in set.layers() {
        let target = blobs.join(descriptor.digest.hex());
        if fsio::metadata(&target).is_ok_and(|there| there.len() == descriptor.size) {
            continue;
        }
        layer.fetch(store, descriptor)?;
        copy_blob(store, (descriptor, &set.stop), &target)?;
    }
    for (descriptor, bytes) in set.documents() {
        let target = blobs.join(descriptor.digest.hex());
        fsio::write_atomic(&target, bytes, Durability::Cached)?;
    }
    let index = merged(index, entries(set, names));
    fsio::write_atomic(
        &folder.join("index.json"),
        &index.to_bytes(),
        Durability::Synced,
    )?;
    Ok(set.root())
}

/// Written aside and renamed, verified on the way.
fn copy_blob(
    store: &Store,
    (descriptor, stop): (&Descriptor, &Stop),
    target: &Path,
) -> Result<(), ExportError> {
    let blob = store.open_blob_file(descriptor.digest)?;
    let mut blob = fsio::Stoppable::new(blob, || stop.is_requested());
    let aside = target.with_extension("part");
    let mut file = fsio::create(&aside)?;
    match std::io::copy(&mut blob, &mut file).context("write", &aside) {
        Ok(_) => Ok(fsio::rename(&aside, target)?),
        Err(error) => {
            if error.source.kind() == std::io::ErrorKind::InvalidData {
                // What is damaged becomes a miss, so that the next export makes it again.
                store.forget_blob(descriptor.digest);
            }
            fsio::remove_file_if_there(&aside)?;
            Err(error.into())
        }
    }
}

fn existing(folder: &Path) -> Result<Index, ExportError> {
    match fsio::read_if_there(folder.join("index.json"))? {
        Some(bytes) => Index::parse(&bytes).map_err(|_| ExportError::NotALayout(folder.to_owned())),
        // A layout that was begun and not finished has its marker.
        None if fsio::metadata(folder.join("oci-layout")).is_ok()
            || fsio::read_dir_sorted(folder)?.is_empty() =>
        {
            Ok(Index {
                manifests: Vec::new(),
            })
        }
        None => Err(ExportError::NotALayout(folder.to_owned())),
    }
}

/// The entries in `index.json`: one a name, or one without.
pub(super) fn entries(set: &PreparedSet, names: &[Reference]) -> Vec<Descriptor> {
    let mut annotations = BTreeMap::new();
    if let Some(created) = set.created() {
        annotations.insert(
            "org.opencontainers.image.created".to_owned(),
            created.to_owned(),
        );
    }
    let unnamed = Descriptor {
        annotations,
        ..set.root()
    };
    if names.is_empty() {
        return vec![unnamed];
    }
    let named = |name: &Reference| {
        let mut entry = unnamed.clone();
        entry
            .annotations
            .insert("io.containerd.image.name".to_owned(), name.to_string());
        entry.annotations.insert(
            REF_NAME.to_owned(),
            name.tag().unwrap_or("latest").to_owned(),
        );
        entry
    };
    names.iter().map(named).collect()
}

/// An image takes the place of another one of the same name.
fn merged(index: Index, new: Vec<Descriptor>) -> Index {
    let name = |entry: &Descriptor| {
        let full = entry.annotations.get("io.containerd.image.name");
        full.or_else(|| entry.annotations.get(REF_NAME)).cloned()
    };
    let taken = |old: &Descriptor| {
        new.iter()
            .any(|new| name(new) == name(old) && (name(old).is_some() || new.digest == old.digest))
    };
    let mut manifests: Vec<Descriptor> = index
        .manifests
        .into_iter()
        .filter(|old| !taken(old))
        .collect();
    manifests.extend(new);
    Index { manifests }
}
