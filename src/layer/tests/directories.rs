//! Layers as directories: unpacked, and packed again to the same bytes.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::sync::Arc;

use super::*;
use crate::fsio;

/// A layer with every kind of entry, and the tar it is written to.
fn sample() -> (Layer, Vec<u8>) {
    let text = "d d\nf d/f\no d/o\nw d/w\nc dev\nf file\nf hard\nh hard2 -> hard\np pipe\nl sym -> file\nw w";
    let mut all = entries(text);
    for (number, entry) in (1_u32..).zip(&mut all) {
        if entry.kind != EntryKind::Whiteout {
            (entry.uid, entry.gid, entry.mtime) = (number, number + 1, i64::from(number) * 1000);
        }
    }
    all[0].mode = 0o2750;
    all[5].mode = 0o4755;
    // A file capability: version 2, no effective bit, nothing permitted.
    let capability = [[1, 0, 0, 2].as_slice(), &[0; 16]].concat();
    all[5]
        .xattrs
        .insert(b"security.capability".to_vec(), capability);
    all[5]
        .xattrs
        .insert(b"user.note".to_vec(), b"a\0b".to_vec());
    // All names of a file have its metadata.
    all[7] = Entry {
        path: "hard2".into(),
        kind: all[7].kind.clone(),
        ..all[6].clone()
    };
    write_layer(&all)
}

fn unpack(bytes: &[u8], root: &std::path::Path, privileges: Privileges) -> Layer {
    fsio::create_dir_all(root).unwrap();
    let writer = DirectoryWriter::new(root, privileges).unwrap();
    read_tar(bytes, Markers::Removals, Some(writer)).unwrap()
}

#[test]
fn an_unpacked_layer_is_all_that_its_table_says() {
    if !is_root("an_unpacked_layer_is_all_that_its_table_says") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    let (layer, bytes) = sample();
    assert_eq!(unpack(&bytes, &root, Privileges::Full), layer);
    for entry in layer.toc.entries() {
        let path = root.join(&entry.path);
        let found = fsio::symlink_metadata(&path).unwrap();
        let shown = path.display();
        if entry.kind == EntryKind::Whiteout {
            assert!(
                found.file_type().is_char_device() && found.rdev() == 0,
                "{shown}"
            );
            continue;
        }
        let expected = (entry.uid, entry.gid, entry.mtime, entry.mode);
        assert_eq!(
            (
                found.uid(),
                found.gid(),
                found.mtime(),
                found.mode() & 0o7777
            ),
            expected,
            "{shown}"
        );
    }
    let inode = |name: &str| fsio::metadata(root.join(name)).unwrap().ino();
    assert_eq!(inode("hard"), inode("hard2"));
    let attribute = |name: &str, attribute: &str| {
        let mut value = Vec::with_capacity(100);
        rustix::fs::lgetxattr(
            root.join(name),
            attribute,
            rustix::buffer::spare_capacity(&mut value),
        )
        .map(|_| value)
    };
    assert_eq!(attribute("file", "user.note").unwrap(), b"a\0b");
    assert_eq!(attribute("file", "security.capability").unwrap().len(), 20);
    assert_eq!(attribute("d/o", "trusted.overlay.opaque").unwrap(), b"y");
    assert!(attribute("d", "trusted.overlay.opaque").is_err());
}

#[test]
fn the_tar_comes_out_of_the_directory_as_it_went_in() {
    if !is_root("the_tar_comes_out_of_the_directory_as_it_went_in") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let (layer, bytes) = sample();
    let [streamed, listed, tar] =
        ["streamed", "listed", "tar"].map(|name| scratch.path().join(name));
    unpack(&bytes, &streamed, Privileges::Full);
    fsio::write_atomic(&tar, &bytes, fsio::Durability::Cached).unwrap();
    let source = ContentSource::Tar(tar);
    fsio::create_dir(&listed).unwrap();
    write_directory(&layer.toc, &listed, Privileges::Full, |entry| {
        source.open(entry)
    })
    .unwrap();
    let lower = Stack::new(vec![Arc::new(toc("d d\nf d/o/x\nf d/w\nf w"))]);
    for root in [streamed, listed] {
        let again = write_tar_from_directory(&layer.toc, layer.diff_id, &root, Vec::new()).unwrap();
        assert!(again == bytes);
        // An overlay's upper directory of the same content is the same layer.
        let (scanned, again) = scan_upper(&root, &lower, Privileges::Full, Vec::new()).unwrap();
        assert_eq!(scanned, layer);
        assert!(again == bytes);
        let mut content = Vec::new();
        let entry = layer.toc.get("d/f").unwrap();
        ContentSource::Directory(root.clone())
            .open(entry)
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        assert_eq!(content.len() as u64, entry.size());
    }
}

