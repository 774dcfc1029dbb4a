//! A tree and its packs to a folder: packs are fetched at the same time, each is needed once, in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::super::backend::whole;
use super::CacheError;
use super::document::SavedMount;
use super::tree::{CHUNK, Chunk, Decoded, Tree};
use crate::fsio::{self, Context as _, HashingWriter};
use crate::layer::{DirectoryWriter, EntryKind, Folder, Privileges};
use crate::oci::{BlobSource, Descriptor, Digest};
use crate::registry::Stop;

/// The largest tree that is fetched.
const LARGEST_TREE: u64 = 64 << 20;
/// The largest pack that is fetched; we write none of more than 17 MiB.
const LARGEST_PACK: u64 = 64 << 20;
/// Packs that are fetched at the same time.
const PARALLEL: usize = 4;

/// Fetches the tree of a folder.
pub(super) fn tree_bytes(
    source: &dyn BlobSource,
    saved: &SavedMount,
) -> Result<Vec<u8>, CacheError> {
    whole(source, &saved.tree, "list of a folder", LARGEST_TREE)
}

/// Makes a folder what it was when it was saved; gives the bytes that were fetched. `folder` is not there yet. Packs are kept in
/// `scratch` meanwhile.
pub(super) fn restore(
    source: &dyn BlobSource,
    (id, saved): (&str, &SavedMount),
    privileges: Privileges,
    folder: &Path,
    (scratch, stop): (&Path, &Stop),
) -> Result<u64, CacheError> {
    let bytes = tree_bytes(source, saved)?;
    let fetched = bytes.len() as u64;
    let tree = Tree::decode(&bytes, id)?;
    drop(bytes);
    if tree.toc.content_size() > saved.bytes {
        return Err(CacheError::Mount {
            id: id.to_owned(),
            reason: "it is larger than it says".to_owned(),
        });
    }
    let needed = needed(saved, &tree, id)?;
    let packs = Packs {
        source,
        scratch,
        needed: &needed,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        arrived: Mutex::new(BTreeMap::new()),
        changed: Condvar::new(),
    };
    fsio::create_dir(folder)?;
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(needed.len()) {
            scope.spawn(|| packs.fetch_all());
        }
        let mut stream = Stream {
            stop,
            packs: &packs,
            chunks: tree.chunks.iter(),
            chunk: io::Cursor::default(),
            position: 0,
            files: BTreeMap::new(),
            failure: None,
        };
        let written = (|| -> Result<(), CacheError> {
            let mut writer = DirectoryWriter::new(folder, privileges)?;
            for entry in tree.toc.entries() {
                match &entry.kind {
                    EntryKind::File { size, offset, .. } => {
                        let failed = |source| CacheError::Read {
                            what: "the content of a folder",
                            source,
                        };
                        stream.skip_to(*offset).map_err(failed)?;
                        let mut content = stream.by_ref().take(*size);
                        writer.put(&entry.path, entry, Some(&mut content))?;
                    }
                    _ => writer.put(&entry.path, entry, None)?,
                }
            }
            writer.finish(&tree.toc)?;
            let entries = tree.toc.entries().iter().zip(tree.nanos.iter().copied());
            let is_name = |kind: &EntryKind| matches!(kind, EntryKind::HardLink { .. });
            let own = entries.rev().filter(|(entry, _)| !is_name(&entry.kind));
            Ok(Folder::open(folder, privileges)?.set_times(own)?)
        })();
        packs.stop.store(true, Ordering::Relaxed);
        // What the content's source said tells more than that there was no content.
        match stream.failure.take() {
            Some(failure) => Err(failure),
            None => written,
        }
    })?;
    let sizes = needed.iter().map(|(_, pack)| pack.size);
    Ok(sizes.fold(fetched, u64::saturating_add))
}

