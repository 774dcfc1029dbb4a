//! The digest of what a COPY takes from a context: names, types, modes, link targets, devices, attributes, content.
//!
//! Not part of it: times and owners, which a copy sets or which say nothing about content, and where in the context
//! the files are. Entries go through in bounded batches; files are read in `reading`.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::listing::ListingBuilder;
use super::reading::{Read, Reading};
use super::{ContextError, Entry, EntryKind, Listing, LocalContext, PatternList, StatIndex};
use crate::oci::{Digest, Hasher};

/// Entries that are hashed together.
const BATCH: usize = 1024;

/// So many batches the walk may be ahead of the hashing; with [`BATCH`] this bounds the memory.
const AHEAD: usize = 4;

/// Entries with their names, or why there are no more.
type Batch = Result<Vec<(PathBuf, Entry)>, ContextError>;

/// How much of a source is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What is in a directory, without the directory; for anything else, itself. What COPY does.
    Contents,
    /// The entry and everything below it.
    Whole,
    /// The entry and nothing below it: a directory on the way to a source of `COPY --parents`.
    Alone,
}

/// One source of a COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What is there.
    pub entry: Entry,
    /// What it is called in the digest: the base name for a file, empty for a directory whose contents are taken,
    /// the path below the destination for `COPY --parents`.
    pub name: PathBuf,
    /// How much of it.
    pub reach: Reach,
}

impl Source {
    /// The source of an ordinary COPY: a file by the last component of `named`, or the contents of a directory.
    #[must_use]
    pub fn new(entry: Entry, named: &Path) -> Self {
        let name = match entry.is_directory() {
            true => PathBuf::new(),
            false => named.file_name().unwrap_or_default().into(),
        };
        Self {
            entry,
            name,
            reach: Reach::Contents,
        }
    }
}

/// Everything that one COPY, ADD or bind mount takes from a context.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// In the order of the instruction; the matches of a wildcard sorted.
    pub sources: Vec<Source>,
    /// `--exclude`, relative to each source directory whose contents are taken; relative to the root of the names where
    /// sources keep theirs.
    pub exclude: PatternList,
}

/// The digest of a selection and what it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeDigest {
    /// The digest.
    pub digest: Digest,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// Hashes a selection, reading only files that `index` does not know, on up to `threads` threads. Another thread walks
/// ahead.
///
/// # Errors
/// A file or directory that cannot be read.
pub fn tree_digest(
    context: &LocalContext,
    selection: &Selection,
    index: &StatIndex,
    threads: usize,
) -> Result<TreeDigest, ContextError> {
    let reading = Reading { context, index };
    Ok(fold(reading, selection, threads, None)?.0)
}

/// The same with the paths, to tell later which of them changed.
///
/// # Errors
/// A file or directory that cannot be read.
pub fn listed_tree_digest(
    context: &LocalContext,
    selection: &Selection,
    index: &StatIndex,
    threads: usize,
) -> Result<(TreeDigest, Listing), ContextError> {
    let reading = Reading { context, index };
    let listing = Some(ListingBuilder::default());
    let (digest, listing) = fold(reading, selection, threads, listing)?;
    Ok((digest, listing.unwrap_or_default().finish()))
}

fn fold(
    reading: Reading<'_>,
    selection: &Selection,
    threads: usize,
    listing: Option<ListingBuilder>,
) -> Result<(TreeDigest, Option<ListingBuilder>), ContextError> {
    let mut folding = Folding {
        reading,
        threads,
        tree: Hasher::new("context tree v1"),
        listing,
        entries: 0,
        bytes: 0,
    };
    for source in &selection.sources {
        let root = &source.entry;
        if source.reach != Reach::Contents || !root.is_directory() {
            folding.fold(vec![(source.name.clone(), root.clone())])?;
        }
        if source.reach != Reach::Alone && root.is_directory() {
            folding.fold_below(source, &selection.exclude)?;
        }
        folding.tree.field("end of source");
    }
    let digest = TreeDigest {
        digest: folding.tree.finish(),
        entries: folding.entries,
        bytes: folding.bytes,
    };
    Ok((digest, folding.listing))
}

/// Entries on their way into the digest.
struct Folding<'a> {
    reading: Reading<'a>,
    threads: usize,
    tree: Hasher,
    listing: Option<ListingBuilder>,
    entries: u64,
    bytes: u64,
}

