//! A folder of a cache mount to a tree and packs: each byte is read once, and only chunks that are new are packed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use fastcdc::v2020::StreamCDC;

use super::CacheError;
use super::document::{PACK_TYPE, SavedMount, TREE_TYPE};
use super::tree::{CHUNK, Chunk, Decoded, Tree};
use crate::fsio::{self, Context as _, HashingWriter};
use crate::layer::{Entry, EntryKind, FileState, Folder, Listed, Privileges};
use crate::oci::{Descriptor, Digest};
use crate::registry::Stop;

/// Bytes that a pack has before the next one is begun.
const PACK: u32 = 16 << 20;
const ZSTD_LEVEL: i32 = 3;
/// How often a file is read that changes meanwhile.
const ATTEMPTS: u32 = 3;
/// Packs that are small, or of which little is in use, may be so many; then what is in use of them is packed anew.
const MOST_SMALL: usize = 8;

/// Packs with the files that hold them.
type NewPacks = Vec<(Descriptor, PathBuf)>;

/// A folder as it was when it was read.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) saved: SavedMount,
    /// The tree's bytes; none if it is what it was before.
    pub(super) tree: Option<Vec<u8>>,
    /// Packs that are new.
    pub(super) packs: NewPacks,
    pub(super) left_out: LeftOut,
}

/// Files that are not in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// That changed or vanished each time they were read, or cannot be read.
    pub(super) changing: usize,
    /// That are above the limit, and their bytes.
    pub(super) above: (usize, u64),
}

/// Reads a folder. `before` is what the place has of it; new packs are written to `scratch`.
pub(super) fn snapshot(
    path: &Path,
    privileges: Privileges,
    max: Option<u64>,
    before: Option<(&SavedMount, &Decoded)>,
    (scratch, stop): (&Path, &Stop),
) -> Result<Snapshot, CacheError> {
    let mut folder = Folder::open(path, privileges)?;
    let mut listed = folder.list()?;
    let above = max
        .map(|max| leave_out(&mut listed, max))
        .unwrap_or_default();
    if let Some((saved, tree)) = before
        && is_same(&listed, tree)
    {
        return Ok(Snapshot {
            saved: saved.clone(),
            tree: None,
            packs: Vec::new(),
            left_out: LeftOut { changing: 0, above },
        });
    }
    let before = before.map(|(saved, tree)| (saved, tree.chunks.as_slice()));
    let mut packer = Packer::new(before, scratch);
    let mut content = Content {
        folder: &mut folder,
        path,
        stop,
        listed,
        next: 0,
        open: None,
        offset: 0,
        attempts: 0,
        gone: Vec::new(),
    };
    let [least, average, most] = CHUNK;
    let mut chunks = Vec::new();
    for chunk in StreamCDC::new(&mut content, least, average, most) {
        let chunk = chunk.map_err(|error| CacheError::Read {
            what: "the folder of a cache mount",
            source: error.into(),
        })?;
        chunks.push(packer.place(&chunk.data)?);
    }
    let Content { listed, gone, .. } = content;
    let changing = gone.len();
    let (packs, new) = packer.finish()?;
    let tree = Tree::new(without(listed, &gone), chunks);
    let bytes = tree.encode()?;
    Ok(Snapshot {
        saved: SavedMount {
            bytes: tree.bytes(),
            tree: Descriptor::of(TREE_TYPE, &bytes),
            packs,
        },
        tree: Some(bytes),
        packs: new,
        left_out: LeftOut { changing, above },
    })
}

/// Whether a folder is what it was, by all that can be told without reading its files: their sizes and times too, as `rsync` and
/// `make` do.
fn is_same(listed: &[Listed], before: &Decoded) -> bool {
    let entries = before.toc.entries();
    let same_kind = |now: &EntryKind, then: &EntryKind| match (now, then) {
        (EntryKind::File { size: now, .. }, EntryKind::File { size: then, .. }) => now == then,
        (now, then) => now == then,
    };
    let same = |((now, nanos), then): ((&Entry, u32), (&Entry, &u32))| {
        let (old, old_nanos) = then;
        let metadata = |entry: &Entry| (entry.mode, entry.uid, entry.gid, entry.mtime);
        now.path == old.path
            && same_kind(&now.kind, &old.kind)
            && metadata(now) == metadata(old)
            && nanos == *old_nanos
            && now.xattrs == old.xattrs
    };
    let now = listed.iter().map(|one| (&one.entry, one.nanos));
    listed.len() == entries.len() && now.zip(entries.iter().zip(&before.nanos)).all(same)
}

