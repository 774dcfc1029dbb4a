//! Writing a file so that a reader sees the old content or the new one, never a part.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::fault::{self, Instead};
use super::{
    Context as _, Error, Result, create, metadata, open, remove_file_if_there, rename, set_mode,
    set_owner,
};

/// Whether a write has to survive a power cut before it gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Content and folder entry are synced: for what must not be lost once reported.
    Synced,
    /// The kernel writes it back when it likes: for what carries its own checksum and can be made again.
    Cached,
}

/// Writes `bytes` beside `path` and renames them into place.
///
/// # Errors
/// What the operating system answered; the target is then as it was and nothing is left beside it.
pub fn write_atomic(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let aside = aside(path);
    let write = || -> Result<()> {
        let mut file = create(&aside)?;
        write_all(&mut file, bytes, path).context("write", &aside)?;
        if durability == Durability::Synced {
            sync(&file, &aside)?;
        }
        drop(file);
        replace(&aside, path, durability)
    };
    write().inspect_err(|_| {
        let _gone = remove_file_if_there(&aside);
    })
}

/// Gives a file that is there a new content: readers see the old one or the new one, whole. It keeps its mode, and its owner
/// where we may give files away.
///
/// # Errors
/// What the operating system answered; the file is then as it was and nothing is left beside it.
pub fn rewrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let old = metadata(path)?;
    let aside = aside(path);
    let write = || -> Result<()> {
        let mut file = create(&aside)?;
        file.write_all(bytes).context("write", &aside)?;
        let new = metadata(&aside)?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            let _ours = set_owner(&aside, old.uid(), old.gid());
        }
        // After the owner, whose change takes the set-id bits away.
        set_mode(&aside, old.mode() & 0o7777)?;
        sync(&file, &aside)?;
        drop(file);
        replace(&aside, path, Durability::Synced)
    };
    write().inspect_err(|_| {
        let _gone = remove_file_if_there(&aside);
    })
}

/// Renames a finished file or folder to its final name and, if asked, syncs the folder that holds the name.
///
/// # Errors
/// What the operating system answered.
pub fn replace(from: &Path, to: &Path, durability: Durability) -> Result<()> {
    rename(from, to)?;
    if durability == Durability::Synced {
        let parent = match to.parent() {
            None => Path::new("/"),
            Some(here) if here.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
        };
        open(parent)?
            .sync_all()
            .map_err(|e| Error::new("sync the folder", parent, e))?;
    }
    Ok(())
}

fn write_all(file: &mut File, bytes: &[u8], path: &Path) -> std::io::Result<()> {
    match fault::at("write", path) {
        None => file.write_all(bytes),
        Some(Instead::Nothing(error)) => Err(error),
        Some(Instead::Half(error)) => {
            file.write_all(&bytes[..bytes.len() / 2])?;
            Err(error)
        }
    }
}

/// Makes sure that the disk has what was written to a file.
///
/// # Errors
/// What the operating system answered, with the path.
pub fn sync(file: &File, path: &Path) -> Result<()> {
    fault::check("sync", path)
        .and_then(|()| file.sync_all())
        .context("sync", path)
}

/// A name beside `path` that nobody else uses, for what will be renamed to it.
#[must_use]
pub fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", super::unique()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for content in [&b"one"[..], b"two"] {
            write_atomic(&path, content, Durability::Synced).unwrap();
            assert_eq!(crate::fsio::read(&path).unwrap(), content);
        }
        assert_eq!(crate::fsio::read_dir_sorted(dir.path()).unwrap(), ["a"]);
    }

    #[test]
    fn a_rewritten_file_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(rewrite(&path, b"x").is_err(), "there is nothing to rewrite");
        write_atomic(&path, b"one", Durability::Cached).unwrap();
        set_mode(&path, 0o640).unwrap();
        rewrite(&path, b"two").unwrap();
        assert_eq!(crate::fsio::read(&path).unwrap(), b"two");
        assert_eq!(metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(crate::fsio::read_dir_sorted(dir.path()).unwrap(), ["a"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        crate::fsio::create_dir(dir.path().join("a")).unwrap();
        assert!(write_atomic(&dir.path().join("a"), b"x", Durability::Cached).is_err());
        assert_eq!(crate::fsio::read_dir_sorted(dir.path()).unwrap(), ["a"]);
    }
}
