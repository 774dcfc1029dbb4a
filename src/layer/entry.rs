//! One path of a layer: its name, kind and metadata. Plain values; nothing here reads or writes anything.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// Extended attributes by full name (`security.capability`).
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The mode bits that a layer keeps: permissions, set-user-ID, set-group-ID, sticky.
pub(super) const MODE_BITS: u32 = 0o7777;

/// One path of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to the root, any bytes but NUL, without `.` and `..`; empty for the root itself.
    #[serde(with = "path_bytes")]
    pub path: PathBuf,
    /// What is there.
    pub kind: EntryKind,
    /// The low 12 mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// Extended attributes; never those that overlayfs keeps for itself.
    pub xattrs: Xattrs,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
        /// SHA-256 of the content.
        digest: Digest,
        /// Where the content starts in the uncompressed tar; for a sparse file, where its headers start.
        offset: u64,
        /// The tar leaves holes out, so its content cannot be copied from `offset` as it is.
        sparse: bool,
    },
    /// A directory, merged with what lower layers have there.
    Directory {
        /// Hides what lower layers have in it.
        opaque: bool,
        /// The layer has something beneath this directory but says nothing about the directory itself: mode and
        /// owner are those of the lower layers' directory, or 0755 and root where there is none.
        implied: bool,
    },
    /// A symbolic link.
    Symlink {
        /// What the link says, unchanged.
        #[serde(with = "path_bytes")]
        target: PathBuf,
    },
    /// A second name for a file of this layer (which then sorts before it) or of a lower one.
    HardLink {
        /// The other name, relative to the root.
        #[serde(with = "path_bytes")]
        target: PathBuf,
    },
    /// A character device.
    CharDevice {
        /// Device class.
        major: u32,
        /// Device number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Device class.
        major: u32,
        /// Device number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// The path of the lower layers is removed.
    Whiteout,
}

impl EntryKind {
    /// A file that is still to be written: digest and place in the tar are found out then.
    #[must_use]
    pub const fn file(size: u64) -> Self {
        Self::File {
            size,
            digest: Digest::from_bytes([0; 32]),
            offset: 0,
            sparse: false,
        }
    }

    /// A directory that merges with the lower layers' one.
    #[must_use]
    pub const fn directory() -> Self {
        Self::Directory {
            opaque: false,
            implied: false,
        }
    }

    /// A word for messages.
    #[must_use]
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Directory { .. } => "directory",
            Self::Symlink { .. } => "symbolic link",
            Self::HardLink { .. } => "hard link",
            Self::CharDevice { .. } => "character device",
            Self::BlockDevice { .. } => "block device",
            Self::Fifo => "named pipe",
            Self::Whiteout => "whiteout",
        }
    }
}

impl Entry {
    /// An entry owned by root, of time zero, without extended attributes.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, kind: EntryKind, mode: u32) -> Self {
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: Xattrs::new(),
        }
    }

    /// The directory that must be there because something is beneath it.
    #[must_use]
    pub fn implied_directory(path: impl Into<PathBuf>) -> Self {
        let kind = EntryKind::Directory {
            opaque: false,
            implied: true,
        };
        Self::new(path, kind, 0o755)
    }

    /// The removal of a path; it has no metadata of its own.
    #[must_use]
    pub fn whiteout(path: impl Into<PathBuf>) -> Self {
        Self::new(path, EntryKind::Whiteout, 0)
    }

    /// Whether this is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, EntryKind::Directory { .. })
    }

    /// Whether this is a directory about which the layer says nothing itself.
    #[must_use]
    pub const fn is_implied(&self) -> bool {
        matches!(self.kind, EntryKind::Directory { implied: true, .. })
    }

    /// Whether this is a directory that hides what lower layers have in it.
    #[must_use]
    pub const fn is_opaque(&self) -> bool {
        matches!(self.kind, EntryKind::Directory { opaque: true, .. })
    }

    /// Bytes of content; 0 for anything but a file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        }
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }
}

/// The order of paths in a layer: by component, so that a directory comes right before all that is beneath it.
#[must_use]
pub fn compare_paths(a: &Path, b: &Path) -> Ordering {
    let (a, b) = (a.as_os_str().as_bytes(), b.as_os_str().as_bytes());
    match a.iter().zip(b).find(|(x, y)| x != y) {
        // No name holds NUL, so the separator can take its place below all other bytes.
        Some((x, y)) => {
            let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
            rank(*x).cmp(&rank(*y))
        }
        None => a.len().cmp(&b.len()),
    }
}

/// Whether `path` is `directory` or beneath it.
#[must_use]
pub fn is_at_or_beneath(path: &Path, directory: &Path) -> bool {
    let (path, directory) = (
        path.as_os_str().as_bytes(),
        directory.as_os_str().as_bytes(),
    );
    match path.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || directory.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// A path from its bytes.
pub(super) fn path_from(bytes: impl Into<Vec<u8>>) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes.into()))
}

/// The directories on the way to `path`, outermost first, without the root and `path` itself.
pub(super) fn ancestors(path: &Path) -> impl Iterator<Item = &Path> {
    let bytes = path.as_os_str().as_bytes();
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .filter_map(move |(at, _)| bytes.get(..at))
        .map(|prefix| Path::new(OsStr::from_bytes(prefix)))
}

/// `directory` and a name in it; the root's path is empty and must not become a leading slash.
pub(super) fn join(directory: &Path, name: &OsStr) -> PathBuf {
    let mut bytes = Vec::with_capacity(directory.as_os_str().len() + 1 + name.len());
    bytes.extend_from_slice(directory.as_os_str().as_bytes());
    if !bytes.is_empty() {
        bytes.push(b'/');
    }
    bytes.extend_from_slice(name.as_bytes());
    path_from(bytes)
}

/// Paths as byte strings: serde would insist on UTF-8.
mod path_bytes {
    use std::ffi::OsString;
    use std::fmt;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(path.as_os_str().as_bytes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = PathBuf;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a path")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<PathBuf, E> {
                Ok(PathBuf::from(OsString::from_vec(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_right_before_what_is_beneath_them() {
        let mut paths = [
            "a-b", "a/b", "a", "", "a/b/c", "a.b", "b", "a/b-c", "a\u{1}",
        ];
        paths.sort_by(|a, b| compare_paths(Path::new(a), Path::new(b)));
        let expected = [
            "", "a", "a/b", "a/b/c", "a/b-c", "a\u{1}", "a-b", "a.b", "b",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn beneath_is_by_component() {
        let cases = [
            ("a", "a", true),
            ("a/b", "a", true),
            ("ab", "a", false),
            ("a", "", true),
            ("", "", true),
            ("a", "a/b", false),
        ];
        for (path, directory, expected) in cases {
            let found = is_at_or_beneath(Path::new(path), Path::new(directory));
            assert_eq!(found, expected, "{path} {directory}");
        }
    }

    #[test]
    fn ancestors_are_outermost_first() {
        let found: Vec<_> = ancestors(Path::new("a/b/c")).collect();
        assert_eq!(found, [Path::new("a"), Path::new("a/b")]);
        assert_eq!(ancestors(Path::new("a")).count(), 0);
    }
}