/// Leaves out what is large and has not changed for long until the rest is below a limit. Gives how many files went, and their
/// bytes.
fn leave_out(listed: &mut Vec<Listed>, max: u64) -> (usize, u64) {
    let size = |one: &Listed| match one.entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    };
    let total: u64 = listed.iter().map(size).fold(0, u64::saturating_add);
    let Some(mut over) = total.checked_sub(max).filter(|over| *over > 0) else {
        return (0, 0);
    };
    // Age is counted from the youngest file: when this is done makes no difference.
    let youngest = listed.iter().map(|one| one.entry.mtime).max().unwrap_or(0);
    let weight = |one: &Listed| {
        let age = youngest.saturating_sub(one.entry.mtime).unsigned_abs() + 1;
        u128::from(size(one)) * u128::from(age)
    };
    let mut order: Vec<usize> = (0..listed.len())
        .filter(|at| size(&listed[*at]) > 0)
        .collect();
    order.sort_by_key(|at| std::cmp::Reverse((weight(&listed[*at]), *at)));
    let (mut gone, mut bytes) = (Vec::new(), 0_u64);
    for at in order {
        if over == 0 {
            break;
        }
        over = over.saturating_sub(size(&listed[at]));
        bytes = bytes.saturating_add(size(&listed[at]));
        gone.push(at);
    }
    let count = gone.len();
    gone.sort_unstable();
    *listed = without(std::mem::take(listed), &gone);
    (count, bytes)
}

/// Without the entries at these places, and the hard links to them.
fn without(listed: Vec<Listed>, gone: &[usize]) -> Vec<Listed> {
    if gone.is_empty() {
        return listed;
    }
    let paths: std::collections::BTreeSet<PathBuf> = gone
        .iter()
        .filter_map(|at| listed.get(*at).map(|one| one.entry.path.clone()))
        .collect();
    let stays = |one: &Listed| match &one.entry.kind {
        EntryKind::HardLink { target } => !paths.contains(target),
        _ => !paths.contains(&one.entry.path),
    };
    listed.into_iter().filter(stays).collect()
}

/// The content of all files, one after the other.
struct Content<'a> {
    folder: &'a mut Folder,
    /// For messages.
    path: &'a Path,
    stop: &'a Stop,
    listed: Vec<Listed>,
    /// The entry that comes next.
    next: usize,
    open: Option<Open>,
    /// Bytes handed out.
    offset: u64,
    attempts: u32,
    /// Entries that could not be read, in order.
    gone: Vec<usize>,
}

/// The file that is being read: the entry before `next`.
struct Open {
    file: File,
    state: FileState,
    start: u64,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_requested() {
            return Err(io::Error::other("stopped"));
        }
        loop {
            let Some(open) = &mut self.open else {
                if !self.open_next() {
                    return Ok(0);
                }
                continue;
            };
            let most = usize::try_from(open.left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match open.file.read(&mut buffer[..most]) {
                Ok(0) => self.close(),
                Ok(count) => {
                    open.left -= count as u64;
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What cannot be read is left out, as what changes.
                Err(_) => {
                    self.attempts = ATTEMPTS;
                    self.close();
                }
            }
        }
    }
}

impl Content<'_> {
    /// Opens the next file; `false` if there is none.
    fn open_next(&mut self) -> bool {
        while let Some(one) = self.listed.get(self.next) {
            let at = self.next;
            self.next += 1;
            let EntryKind::File { .. } = one.entry.kind else {
                continue;
            };
            let path = one.entry.path.clone();
            let shown = self.path.join(&path);
            let opened = self.folder.file(&path).and_then(|file| {
                let state = FileState::of(&file, &shown)?;
                Ok((file, state))
            });
            match opened {
                Ok((file, state)) => {
                    self.open = Some(Open {
                        left: state.size,
                        start: self.offset,
                        file,
                        state,
                    });
                    return true;
                }
                Err(_) => self.give_up(at),
            }
        }
        false
    }

    fn give_up(&mut self, at: usize) {
        self.gone.push(at);
        self.attempts = 0;
    }

    /// Ends a file: it counts if it is still what it was. Else what was read of it belongs to nobody, and it is read once more.
    fn close(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let at = self.next - 1;
        let shown = self.path.join(&self.listed[at].entry.path);
        let is_longer = open.left == 0 && matches!(open.file.read(&mut [0]), Ok(1..));
        let is_same = FileState::of(&open.file, &shown).is_ok_and(|now| now == open.state);
        if open.left == 0 && !is_longer && is_same {
            let one = &mut self.listed[at];
            one.entry.kind = EntryKind::File {
                size: open.state.size,
                digest: Digest::from_bytes([0; 32]),
                offset: open.start,
                sparse: false,
            };
            (one.entry.mtime, one.nanos) = open.state.modified();
            self.attempts = 0;
            return;
        }
        self.attempts += 1;
        match self.attempts < ATTEMPTS {
            true => self.next = at,
            false => self.give_up(at),
        }
    }
}