/// The packs that the tree takes chunks from, in the order in which they are needed.
fn needed<'a>(
    saved: &'a SavedMount,
    tree: &Decoded,
    id: &str,
) -> Result<Vec<(u32, &'a Descriptor)>, CacheError> {
    let wrong = |reason: &str| CacheError::Mount {
        id: id.to_owned(),
        reason: reason.to_owned(),
    };
    let mut seen = vec![false; saved.packs.len()];
    let mut needed = Vec::new();
    for chunk in &tree.chunks {
        let at = chunk.pack as usize;
        let pack = saved
            .packs
            .get(at)
            .ok_or_else(|| wrong("it lacks a part"))?;
        if pack.size > LARGEST_PACK {
            return Err(wrong("a part is too large"));
        }
        if !std::mem::replace(&mut seen[at], true) {
            needed.push((chunk.pack, pack));
        }
    }
    Ok(needed)
}

/// Packs on their way.
struct Packs<'a> {
    source: &'a dyn BlobSource,
    scratch: &'a Path,
    needed: &'a [(u32, &'a Descriptor)],
    next: AtomicUsize,
    stop: AtomicBool,
    arrived: Mutex<BTreeMap<u32, Result<PathBuf, CacheError>>>,
    changed: Condvar,
}

impl Packs<'_> {
    fn fetch_all(&self) {
        while let Some((number, pack)) = self.needed.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let result = self.fetch(*number, pack);
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.insert(*number, result);
            self.changed.notify_all();
        }
    }

    fn fetch(&self, number: u32, pack: &Descriptor) -> Result<PathBuf, CacheError> {
        let path = self.scratch.join(format!("pack-{number}"));
        let mut writer = HashingWriter::new(fsio::create(&path)?);
        let reader = self.source.open_blob(pack)?;
        let copied = io::copy(&mut reader.take(pack.size + 1), &mut writer);
        copied.context("write", &path)?;
        writer.flush().context("write", &path)?;
        let (digest, _, _) = writer.finish();
        match Digest::from_bytes(digest) == pack.digest {
            true => Ok(path),
            false => Err(CacheError::Digest(pack.digest)),
        }
    }

    /// Waits for a pack. Each is waited for once.
    fn wait(&self, number: u32) -> Result<PathBuf, CacheError> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = arrived.remove(&number) {
                return result;
            }
            let waited = self.changed.wait(arrived);
            arrived = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The stream, from its chunks.
struct Stream<'a> {
    stop: &'a Stop,
    packs: &'a Packs<'a>,
    chunks: std::slice::Iter<'a, Chunk>,
    chunk: io::Cursor<Vec<u8>>,
    /// Bytes handed out.
    position: u64,
    /// Packs that are here.
    files: BTreeMap<u32, File>,
    failure: Option<CacheError>,
}

impl Stream<'_> {
    /// Passes over what belongs to nobody.
    fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        let gap = offset.saturating_sub(self.position);
        let skipped = io::copy(&mut self.by_ref().take(gap), &mut io::sink())?;
        match skipped == gap {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn load(&mut self, chunk: &Chunk) -> Result<Vec<u8>, CacheError> {
        let failed = |source| CacheError::Read {
            what: "a chunk",
            source,
        };
        if !self.files.contains_key(&chunk.pack) {
            let path = self.packs.wait(chunk.pack)?;
            self.files.insert(chunk.pack, fsio::open(path)?);
        }
        // Bounded by what a chunk may be, however large it says it is.
        let most = 2 * CHUNK[2];
        let size = (chunk.packed as usize).min(most);
        let mut packed = vec![0; size];
        if let Some(file) = self.files.get(&chunk.pack) {
            let start = u64::from(chunk.start);
            file.read_exact_at(&mut packed, start).map_err(failed)?;
        }
        let content = zstd::bulk::decompress(&packed, chunk.length as usize).map_err(failed)?;
        match Digest::of(&content) == chunk.digest && content.len() == chunk.length as usize {
            true => Ok(content),
            false => Err(CacheError::Digest(chunk.digest)),
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_requested() {
            return Err(io::Error::other("stopped"));
        }
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                self.position += count as u64;
                return Ok(count);
            }
            let Some(chunk) = self.chunks.next() else {
                return Ok(0);
            };
            match self.load(chunk) {
                Ok(content) => self.chunk = io::Cursor::new(content),
                Err(error) => {
                    self.failure = Some(error);
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
    }
}