impl Folding<'_> {
    /// Adds everything below a directory.
    fn fold_below(&mut self, source: &Source, exclude: &PatternList) -> Result<(), ContextError> {
        let context = self.reading.context;
        std::thread::scope(|scope| {
            let (sender, batches) = sync_channel(AHEAD);
            // Looking at files takes longer than hashing what is known of them.
            scope.spawn(move || walk(context, source, exclude, &sender));
            batches.into_iter().try_for_each(|batch| self.fold(batch?))
        })
    }

    /// Hashes a batch and adds it to the digest in order.
    fn fold(&mut self, batch: Vec<(PathBuf, Entry)>) -> Result<(), ContextError> {
        self.reading.context.go_on()?;
        let contents = self.reading.contents(&batch, self.threads);
        for ((name, entry), content) in batch.into_iter().zip(contents) {
            let digest = entry_digest(&entry, &content?);
            self.tree.field(name.as_os_str().as_encoded_bytes());
            self.tree.field(digest.as_bytes());
            if let Some(listing) = &mut self.listing {
                listing.add(&entry.path, entry.is_directory(), &digest);
            }
            self.entries += 1;
            self.bytes += entry.size();
        }
        Ok(())
    }
}

/// Sends what is below a directory, until nobody listens any more.
fn walk(
    context: &LocalContext,
    source: &Source,
    exclude: &PatternList,
    batches: &SyncSender<Batch>,
) {
    let root = &source.entry.path;
    let mut walk = context.walk_as(&source.entry, exclude, &source.name);
    let mut named = || {
        walk.next()
            .map(|entry| entry.map(|entry| (source.name.join(entry.path_below(root)), entry)))
    };
    loop {
        let batch: Batch = std::iter::from_fn(&mut named).take(BATCH).collect();
        let last = batch.as_ref().map_or(true, |batch| batch.len() < BATCH);
        if batches.send(batch).is_err() || last {
            return;
        }
    }
}