/// Puts chunks into packs, each once.
struct Packer<'a> {
    scratch: &'a Path,
    /// Chunks that the place has, by digest: where they are in its packs.
    there: BTreeMap<Digest, (Descriptor, Chunk)>,
    /// Packs in the order in which the tree will count them; new ones get their descriptor when they are finished.
    packs: Vec<Option<Descriptor>>,
    numbers: BTreeMap<Digest, u32>,
    placed: BTreeMap<Digest, Chunk>,
    current: Option<Current>,
    new: NewPacks,
}

/// The pack that is being written.
struct Current {
    number: u32,
    path: PathBuf,
    file: HashingWriter<io::BufWriter<File>>,
    bytes: u32,
}

impl<'a> Packer<'a> {
    fn new(before: Option<(&SavedMount, &[Chunk])>, scratch: &'a Path) -> Self {
        Self {
            scratch,
            there: before
                .map(|(saved, chunks)| reusable(saved, chunks))
                .unwrap_or_default(),
            packs: Vec::new(),
            numbers: BTreeMap::new(),
            placed: BTreeMap::new(),
            current: None,
            new: Vec::new(),
        }
    }

    /// Where a chunk is or will be.
    fn place(&mut self, content: &[u8]) -> Result<Chunk, CacheError> {
        let digest = Digest::of(content);
        if let Some(placed) = self.placed.get(&digest) {
            return Ok(*placed);
        }
        let chunk = match self.there.get(&digest) {
            Some((pack, chunk)) => {
                let number = match self.numbers.get(&pack.digest) {
                    Some(number) => *number,
                    None => {
                        let number = number_of(self.packs.len());
                        self.packs.push(Some(pack.clone()));
                        self.numbers.insert(pack.digest, number);
                        number
                    }
                };
                Chunk {
                    pack: number,
                    ..*chunk
                }
            }
            None => self.append(digest, content)?,
        };
        self.placed.insert(digest, chunk);
        Ok(chunk)
    }

    fn append(&mut self, digest: Digest, content: &[u8]) -> Result<Chunk, CacheError> {
        let packed =
            zstd::bulk::compress(content, ZSTD_LEVEL).map_err(|source| CacheError::Read {
                what: "a chunk",
                source,
            })?;
        let current = match &mut self.current {
            Some(current) => current,
            none => {
                let number = number_of(self.packs.len());
                self.packs.push(None);
                let path = self.scratch.join(format!("pack-{number}"));
                let file = HashingWriter::new(io::BufWriter::new(fsio::create(&path)?));
                none.insert(Current {
                    number,
                    path,
                    file,
                    bytes: 0,
                })
            }
        };
        current
            .file
            .write_all(&packed)
            .context("write", &current.path)?;
        // Both are at most a little more than a pack.
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let packed = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        let chunk = Chunk {
            digest,
            length,
            pack: current.number,
            start: current.bytes,
            packed,
        };
        current.bytes += packed;
        if current.bytes >= PACK {
            self.end_pack()?;
        }
        Ok(chunk)
    }

    fn end_pack(&mut self) -> Result<(), CacheError> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        current.file.flush().context("write", &current.path)?;
        let (digest, size, _) = current.file.finish();
        let pack = Descriptor::new(PACK_TYPE, Digest::from_bytes(digest), size);
        self.packs[current.number as usize] = Some(pack.clone());
        self.new.push((pack, current.path));
        Ok(())
    }

    /// All packs as the tree counts them, and those of them that are new.
    fn finish(mut self) -> Result<(Vec<Descriptor>, NewPacks), CacheError> {
        self.end_pack()?;
        Ok((self.packs.into_iter().flatten().collect(), self.new))
    }
}

fn number_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The chunks of packs that are worth keeping. Where less than half of a pack is in use, or there are many small ones, what is in
/// use of them is packed anew.
fn reusable(saved: &SavedMount, known: &[Chunk]) -> BTreeMap<Digest, (Descriptor, Chunk)> {
    let mut chunks: BTreeMap<Digest, Chunk> = BTreeMap::new();
    for chunk in known {
        chunks.insert(chunk.digest, *chunk);
    }
    let mut used = vec![0_u64; saved.packs.len()];
    for chunk in chunks.values() {
        if let Some(used) = used.get_mut(chunk.pack as usize) {
            *used += u64::from(chunk.packed);
        }
    }
    let small = |pack: &Descriptor| pack.size < u64::from(PACK / 4);
    let many_small = saved.packs.iter().filter(|pack| small(pack)).count() > MOST_SMALL;
    let keeps =
        |pack: &Descriptor, used: u64| 2 * used >= pack.size && !(many_small && small(pack));
    let keep = |chunk: Chunk| {
        let at = chunk.pack as usize;
        let pack = saved.packs.get(at)?;
        keeps(pack, used[at]).then(|| (chunk.digest, (pack.clone(), chunk)))
    };
    chunks.into_values().filter_map(keep).collect()
}
