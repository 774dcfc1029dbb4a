//! An OCI image layout as a folder (image-spec, image-layout.md); an existing one gets one more image.

use std::collections::BTreeMap;
use std::path::Path;

use super::ExportError;
use super::document::PreparedSet;
use crate::fsio::{self, Context as _, Durability};
use crate::oci::{Descriptor, Index, Reference};
use crate::registry::Stop;
use crate::store::{Store, VerifyingReader};

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
        if is_whole(&target, (descriptor, &set.stop)) {
            continue;
        }
        layer.fetch(store, (descriptor, &set.stop))?;
        copy_blob(store, (descriptor, &set.stop), &target)?;
    }
    for (descriptor, bytes) in set.documents() {
        let target = blobs.join(descriptor.digest.hex());
        fsio::write_atomic(&target, bytes, Durability::Cached)?;
    }
    // What the index names has to be on the disk before it: one call is cheaper than one a blob.
    let opened = fsio::open(folder)?;
    rustix::fs::syncfs(&opened).context("sync", folder)?;
    let index = merged(index, entries(set, names));
    fsio::write_atomic(
        &folder.join("index.json"),
        &index.to_bytes(),
        Durability::Synced,
    )?;
    Ok(set.root())
}

/// Whether a blob is in the layout already. Others may have written it, or a disk may have lost some of it: it is read.
fn is_whole(path: &Path, (descriptor, stop): (&Descriptor, &Stop)) -> bool {
    if !fsio::metadata(path).is_ok_and(|there| there.len() == descriptor.size) {
        return false;
    }
    let Ok(file) = fsio::open(path) else {
        return false;
    };
    let file = fsio::Stoppable::new(file, || stop.is_requested());
    let mut blob = VerifyingReader::new(file, descriptor.digest);
    std::io::copy(&mut blob, &mut std::io::sink()).is_ok()
}

/// Written aside and renamed, verified on the way.
fn copy_blob(
    store: &Store,
    (descriptor, stop): (&Descriptor, &Stop),
    target: &Path,
) -> Result<(), ExportError> {
    let blob = store.open_blob_file(descriptor.digest)?;
    let mut blob = fsio::Stoppable::new(blob, || stop.is_requested());
    let aside = fsio::aside(target);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_in_the_layout_if_it_is_what_its_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let blob = store.put_blob("x", &[7; 9000]).unwrap();
        let target = folder.path().join(blob.digest.hex());
        let stop = Stop::new();
        assert!(!is_whole(&target, (&blob, &stop)));
        copy_blob(&store, (&blob, &stop), &target).unwrap();
        assert!(is_whole(&target, (&blob, &stop)));
        std::fs::write(&target, [0; 9000]).unwrap();
        assert!(!is_whole(&target, (&blob, &stop)));
        copy_blob(&store, (&blob, &stop), &target).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), [7; 9000]);
        assert_ne!(fsio::aside(&target), fsio::aside(&target));
        assert_eq!(fsio::read_dir_sorted(folder.path()).unwrap().len(), 2);
    }
}
