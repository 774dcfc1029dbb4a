//! A stack that is laid out, worked in, and turned into changes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::fsio;

struct Case {
    folder: tempfile::TempDir,
    stack: Stack,
    laid_out: LaidOut,
}

fn privileges() -> Privileges {
    match rustix::process::geteuid().is_root() {
        true => Privileges::Full,
        false => Privileges::OneId,
    }
}

fn write(path: &Path, text: &str) {
    fsio::write_atomic(path, text.as_bytes(), fsio::Durability::Cached).unwrap();
}

impl Case {
    /// A layer that `make` fills, laid out.
    fn new(make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lower = folder.path().join("lower");
        fsio::create_dir(&lower).unwrap();
        make(&lower);
        let (layer, _) = scan_upper(&lower, &Stack::default(), privileges(), sink()).unwrap();
        let stack = Stack::new(vec![Arc::new(layer.toc)]);
        let tree = folder.path().join("tree");
        fsio::create_dir(&tree).unwrap();
        let laid_out = lay_out(&stack, &[Some(lower)], &tree, &|| false).unwrap();
        Self {
            folder,
            stack,
            laid_out,
        }
    }

    fn tree(&self, name: &str) -> PathBuf {
        self.folder.path().join("tree").join(name)
    }

    /// The paths of the layer that a step leaves, removals with a `-`.
    fn changes(&self) -> Vec<String> {
        let tree = self.tree("");
        keep_changes(&tree, &self.stack, &self.laid_out, privileges()).unwrap();
        let (layer, _) = scan_upper(&tree, &self.stack, privileges(), sink()).unwrap();
        let line = |entry: &Entry| match entry.kind {
            EntryKind::Whiteout => format!("-{}", entry.path.display()),
            _ if entry.is_opaque() => format!("!{}", entry.path.display()),
            _ => entry.path.display().to_string(),
        };
        layer.toc.entries().iter().map(line).collect()
    }
}

fn usual(lower: &Path) {
    for name in ["a", "a/b", "again", "c"] {
        fsio::create_dir(lower.join(name)).unwrap();
    }
    for name in ["a/b/deep", "a/one", "again/old", "c/two", "top"] {
        write(&lower.join(name), name);
    }
    fsio::hard_link(lower.join("top"), lower.join("second")).unwrap();
    fsio::symlink("top", lower.join("link")).unwrap();
}

#[test]
fn what_nobody_touched_is_no_change_and_looks_as_it_did() {
    let case = Case::new(usual);
    let (lower, tree) = (case.folder.path().join("lower/a/one"), case.tree("a/one"));
    let (lower, tree) = (
        fsio::metadata(lower).unwrap(),
        fsio::metadata(tree).unwrap(),
    );
    assert_eq!(
        (lower.mtime(), lower.mtime_nsec(), lower.mode()),
        (tree.mtime(), tree.mtime_nsec(), tree.mode())
    );
    assert_eq!(fsio::read(case.tree("second")).unwrap(), b"top");
    assert_eq!(case.changes(), [""; 0]);
    assert_eq!(fsio::read_dir_sorted(case.tree("")).unwrap(), [""; 0]);
}

#[test]
fn changes_are_those_that_were_made() {
    let case = Case::new(usual);
    fsio::rewrite(&case.tree("a/b/deep"), b"deep").unwrap();
    fsio::remove_tree(case.tree("again")).unwrap();
    fsio::create_dir(case.tree("again")).unwrap();
    fsio::remove_tree(case.tree("c")).unwrap();
    fsio::set_mode(case.tree("second"), 0o600).unwrap();
    write(&case.tree("new"), "new");
    let expected = ["a", "a/b", "a/b/deep", "!again", "-c", "new", "second"];
    assert_eq!(case.changes(), expected);
}

#[test]
fn one_name_of_a_file_changes_alone() {
    let case = Case::new(usual);
    fsio::rewrite(&case.tree("top"), b"changed").unwrap();
    assert_eq!(fsio::read(case.tree("second")).unwrap(), b"top");
    assert_eq!(case.changes(), ["top"]);
}

#[test]
fn holes_stay_holes() {
    let case = Case::new(|lower| {
        let file = fsio::create(lower.join("sparse")).unwrap();
        file.set_len(32 << 20).unwrap();
        write(&lower.join("other"), "other");
    });
    let found = fsio::metadata(case.tree("sparse")).unwrap();
    assert_eq!(found.len(), 32 << 20);
    assert!(found.blocks() * 512 < 1 << 20, "{}", found.blocks());
    assert_eq!(case.changes(), [""; 0]);
}

#[test]
fn a_wish_to_stop_ends_it() {
    let case = Case::new(usual);
    let tree = case.folder.path().join("stopped");
    fsio::create_dir(&tree).unwrap();
    let lower = case.folder.path().join("lower");
    let stopped = lay_out(&case.stack, &[Some(lower)], &tree, &|| true);
    assert!(stopped.unwrap_err().to_string().contains("interrupted"));
}
