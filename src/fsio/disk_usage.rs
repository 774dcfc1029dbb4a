//! What files take of the disk, each counted once.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes of a block in the answer of `stat`, whatever the file system has.
const BLOCK: u64 = 512;

/// Adds up what trees take of the disk, as `du` does: blocks rather than bytes, folders included, and nothing twice.
#[derive(Debug, Default)]
pub struct DiskUsage {
    /// Files with several names, and everything that was asked for by name.
    seen: BTreeSet<(u64, u64)>,
}

impl DiskUsage {
    /// What a file or a tree takes, without what was counted before. What cannot be looked at counts as nothing.
    pub fn of(&mut self, path: impl AsRef<Path>) -> u64 {
        self.add(path.as_ref(), true)
    }

    fn add(&mut self, path: &Path, asked_for: bool) -> u64 {
        let Ok(there) = super::symlink_metadata(path) else {
            return 0;
        };
        let is_new = |seen: &mut BTreeSet<_>| seen.insert((there.dev(), there.ino()));
        let several = there.nlink() > 1 && !there.is_dir();
        if asked_for || several {
            if !is_new(&mut self.seen) {
                return 0;
            }
        } else if self.seen.contains(&(there.dev(), there.ino())) {
            return 0;
        }
        let mut bytes = there.blocks() * BLOCK;
        if there.is_dir() {
            for name in super::read_dir_sorted(path).unwrap_or_default() {
                bytes += self.add(&path.join(name), false);
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::create_dir(file("a")).unwrap();
        std::fs::write(file("a/x"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(file("a/x"), file("y")).unwrap();
        std::os::unix::fs::symlink("a/x", file("z")).unwrap();
        let output = std::process::Command::new("du")
            .args(["-s", "--block-size=1"])
            .arg(dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let expected: u64 = text.split('\t').next().unwrap().parse().unwrap();
        assert_eq!(DiskUsage::default().of(dir.path()), expected);
        let mut parts = DiskUsage::default();
        let inner = parts.of(file("a"));
        assert!(inner >= 100_000);
        assert_eq!(inner + parts.of(dir.path()), expected);
        assert_eq!(parts.of(file("y")), 0, "counted as a/x");
    }
}
