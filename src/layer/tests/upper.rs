//! Upper directories as overlayfs leaves them.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

use super::*;
use crate::fsio;

/// An upper directory in the making.
struct Upper(tempfile::TempDir);

impl Upper {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fsio::set_mode(dir.path(), 0o755).unwrap();
        Self(dir)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn file(&self, path: &str) {
        fsio::write_atomic(&self.at(path), path.as_bytes(), fsio::Durability::Cached).unwrap();
    }

    fn directory(&self, path: &str) {
        fsio::create_dir(self.at(path)).unwrap();
        fsio::set_mode(self.at(path), 0o755).unwrap();
    }

    fn whiteout(&self, path: &str) {
        mknodat(
            CWD,
            self.at(path),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )
        .unwrap();
    }

    fn attribute(&self, path: &str, name: &str, value: &str) {
        lsetxattr(self.at(path), name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }

    fn set_time(&self, path: &str, seconds: i64) {
        let place = fsio::open(self.at(path)).unwrap();
        let target = super::super::metadata::Target::Open(std::os::fd::AsFd::as_fd(&place));
        super::super::metadata::set_mtime(target, seconds, Path::new(path)).unwrap();
    }

    fn scan(&self, lower: &Stack) -> Result<Layer> {
        Ok(scan_upper(self.0.path(), lower, Privileges::OneId, sink())?.0)
    }
}

fn lower(text: &str) -> Stack {
    Stack::new(vec![Arc::new(toc(text))])
}

#[test]
fn changes_are_kept_and_what_is_no_change_is_not() {
    let upper = Upper::new();
    for directory in [
        "same",
        "same/inner",
        "touched",
        "parent",
        "parent/deep",
        "new",
    ] {
        upper.directory(directory);
    }
    upper.file("parent/deep/f");
    for directory in ["same/inner", "same", "parent/deep", "parent"] {
        upper.set_time(directory, 0);
    }
    upper.set_time("touched", 7);
    let _socket = UnixListener::bind(upper.at("socket")).unwrap();
    let _in_place_of_a_file = UnixListener::bind(upper.at("removed")).unwrap();
    fsio::symlink("x", upper.at("link")).unwrap();
    fsio::hard_link(upper.at("parent/deep/f"), upper.at("z")).unwrap();
    let lower = lower("d parent\nd parent/deep\nf removed\nd same\nd same/inner\nd touched");
    let layer = upper.scan(&lower).unwrap();
    let expected = [
        "l link -> x",
        "d new",
        "d parent",
        "d parent/deep",
        "f parent/deep/f",
        "w removed",
        "d touched",
        "h z -> parent/deep/f",
    ];
    assert_eq!(lines(&layer.toc), expected);
    assert_eq!(upper.scan(&lower).unwrap(), layer);
    let nothing = upper.scan(&Stack::new(vec![Arc::new(layer.toc)])).unwrap();
    assert!(nothing.toc.get("touched").is_none());
    // What is no change is not in the directory any more, and the times of what held it are as they were.
    for gone in ["same", "socket"] {
        assert!(fsio::symlink_metadata(upper.at(gone)).is_err(), "{gone}");
    }
}

#[test]
fn removals_and_opaque_directories_count_where_they_hide_something() {
    if !is_root("removals_and_opaque_directories_count_where_they_hide_something") {
        return;
    }
    let upper = Upper::new();
    for directory in ["replaced", "fresh", "xattrs", "was-file"] {
        upper.directory(directory);
    }
    upper.attribute("replaced", "trusted.overlay.opaque", "y");
    upper.attribute("fresh", "user.overlay.opaque", "y");
    upper.attribute("was-file", "trusted.overlay.opaque", "y");
    upper.attribute("xattrs", "trusted.overlay.opaque", "x");
    upper.whiteout("gone");
    upper.whiteout("never-was");
    upper.whiteout("replaced/hidden-anyway");
    upper.file("xattrs/gone");
    upper.file("xattrs/kept");
    fsio::create(upper.at("xattrs/gone")).unwrap();
    upper.attribute("xattrs/gone", "trusted.overlay.whiteout", "");
    upper.attribute("xattrs/kept", "trusted.overlay.origin", "x");
    upper.attribute("xattrs/kept", "user.kept", "x");
    let lower =
        lower("f gone\nd replaced\nf replaced/hidden-anyway\nf was-file\nd xattrs\nf xattrs/gone");
    let layer = upper.scan(&lower).unwrap();
    let expected = [
        "d fresh",
        "w gone",
        "o replaced",
        "d was-file",
        "d xattrs",
        "w xattrs/gone",
        "f xattrs/kept",
    ];
    assert_eq!(lines(&layer.toc), expected);
    let names: Vec<_> = layer
        .toc
        .get("xattrs/kept")
        .unwrap()
        .xattrs
        .keys()
        .collect();
    assert_eq!(names, [b"user.kept"]);
}

#[test]
fn what_no_layer_can_hold_is_an_error() {
    let upper = Upper::new();
    upper.file(".wh.x");
    let error = upper.scan(&Stack::default()).unwrap_err().to_string();
    assert!(error.contains("`.wh.x`"), "{error}");
    let upper = Upper::new();
    upper.directory("d");
    upper.attribute("d", "user.overlay.redirect", "/elsewhere");
    let error = upper.scan(&Stack::default()).unwrap_err().to_string();
    assert!(error.contains("redirect_dir"), "{error}");
}

#[test]
fn the_root_is_part_of_the_layer_only_if_it_changed() {
    let upper = Upper::new();
    assert!(upper.scan(&Stack::default()).unwrap().toc.is_empty());
    fsio::set_mode(upper.0.path(), 0o700).unwrap();
    let layer = upper.scan(&Stack::default()).unwrap();
    assert_eq!(lines(&layer.toc), ["d "]);
    let stack = Stack::new(vec![Arc::new(layer.toc)]);
    assert_eq!(stack.lookup("").unwrap().entry.mode, 0o700);
    assert!(upper.scan(&stack).unwrap().toc.is_empty());
}

#[test]
fn depth_costs_no_descriptors() {
    let upper = Upper::new();
    let depth = 1500;
    let mut here =
        rustix::fs::open(upper.0.path(), rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    }
    let layer = upper.scan(&Stack::default()).unwrap();
    assert_eq!(layer.toc.len(), depth);
}

#[test]
fn with_one_id_owners_are_those_of_below() {
    let upper = Upper::new();
    upper.file("known");
    upper.file("new");
    let mut below = entries("f known");
    below[0].uid = 33;
    below[0].gid = 34;
    let below = Stack::new(vec![Arc::new(write_layer(&below).0.toc)]);
    let layer = upper.scan(&below).unwrap();
    let owner = |path: &str| {
        layer
            .toc
            .get(path)
            .map(|entry| (entry.uid, entry.gid))
            .unwrap()
    };
    assert_eq!((owner("known"), owner("new")), ((33, 34), (0, 0)));
}
