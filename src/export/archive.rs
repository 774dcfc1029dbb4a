//! Tarballs: an OCI layout in a tar, with Docker's `manifest.json` where `docker load` is to read it.
//!
//! Entries are sorted, with fixed modes and times, so the same image gives the same file.

use std::io::{self, Write};
use std::path::Path;

use super::blobs::PreparedImage;
use super::document::PreparedSet;
use super::layout::{LAYOUT_MARKER, entries};
use super::{Destination, ExportError};
use crate::fsio::{self, Durability};
use crate::oci::{Descriptor, Index, Reference, canonical_json};
use crate::store::Store;

/// Writes images as a tarball; `docker` adds what `docker load` needs. `stdout` is where standard output goes.
///
/// # Errors
/// A destination that is a folder; a blob that cannot be had; the disk; a closed pipe.
pub fn write_archive(
    store: &Store,
    set: &PreparedSet,
    names: &[Reference],
    docker: bool,
    destination: &Destination,
    stdout: &mut dyn Write,
) -> Result<Descriptor, ExportError> {
    for (descriptor, layer) in set.layers() {
        layer.fetch(store, (descriptor, &set.stop))?;
    }
    match destination {
        Destination::Stdout => {
            let manifest =
                write(store, set, names, docker, &mut *stdout).map_err(Problem::into_stdout)?;
            stdout.flush().map_err(ExportError::Stdout)?;
            Ok(manifest)
        }
        Destination::Path(path) => {
            if fsio::metadata(path).is_ok_and(|there| there.is_dir()) {
                return Err(ExportError::IsFolder(path.clone()));
            }
            to_file(store, set, names, docker, path)
        }
    }
}

fn to_file(
    store: &Store,
    set: &PreparedSet,
    names: &[Reference],
    docker: bool,
    path: &Path,
) -> Result<Descriptor, ExportError> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fsio::create_dir_all(parent)?;
    }
    // A pipe or a device is written to as it is; a file appears when it is complete.
    let special = fsio::metadata(path).is_ok_and(|there| !there.is_file());
    let aside = if special {
        path.to_owned()
    } else {
        fsio::aside(path)
    };
    let attempt = || -> Result<Descriptor, ExportError> {
        let file = fsio::create(&aside)?;
        let mut buffered = io::BufWriter::with_capacity(1 << 18, file);
        let manifest =
            write(store, set, names, docker, &mut buffered).map_err(|p| p.into_file(&aside))?;
        let file = buffered
            .into_inner()
            .map_err(|e| fsio::Error::new("write", &aside, e.into_error()))?;
        if !special {
            file.sync_all()
                .map_err(|e| fsio::Error::new("sync", &aside, e))?;
            fsio::replace(&aside, path, Durability::Synced)?;
        }
        Ok(manifest)
    };
    attempt().inspect_err(|_| {
        if !special {
            let _gone = fsio::remove_file_if_there(&aside);
        }
    })
}

/// A write that failed, or a blob that could not be read.
enum Problem {
    Write(io::Error),
    Export(ExportError),
}

impl Problem {
    fn into_stdout(self) -> ExportError {
        match self {
            Self::Write(source) => ExportError::Stdout(source),
            Self::Export(error) => error,
        }
    }

    fn into_file(self, path: &Path) -> ExportError {
        match self {
            Self::Write(source) => fsio::Error::new("write", path, source).into(),
            Self::Export(error) => error,
        }
    }
}

/// What a tarball has, by path.
enum Member<'a> {
    Bytes(&'a [u8]),
    Blob(&'a Descriptor),
}

fn write(
    store: &Store,
    set: &PreparedSet,
    names: &[Reference],
    docker: bool,
    out: &mut dyn Write,
) -> Result<Descriptor, Problem> {
    let index = Index {
        manifests: entries(set, names),
    }
    .to_bytes();
    let docker_manifest = docker_manifest(set, names);
    let mut members = std::collections::BTreeMap::from([
        ("index.json".to_owned(), Member::Bytes(&index)),
        ("oci-layout".to_owned(), Member::Bytes(LAYOUT_MARKER)),
    ]);
    for (descriptor, bytes) in set.documents() {
        members.insert(blob_path(&descriptor), Member::Bytes(bytes));
    }
    if docker {
        members.insert("manifest.json".to_owned(), Member::Bytes(&docker_manifest));
    }
    for (layer, _) in set.layers() {
        members.insert(blob_path(layer), Member::Blob(layer));
    }
    let mut tar = tar::Builder::new(out);
    for folder in ["blobs/", "blobs/sha256/"] {
        let mut header = header(0, 0o755);
        header.set_entry_type(tar::EntryType::Directory);
        tar.append_data(&mut header, folder, io::empty())
            .map_err(Problem::Write)?;
    }
    for (path, member) in &members {
        match member {
            Member::Bytes(bytes) => {
                tar.append_data(&mut header(bytes.len() as u64, 0o644), path, *bytes)
                    .map_err(Problem::Write)?;
            }
            Member::Blob(descriptor) => {
                let blob = store
                    .open_blob_file(descriptor.digest)
                    .map_err(|e| Problem::Export(e.into()))?;
                let blob = fsio::Stoppable::new(blob, || set.stop.is_requested());
                tar.append_data(&mut header(descriptor.size, 0o644), path, blob)
                    .inspect_err(|error| {
                        if error.kind() == io::ErrorKind::InvalidData {
                            // What is damaged becomes a miss, so that the next export makes it again.
                            store.forget_blob(descriptor.digest);
                        }
                    })
                    .map_err(Problem::Write)?;
            }
        }
    }
    tar.into_inner()
        .and_then(Write::flush)
        .map_err(Problem::Write)?;
    Ok(set.root())
}

fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn blob_path(descriptor: &Descriptor) -> String {
    format!("blobs/sha256/{}", descriptor.digest.hex())
}

fn docker_manifest(set: &PreparedSet, names: &[Reference]) -> Vec<u8> {
    let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
    let entry = |image: &PreparedImage| {
        let layers: Vec<String> = image.manifest.layers.iter().map(blob_path).collect();
        serde_json::json!({
            "Config": blob_path(&image.manifest.config),
            "RepoTags": if tags.is_empty() { serde_json::Value::Null } else { serde_json::json!(tags) },
            "Layers": layers,
        })
    };
    canonical_json(&set.images.iter().map(entry).collect::<Vec<_>>())
}
