//! Small trees on disk for the tests of this module.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{IgnoreFile, LocalContext, RootIdentity, StatIndex};
use crate::fsio::{self, Durability};

/// A directory with files; a name ending in `/` is a directory, content beginning with `->` a link.
pub(super) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        put(dir.path(), name, content);
    }
    dir
}

/// Adds to a tree.
pub(super) fn put(root: &Path, name: &str, content: &str) {
    let path = root.join(name);
    fsio::create_dir_all(path.parent().unwrap()).unwrap();
    if name.ends_with('/') {
        fsio::create_dir_all(&path).unwrap();
    } else if let Some(target) = content.strip_prefix("->") {
        fsio::symlink(target, &path).unwrap();
    } else {
        fsio::write_atomic(&path, content.as_bytes(), Durability::Cached).unwrap();
    }
}

/// A context with ignore rules.
pub(super) fn context(root: &Path, rules: &str) -> LocalContext {
    let ignore = IgnoreFile::parse(Path::new(".dockerignore"), rules.as_bytes()).unwrap();
    LocalContext::open(root, ignore).unwrap()
}

/// A time after everything that a test does to its files by more than the settling time.
pub(super) fn later() -> SystemTime {
    now() + Duration::from_secs(60)
}

/// The clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has to compare the clock with what the file system says"
)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// An index that knows nothing and keeps nothing: all files of a test are as young as the epoch allows.
pub(super) fn no_index() -> StatIndex {
    StatIndex::empty(
        RootIdentity::new(Path::new("/"), 0, 0),
        SystemTime::UNIX_EPOCH,
    )
}
