//! Whether a layer's directory still is what its table of contents says: names, kinds, owners, modes and content.
//!
//! Not the times, which no key and no step depends on, and not the extended attributes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::beneath::Beneath;
use super::entry::{Entry, EntryKind, MODE_BITS};
use super::error::{Error, Result};
use super::metadata::Privileges;
use super::toc::Toc;
use crate::fsio::{self, HashingReader};
use crate::oci::Digest;

/// Compares the directory `root` with the table of its layer. Every file is read.
///
/// # Errors
/// The first difference, or what cannot be read.
pub fn check_directory(toc: &Toc, root: &Path, privileges: Privileges) -> Result<()> {
    let mut beneath = Beneath::open(root)?;
    check_names(toc, root, Path::new(""), privileges)?;
    for entry in toc.entries() {
        if entry.is_directory() && !entry.path.as_os_str().is_empty() {
            check_names(toc, root, &entry.path, privileges)?;
        }
        if !may_be_missing(entry, privileges) {
            check_entry(entry, root, privileges)?;
        }
        if let EntryKind::File { digest, .. } = entry.kind {
            check_content(&mut beneath, entry, digest)?;
        }
    }
    Ok(())
}

/// Nothing is missing and nothing is there besides.
fn check_names(toc: &Toc, root: &Path, directory: &Path, privileges: Privileges) -> Result<()> {
    let of_table = |entry: &&Entry| !may_be_missing(entry, privileges);
    let expected: BTreeSet<OsString> = toc
        .children(directory)
        .filter(of_table)
        .map(|entry| entry.name().to_owned())
        .collect();
    let found: BTreeSet<OsString> = fsio::read_dir_sorted(root.join(directory))?
        .into_iter()
        .collect();
    let allowed = |name: &&OsString| toc.get(directory.join(name)).is_none();
    let missing = expected.difference(&found).next();
    match missing.or_else(|| found.difference(&expected).find(allowed)) {
        None => Ok(()),
        Some(name) => Err(changed(directory.join(name), "is missing or was added")),
    }
}

/// Whether the directory may lack an entry: only root of the machine can make devices.
fn may_be_missing(entry: &Entry, privileges: Privileges) -> bool {
    privileges != Privileges::Full
        && matches!(
            entry.kind,
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. }
        )
}

fn check_entry(entry: &Entry, root: &Path, privileges: Privileges) -> Result<()> {
    let path = root.join(&entry.path);
    let there = fsio::symlink_metadata(&path)?;
    let kind = there.file_type();
    let is_kind = match &entry.kind {
        EntryKind::File { size, .. } => kind.is_file() && there.len() == *size,
        EntryKind::Directory { .. } => kind.is_dir(),
        EntryKind::Symlink { target } => kind.is_symlink() && fsio::read_link(&path)? == *target,
        // Devices and names of files below are there in one form or another.
        _ => true,
    };
    if !is_kind {
        return Err(changed(entry.path.clone(), "is of another kind or size"));
    }
    let says_nothing = entry.is_implied()
        || matches!(
            entry.kind,
            EntryKind::Whiteout | EntryKind::HardLink { .. } | EntryKind::Symlink { .. }
        );
    let same =
        (there.mode() & MODE_BITS, there.uid(), there.gid()) == (entry.mode, entry.uid, entry.gid);
    // The top is mounted over, and who has one id cannot give files away.
    if privileges != Privileges::OneId
        && !says_nothing
        && !same
        && !entry.path.as_os_str().is_empty()
    {
        return Err(changed(entry.path.clone(), "has another mode or owner"));
    }
    Ok(())
}

fn check_content(beneath: &mut Beneath, entry: &Entry, expected: Digest) -> Result<()> {
    let path = entry.path.clone();
    let mut reader = HashingReader::new(beneath.file(&path)?);
    if let Err(source) = std::io::copy(&mut reader, &mut std::io::sink()) {
        return Err(Error::ReadContent { path, source });
    }
    let (found, ..) = reader.finish();
    match Digest::from_bytes(found) {
        found if found == expected => Ok(()),
        found => Err(Error::ContentChanged {
            path,
            expected,
            found,
        }),
    }
}

fn changed(path: PathBuf, problem: &'static str) -> Error {
    Error::DirectoryChanged { path, problem }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::layer::{Stack, scan_upper};

    fn layer(root: &Path) -> Toc {
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "content").unwrap();
        std::fs::hard_link(root.join("a/file"), root.join("a/name")).unwrap();
        std::os::unix::fs::symlink("file", root.join("a/link")).unwrap();
        let nothing = Stack::default();
        let (layer, _) = scan_upper(root, &nothing, Privileges::OneId, std::io::sink()).unwrap();
        layer.toc
    }

    #[test]
    fn a_directory_is_its_table_until_somebody_touches_it() {
        type Damage = fn(&Path);
        let damages: [Damage; 6] = [
            |root| std::fs::write(root.join("a/file"), "kontent").unwrap(),
            |root| std::fs::write(root.join("a/file"), "").unwrap(),
            |root| std::fs::write(root.join("a/more"), "").unwrap(),
            |root| std::fs::remove_file(root.join("a/name")).unwrap(),
            |root| std::fs::remove_dir(root.join("a/b")).unwrap(),
            |root| {
                std::fs::remove_file(root.join("a/link")).unwrap();
                std::os::unix::fs::symlink("other", root.join("a/link")).unwrap();
            },
        ];
        for (index, damage) in damages.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let toc = layer(dir.path());
            check_directory(&toc, dir.path(), Privileges::OneId).unwrap();
            damage(dir.path());
            let found = check_directory(&toc, dir.path(), Privileges::OneId);
            assert!(found.is_err(), "damage {index}");
        }
    }

    #[test]
    fn modes_count_for_root() {
        let dir = tempfile::tempdir().unwrap();
        let toc = layer(dir.path());
        let file = dir.path().join("a/file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4755)).unwrap();
        assert!(check_directory(&toc, dir.path(), Privileges::Full).is_err());
        check_directory(&toc, dir.path(), Privileges::OneId).unwrap();
    }
}