#[test]
fn a_changed_file_is_found_out() {
    let scratch = tempfile::tempdir().unwrap();
    let (layer, bytes) = write_layer(&entries("d d\nf d/f"));
    unpack(&bytes, scratch.path(), Privileges::OneId);
    let remake = || write_tar_from_directory(&layer.toc, layer.diff_id, scratch.path(), sink());
    remake().unwrap();
    let path = scratch.path().join("d/f");
    let size = usize::try_from(fsio::metadata(&path).unwrap().len()).unwrap();
    fsio::write_atomic(&path, &vec![b'x'; size], fsio::Durability::Cached).unwrap();
    assert!(
        matches!(remake(), Err(Error::ContentChanged { path, .. }) if path == std::path::Path::new("d/f"))
    );
    fsio::write_atomic(&path, b"longer than before", fsio::Durability::Cached).unwrap();
    assert!(matches!(remake(), Err(Error::ContentSize { .. })));
    fsio::remove_file(&path).unwrap();
    assert!(matches!(remake(), Err(Error::File(_))));
    fsio::symlink("/etc/passwd", &path).unwrap();
    assert!(matches!(remake(), Err(Error::File(_))));
}

#[test]
fn holes_stay_holes() {
    let scratch = tempfile::tempdir().unwrap();
    let size = 64 << 20;
    let mut writer = TarWriter::new(Vec::new());
    let entry = Entry::new("f", EntryKind::file(size), 0o644);
    writer
        .append(entry, Some(&mut std::io::repeat(0).take(size)))
        .unwrap();
    let (layer, bytes) = writer.finish().unwrap();
    unpack(&bytes, scratch.path(), Privileges::OneId);
    let found = fsio::metadata(scratch.path().join("f")).unwrap();
    assert_eq!(found.len(), size);
    assert!(found.blocks() * 512 < size / 2);
    write_tar_from_directory(&layer.toc, layer.diff_id, scratch.path(), sink()).unwrap();
}

#[test]
fn what_a_layer_leaves_open_is_settled_from_below() {
    let scratch = tempfile::tempdir().unwrap();
    let [lower_root, root] = ["lower", "upper"].map(|name| scratch.path().join(name));
    let mut lower = entries("d tmp\nf tmp/x");
    lower[0].mode = 0o1777;
    lower[0].mtime = 5;
    let (lower, bytes) = write_layer(&lower);
    unpack(&bytes, &lower_root, Privileges::OneId);
    let (upper, bytes) = write_layer(&entries("h a -> tmp/x\nh b -> tmp/x\nf tmp/y"));
    unpack(&bytes, &root, Privileges::OneId);
    assert_eq!(fsio::read_dir_sorted(&root).unwrap(), ["tmp"]);
    let stack = Stack::new(vec![Arc::new(lower.toc)]);
    let sources = [ContentSource::Directory(lower_root.clone())];
    settle(&upper.toc, &root, Privileges::OneId, &stack, &sources).unwrap();
    let found = fsio::metadata(root.join("tmp")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.mtime()), (0o1777, 5));
    assert_eq!(
        fsio::read(root.join("a")).unwrap(),
        fsio::read(lower_root.join("tmp/x")).unwrap()
    );
    let inode = |name: &str| fsio::metadata(root.join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
    // Nothing to link to is an error, not a layer with a file missing.
    let nothing = settle(&upper.toc, &root, Privileges::OneId, &Stack::default(), &[]);
    assert!(matches!(nothing, Err(Error::RefusedEntry { .. })));
}
