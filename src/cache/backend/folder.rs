//! A cache in a folder: an OCI layout, which any tool that knows layouts can copy.
//!
//! Writers hold a shared lock on the folder while they write, so that nobody removes blobs that are not referred to yet, and an
//! exclusive one on `blobs` while they replace `index.json`, so that nobody's entry is lost. Both are the kernel's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::{LARGEST_MANIFEST, Sent, Upload, whole};
use crate::cache::{CacheError, Folder};
use crate::fsio::{self, Context as _, Durability, HashingWriter, Stoppable};
use crate::image::{Layout, LayoutError};
use crate::oci::{BlobError, BlobSource, Descriptor, Digest, Document, Index, media_type};
use crate::registry::{PushBlob, Stop};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A folder that is an OCI layout or will be one.
#[derive(Clone, Debug)]
pub(in crate::cache) struct FolderPlace {
    folder: Folder,
}

impl FolderPlace {
    pub(super) fn new(folder: &Folder) -> Self {
        Self {
            folder: folder.clone(),
        }
    }

    fn path(&self) -> &Path {
        &self.folder.path
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.path().join("blobs/sha256").join(digest.hex())
    }

    fn tag(&self) -> &str {
        self.folder.tag.as_deref().unwrap_or("latest")
    }

    /// The bytes of what the tag or digest leads to.
    pub(super) fn named(&self) -> Result<Vec<u8>, CacheError> {
        if fsio::metadata(self.path().join("index.json")).is_err() {
            return Err(CacheError::Absent(self.path().display().to_string()));
        }
        let layout = Layout::open(self.path())?;
        match layout.entry(self.folder.tag.as_deref(), self.folder.digest) {
            Ok(entry) => Ok(layout.document(&entry)?),
            Err(LayoutError::NoSuchImage { .. }) => Err(CacheError::Absent(format!(
                "{}:{}",
                self.path().display(),
                self.tag()
            ))),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn is_current(&self, manifest: Digest) -> bool {
        let Ok(bytes) = self.named() else {
            return false;
        };
        // Folders are cleaned by hand: what is current has to be complete.
        let complete = |manifest: &crate::oci::Manifest| {
            let mut blobs = manifest.layers.iter().chain([&manifest.config]);
            blobs.all(|blob| self.has(blob))
        };
        Digest::of(&bytes) == manifest
            && !self.folder.reset
            && matches!(Document::parse(&bytes), Ok(Document::Manifest(m)) if complete(&m))
    }

    fn has(&self, blob: &Descriptor) -> bool {
        fsio::metadata(self.blob(blob.digest)).is_ok_and(|there| there.len() == blob.size)
    }

    pub(super) fn write(&self, upload: &Upload, stop: &Stop) -> Result<Sent, CacheError> {
        let blobs = self.path().join("blobs/sha256");
        fsio::create_dir_all(self.path())?;
        self.index()?;
        fsio::create_dir_all(&blobs)?;
        let writing = self.lock(self.path(), FlockOperation::LockShared)?;
        fsio::write_atomic(&self.path().join("oci-layout"), MARKER, Durability::Cached)?;
        let mut sent = Sent::default();
        for blob in &upload.blobs {
            let is_there = self.has(&blob.descriptor);
            if !is_there {
                self.put(blob, stop)?;
            }
            sent.count(&blob.descriptor, !is_there);
        }
        for bytes in [&upload.config, &upload.manifest] {
            fsio::write_atomic(&self.blob(Digest::of(bytes)), bytes, Durability::Cached)?;
        }
        {
            let _replacing = self.lock(&blobs, FlockOperation::LockExclusive)?;
            let index = self.with_entry(self.index()?, &upload.manifest);
            let path = self.path().join("index.json");
            fsio::write_atomic(&path, &index.to_bytes(), Durability::Synced)?;
        }
        drop(writing);
        if self.folder.reset {
            self.drop_unreferenced()?;
        }
        Ok(sent)
    }

    fn lock(&self, path: &Path, how: FlockOperation) -> Result<File, CacheError> {
        let file = fsio::open(path)?;
        flock(&file, how).context("lock", path)?;
        Ok(file)
    }

    /// Written aside and renamed, verified on the way.
    fn put(&self, blob: &PushBlob, stop: &Stop) -> Result<(), CacheError> {
        let target = self.blob(blob.descriptor.digest);
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let aside = target.with_extension(format!("{}-{number}.part", std::process::id()));
        let write = || -> Result<(), CacheError> {
            let reader = (blob.open)().context("read", &target)?;
            let mut reader = Stoppable::new(reader, || stop.is_requested());
            let mut writer = HashingWriter::new(fsio::create(&aside)?);
            std::io::copy(&mut reader, &mut writer).context("write", &aside)?;
            let (digest, _, _) = writer.finish();
            if Digest::from_bytes(digest) != blob.descriptor.digest {
                return Err(CacheError::Digest(blob.descriptor.digest));
            }
            Ok(fsio::rename(&aside, &target)?)
        };
        write().inspect_err(|_| {
            let _gone = fsio::remove_file_if_there(&aside);
        })
    }

    /// What is there. A folder with something else in it is left alone.
    fn index(&self) -> Result<Index, CacheError> {
        match fsio::read_if_there(self.path().join("index.json"))? {
            Some(bytes) => {
                Ok(Index::parse(&bytes)
                    .map_err(|_| CacheError::NotALayout(self.path().to_owned()))?)
            }
            None => {
                let names = fsio::read_dir_sorted(self.path())?;
                // What another writer, or one that was stopped, begins with.
                let begun = |name: &OsString| {
                    let name = name.to_string_lossy();
                    name == "blobs" || name == "oci-layout" || name.ends_with(".part")
                };
                match names.iter().all(begun) {
                    true => Ok(Index {
                        manifests: Vec::new(),
                    }),
                    false => Err(CacheError::NotALayout(self.path().to_owned())),
                }
            }
        }
    }

    /// The cache takes the place of the one that had its tag.
    fn with_entry(&self, mut index: Index, manifest: &[u8]) -> Index {
        let name = |entry: &Descriptor| entry.annotations.get(REF_NAME).cloned();
        index
            .manifests
            .retain(|entry| name(entry).as_deref() != Some(self.tag()));
        let mut entry = Descriptor::of(media_type::OCI_MANIFEST, manifest);
        let tag = self.tag().to_owned();
        entry.annotations.insert(REF_NAME.to_owned(), tag);
        index.manifests.push(entry);
        index
    }

    /// Removes the blobs that nothing in `index.json` leads to, once nobody writes any more. If a document cannot be read nobody
    /// knows what it refers to, and all stays.
    fn drop_unreferenced(&self) -> Result<(), CacheError> {
        let _alone = self.lock(self.path(), FlockOperation::LockExclusive)?;
        let mut used = BTreeSet::new();
        let mut todo = self.index()?.manifests;
        while let Some(entry) = todo.pop() {
            if !used.insert(entry.digest) {
                continue;
            }
            match Document::parse(&whole(self, &entry, "manifest", LARGEST_MANIFEST)?)? {
                Document::Index(index) => todo.extend(index.manifests),
                Document::Manifest(manifest) => {
                    used.insert(manifest.config.digest);
                    used.extend(manifest.layers.iter().map(|layer| layer.digest));
                }
            }
        }
        let kept: BTreeMap<String, Digest> = used.iter().map(|d| (d.hex(), *d)).collect();
        let blobs = self.path().join("blobs/sha256");
        for name in fsio::read_dir_sorted(&blobs)? {
            if name.to_str().is_none_or(|name| !kept.contains_key(name)) {
                fsio::remove_file_if_there(blobs.join(name))?;
            }
        }
        Ok(())
    }
}

impl BlobSource for FolderPlace {
    fn open_blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, BlobError> {
        match fsio::open(self.blob(blob.digest)) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) if error.is_not_found() => Err(BlobError::NotFound(blob.digest)),
            Err(error) => Err(BlobError::Unreadable {
                digest: blob.digest,
                reason: error.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::document::manifest;

    fn place(path: &Path, tag: &str, reset: bool) -> FolderPlace {
        FolderPlace::new(&Folder {
            path: path.to_owned(),
            tag: Some(tag.to_owned()),
            digest: None,
            reset,
        })
    }

    fn upload(content: &[&'static [u8]], config: &str) -> Upload {
        let blob = |bytes: &&'static [u8]| PushBlob::from_bytes(media_type::OCI_LAYER, *bytes);
        let blobs: Vec<PushBlob> = content.iter().map(blob).collect();
        let layers: Vec<&Descriptor> = blobs.iter().map(|blob| &blob.descriptor).collect();
        Upload {
            manifest: manifest("application/x", config.as_bytes(), &layers),
            config: config.as_bytes().to_vec(),
            blobs,
        }
    }

    #[test]
    fn only_what_is_missing_is_written_and_what_nobody_needs_goes() {
        let dir = tempfile::tempdir().unwrap();
        let stop = Stop::new();
        let (a, b) = (place(dir.path(), "a", false), place(dir.path(), "b", false));
        assert!(matches!(a.named(), Err(CacheError::Absent(_))));
        let first = upload(&[b"one", b"two"], "1");
        assert_eq!(a.write(&first, &stop).unwrap().blobs, 2);
        assert!(a.is_current(Digest::of(&first.manifest)));
        let second = upload(&[b"two", b"three"], "2");
        let sent = b.write(&second, &stop).unwrap();
        assert_eq!((sent.blobs, sent.bytes, sent.there), (1, 5, 1));
        assert_eq!(a.named().unwrap(), first.manifest);
        let third = upload(&[b"three"], "3");
        place(dir.path(), "a", true).write(&third, &stop).unwrap();
        for (content, is_there) in [("one", false), ("1", false), ("two", true), ("three", true)] {
            assert_eq!(a.blob(Digest::of(content)).exists(), is_there, "{content}");
        }
        assert_eq!(b.named().unwrap(), second.manifest);
    }

    #[test]
    fn many_writers_keep_each_others_entries() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = dir.path();
                scope.spawn(move || {
                    let place = place(path, &format!("t{number}"), number % 2 == 0);
                    for round in 0..5 {
                        let config = format!("{number} {round}");
                        place
                            .write(&upload(&[b"shared"], &config), &Stop::new())
                            .unwrap();
                    }
                });
            }
        });
        for number in 0..8 {
            let place = place(dir.path(), &format!("t{number}"), false);
            let expected = upload(&[b"shared"], &format!("{number} 4")).manifest;
            assert!(place.is_current(Digest::of(&expected)), "{number}");
        }
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let refused = place(dir.path(), "a", true).write(&upload(&[], "1"), &Stop::new());
        assert!(
            matches!(refused, Err(CacheError::NotALayout(_))),
            "{refused:?}"
        );
        assert_eq!(fsio::read_dir_sorted(dir.path()).unwrap(), ["thesis.tex"]);
    }
}