/// The digest of everything about an entry but its name, times and owner.
fn entry_digest(entry: &Entry, read: &Read) -> Digest {
    let mut hasher = Hasher::new("context entry v1");
    hasher.number(u64::from(entry.mode));
    let mut device = |kind: &str, major: u32, minor: u32| {
        hasher.field(kind);
        hasher.number(u64::from(major));
        hasher.number(u64::from(minor));
    };
    match &entry.kind {
        EntryKind::CharDevice { major, minor } => device("character device", *major, *minor),
        EntryKind::BlockDevice { major, minor } => device("block device", *major, *minor),
        EntryKind::Directory => hasher.field("directory"),
        EntryKind::Fifo => hasher.field("fifo"),
        EntryKind::Symlink { target } => {
            hasher.field("symlink");
            hasher.field(target.as_os_str().as_encoded_bytes());
        }
        EntryKind::File { .. } => {
            hasher.field("file");
            if let Some(content) = &read.content {
                hasher.field(content.as_bytes());
            }
        }
    }
    for (name, value) in &read.xattrs {
        hasher.field(name);
        hasher.field(value);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::super::fixture::{context, later, no_index, now, put, tree};
    use super::super::stat_index::Known;
    use super::*;
    use crate::fsio;

    fn select(context: &LocalContext, paths: &[&str], exclude: &[&str]) -> Selection {
        let source = |path: &&str| {
            let path = Path::new(*path);
            Source::new(context.lookup(path).unwrap(), path)
        };
        Selection {
            sources: paths.iter().map(source).collect(),
            exclude: PatternList::new(exclude).unwrap(),
        }
    }

    fn digest(root: &Path, rules: &str, paths: &[&str], exclude: &[&str]) -> TreeDigest {
        let context = context(root, rules);
        tree_digest(&context, &select(&context, paths, exclude), &no_index(), 2).unwrap()
    }

    #[test]
    fn the_same_content_elsewhere_is_the_same() {
        let dir = tree(&[
            ("a/x", "1"),
            ("a/sub/y", "2"),
            ("b/deep/x", "1"),
            ("b/deep/sub/y", "2"),
            ("b/deep/ignored", "3"),
            ("link", "->b/deep"),
        ]);
        let of = |path: &str| digest(dir.path(), "**/ignored", &[path], &[]).digest;
        assert_eq!(of("a"), of("b/deep"));
        assert_eq!(of("a"), of("link"));
        assert_eq!(of("a/x"), of("b/deep/x"));
        assert_ne!(of("a"), of("b"));
        assert_ne!(of("a/x"), of("a/sub/y"));
        let excluding = digest(dir.path(), "", &["b/deep"], &["ign*"]);
        assert_eq!(excluding.digest, of("a"));
        assert_eq!((excluding.entries, excluding.bytes), (3, 2));
    }

    #[test]
    fn what_is_copied_counts_and_nothing_else() {
        let of = |change: &dyn Fn(&Path)| {
            let dir = tree(&[("d/x", "1"), ("d/y", "1"), ("d/e/", ""), ("d/l", "->x")]);
            change(dir.path());
            digest(dir.path(), "", &["d"], &[]).digest
        };
        let base = of(&|_| {});
        let same: &[&dyn Fn(&Path)] = &[
            &|root| put(root, "other", ""),
            &|root| {
                let times = rustix::fs::Timestamps {
                    last_access: rustix::fs::Timespec {
                        tv_sec: 1,
                        tv_nsec: 0,
                    },
                    last_modification: rustix::fs::Timespec {
                        tv_sec: 1,
                        tv_nsec: 0,
                    },
                };
                let follow = rustix::fs::AtFlags::empty();
                rustix::fs::utimensat(rustix::fs::CWD, root.join("d/x"), &times, follow).unwrap();
            },
            &|root| fsio::set_mode(root.join("d"), 0o700).unwrap(),
        ];
        for change in same {
            assert_eq!(of(*change), base);
        }
        let different: &[&dyn Fn(&Path)] = &[
            &|root| put(root, "d/x", "2"),
            &|root| put(root, "d/z", ""),
            &|root| put(root, "d/f/", ""),
            &|root| fsio::rename(root.join("d/x"), root.join("d/w")).unwrap(),
            &|root| fsio::remove_file(root.join("d/y")).unwrap(),
            &|root| fsio::set_mode(root.join("d/x"), 0o4644).unwrap(),
            &|root| fsio::set_mode(root.join("d/e"), 0o700).unwrap(),
            &|root| {
                fsio::remove_file(root.join("d/l")).unwrap();
                put(root, "d/l", "->y");
            },
            &|root| {
                fsio::remove_file(root.join("d/l")).unwrap();
                put(root, "d/l", "x");
            },
        ];
        let mut seen = vec![base];
        for change in different {
            let digest = of(*change);
            assert!(
                !seen.contains(&digest),
                "change {} was not seen",
                seen.len()
            );
            seen.push(digest);
        }
    }

    #[test]
    fn sources_do_not_run_together() {
        let dir = tree(&[
            ("a/x", ""),
            ("a/y", ""),
            ("b/y", ""),
            ("c/", ""),
            ("d/x", ""),
        ]);
        let of = |paths: &[&str]| digest(dir.path(), "", paths, &[]).digest;
        assert_ne!(of(&["a", "c"]), of(&["d", "b"]));
        assert_ne!(of(&["d", "b"]), of(&["b", "d"]));
        assert_ne!(of(&["a"]), of(&["d", "b"]));
        // The same as two files named, because a directory's contents are all that is copied.
        assert_eq!(of(&["d", "b"]), of(&["d/x", "b/y"]));
    }

    #[test]
    fn threads_and_the_index_make_no_difference() {
        let dir = tree(&[]);
        for number in 0..5000 {
            put(
                dir.path(),
                &format!("{}/f{number}", number % 17),
                &format!("{}", number % 100),
            );
        }
        let context = context(dir.path(), "3");
        let selection = select(&context, &[""], &["**/*9"]);
        let index = StatIndex::empty(context.identity(), later());
        let first = tree_digest(&context, &selection, &index, 1).unwrap();
        for threads in [0, 1, 4] {
            for index in [&index, &no_index()] {
                assert_eq!(
                    tree_digest(&context, &selection, index, threads).unwrap(),
                    first
                );
            }
        }
        assert_eq!(index.len(), usize::try_from(first.entries).unwrap());
        let listed = listed_tree_digest(&context, &selection, &index, 1).unwrap();
        assert_eq!(listed.0, first);
        assert_eq!(listed.1.paths().count(), index.len());
    }

    #[test]
    fn an_unchanged_file_is_not_read_and_a_changed_one_is() {
        let dir = tree(&[("x", "old content"), ("y", "y")]);
        let context = context(dir.path(), "");
        let selection = || select(&context, &[""], &[]);
        let store = tree(&[]);
        let saved = store.path().join("index");
        let index = StatIndex::empty(context.identity(), later());
        let (first, listing) = listed_tree_digest(&context, &selection(), &index, 1).unwrap();
        index.save(&saved).unwrap();

        let load = || StatIndex::load(&saved, context.identity(), later());
        let again = load();
        assert_eq!(
            tree_digest(&context, &selection(), &again, 1).unwrap(),
            first
        );
        assert_eq!(again.len(), 2, "nothing was read, so nothing is new");
        // What the index says is believed: that is how we know that nothing was read.
        let lying = StatIndex::empty(context.identity(), later());
        for name in ["x", "y"] {
            let stamp = context.lookup(Path::new(name)).unwrap().stamp;
            let content = Digest::of("lie");
            lying.put(
                &stamp,
                Known {
                    content,
                    has_xattrs: false,
                },
            );
        }
        assert_ne!(
            tree_digest(&context, &selection(), &lying, 1)
                .unwrap()
                .digest,
            first.digest
        );

        put(dir.path(), "x", "new content");
        let (_, changed) = listed_tree_digest(&context, &selection(), &load(), 1).unwrap();
        let changes = listing.changes_to(&changed, 3).unwrap();
        assert_eq!(changes.to_string(), "1 of 2 files changed: x");
    }

    #[test]
    fn a_change_that_leaves_the_times_alone_is_noticed() {
        let dir = tree(&[("x", "one")]);
        let context = context(dir.path(), "");
        let path = dir.path().join("x");
        // The run begins right after the file was written: its times do not tell it from a change made just after.
        let index = StatIndex::empty(context.identity(), now());
        let selection = select(&context, &["x"], &[]);
        let first = tree_digest(&context, &selection, &index, 1).unwrap();

        let before = fsio::metadata(&path).unwrap();
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"two").unwrap();
        let time = before.modified().unwrap();
        file.set_modified(time).unwrap();
        let after = fsio::metadata(&path).unwrap();
        assert_eq!((before.size(), before.ino()), (after.size(), after.ino()));

        // Even with the stamp of before, as if the change time were too coarse to differ.
        let second = tree_digest(&context, &selection, &index, 1).unwrap();
        assert_ne!(first.digest, second.digest);
        assert!(index.is_empty());
    }

    #[test]
    fn reach_says_how_much_is_taken() {
        let dir = tree(&[("d/x", "")]);
        let context = context(dir.path(), "");
        let of = |name: &str, reach| {
            let entry = context.lookup(Path::new("d")).unwrap();
            let source = Source {
                entry,
                name: name.into(),
                reach,
            };
            let selection = Selection {
                sources: vec![source],
                ..Selection::default()
            };
            tree_digest(&context, &selection, &no_index(), 1).unwrap()
        };
        for (reach, entries) in [(Reach::Contents, 1), (Reach::Whole, 2), (Reach::Alone, 1)] {
            assert_eq!(of("d", reach).entries, entries, "{reach:?}");
        }
        assert_ne!(of("d", Reach::Whole).digest, of("e", Reach::Whole).digest);
    }

    #[test]
    fn hashing_ends_when_it_is_to() {
        let dir = tree(&[("d/x", "1"), ("d/y", "2")]);
        let left = std::sync::atomic::AtomicU32::new(2);
        let context = context(dir.path(), "").stopped_by(move || {
            let ordering = std::sync::atomic::Ordering::Relaxed;
            let counted = left.fetch_update(ordering, ordering, |left| left.checked_sub(1));
            counted.is_err()
        });
        let selection = select(&context, &[""], &[]);
        let stopped = tree_digest(&context, &selection, &no_index(), 1);
        assert!(matches!(stopped, Err(ContextError::Stopped)), "{stopped:?}");
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let dir = tree(&[("d/x", "1")]);
        let context = context(dir.path(), "");
        let selection = select(&context, &["d/x"], &[]);
        fsio::remove_file(dir.path().join("d/x")).unwrap();
        let error = tree_digest(&context, &selection, &no_index(), 1).unwrap_err();
        assert!(error.to_string().contains("d/x`"), "{error}");
    }
}
