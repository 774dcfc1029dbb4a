//! Stacks of layers, against the plain way: applying one layer after the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn stack(layers: &[&str]) -> Stack {
    Stack::new(layers.iter().map(|lines| Arc::new(toc(lines))).collect())
}

fn shown<'a>(found: impl IntoIterator<Item = Found<'a>>) -> Vec<String> {
    let line = |found: Found<'_>| format!("{}:{}", found.layer, found.entry.path.display());
    found.into_iter().map(line).collect()
}

#[test]
fn upper_layers_hide_lower_ones() {
    let stack = stack(&[
        "d a\nf a/one\nf a/two\nd b\nf b/x\nf c\nd e\nf e/x",
        "w a/one\nf a/three\no b\nf b/y\nw c\nf e",
        "f a/one\nd e\nf e/y",
    ]);
    assert_eq!(
        shown(stack.walk("")),
        [
            "0:a",
            "2:a/one",
            "1:a/three",
            "0:a/two",
            "1:b",
            "1:b/y",
            "2:e",
            "2:e/y"
        ]
    );
    assert_eq!(
        shown(stack.read_dir("a")),
        ["2:a/one", "1:a/three", "0:a/two"]
    );
    for (path, layer) in [
        ("a", Some(0)),
        ("a/two", Some(0)),
        ("b/x", None),
        ("c", None),
        ("e/x", None),
        ("e/y", Some(2)),
    ] {
        assert_eq!(stack.lookup(path).map(|found| found.layer), layer, "{path}");
    }
    assert_eq!(shown(stack.read_dir("a/two")), [""; 0]);
    assert_eq!(stack.lookup("/").unwrap().entry.mode, 0o755);
}

#[test]
fn an_implied_directory_looks_like_the_one_below() {
    let mut lower = entries("d tmp\nf tmp/x");
    lower[0].mode = 0o1777;
    let lower = write_layer(&lower).0.toc;
    let upper = toc("f new/z\nf tmp/y");
    assert!(upper.needs_lower() && !lower.needs_lower());
    let stack = Stack::new(vec![Arc::new(lower), Arc::new(upper)]);
    let found = stack.lookup("tmp").unwrap();
    assert_eq!((found.layer, found.entry.mode), (0, 0o1777));
    assert!(stack.lookup("new").unwrap().entry.is_implied());
    assert_eq!(
        shown(stack.walk("")),
        ["1:new", "1:new/z", "0:tmp", "0:tmp/x", "1:tmp/y"]
    );
}

#[test]
fn links_are_followed_inside_the_root() {
    let stack = stack(&[
        "l abs -> /usr/bin\nl dangling -> usr/none/x\nl up -> ../../../usr\nd usr\nd usr/bin\nf usr/bin/sh\nl usr/lib -> bin",
        "l loop -> loop\nl usr/bin/link -> ../bin/sh",
    ]);
    let cases = [
        ("abs/sh", true, "usr/bin/sh", true),
        ("/abs", true, "usr/bin", true),
        ("abs", false, "abs", true),
        ("abs/", false, "usr/bin", true),
        ("up/lib/sh", true, "usr/bin/sh", true),
        ("usr/lib/link", true, "usr/bin/sh", true),
        ("usr/lib/link", false, "usr/bin/link", true),
        ("../../usr/./bin/../bin", true, "usr/bin", true),
        ("dangling", true, "usr/none/x", false),
        ("usr/new/deep/../file", true, "usr/new/file", false),
        ("", true, "", true),
        ("/", true, "", true),
        ("abs/..", true, "usr", true),
    ];
    for (path, follow, expected, is_there) in cases {
        let found = stack.resolve(path, follow).unwrap();
        assert_eq!(
            (found.path.to_str().unwrap(), found.found.is_some()),
            (expected, is_there),
            "{path}"
        );
    }
    assert!(matches!(
        stack.resolve("loop", true),
        Err(ResolveError::TooManyLinks(_))
    ));
    assert!(stack.resolve("loop", false).is_ok());
    let error = stack.resolve("abs/sh/x", true).unwrap_err();
    assert_eq!(error.to_string(), "`usr/bin/sh` is not a directory");
}

#[test]
fn hard_links_lead_to_content_in_their_layer_or_below() {
    let stack = stack(&["f a\nh b -> a", "h c -> b\nh d -> none", "f a\nf b"]);
    let content = |path: &str| {
        let found = stack.content_of(stack.lookup(path).unwrap())?;
        Some(format!("{}:{}", found.layer, found.entry.path.display()))
    };
    assert_eq!(content("c").as_deref(), Some("0:a"));
    assert_eq!(content("b").as_deref(), Some("2:b"));
    assert_eq!(content("d"), None);
}

#[test]
fn a_stack_of_nothing_is_an_empty_root() {
    let empty = Stack::default();
    assert!(empty.lookup("").unwrap().entry.is_directory());
    assert!(empty.lookup("a").is_none());
    assert_eq!(empty.walk("").count(), 0);
    assert_eq!(shown(stack(&["", ""].map(|_| "d a")).walk("")), ["1:a"]);
}

/// The plain way.
fn apply_all(layers: &[Arc<Toc>]) -> BTreeMap<PathBuf, Entry> {
    let mut tree: BTreeMap<PathBuf, Entry> = BTreeMap::new();
    for toc in layers {
        let inside =
            |path: &Path, directory: &Path| path != directory && is_at_or_beneath(path, directory);
        for entry in toc.entries() {
            if !entry.is_directory() || entry.is_opaque() {
                tree.retain(|path, _| !inside(path, &entry.path));
            }
        }
        for entry in toc.entries() {
            match &entry.kind {
                EntryKind::Whiteout => {
                    tree.remove(&entry.path);
                }
                EntryKind::Directory { .. } if entry.is_implied() => {
                    if !tree.get(&entry.path).is_some_and(Entry::is_directory) {
                        tree.insert(entry.path.clone(), entry.clone());
                    }
                }
                _ => {
                    tree.insert(entry.path.clone(), entry.clone());
                }
            }
        }
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_stack_looks_like_its_layers_applied(
        layers in proptest::collection::vec(super::round_trip::layer_entries(), 0..5),
    ) {
        let layers: Vec<Arc<Toc>> = layers.iter().map(|entries| Arc::new(write_layer(entries).0.toc)).collect();
        let expected = apply_all(&layers);
        let stack = Stack::new(layers);
        let walked: Vec<&Entry> = stack.walk("").map(|found| found.entry).collect();
        prop_assert!(walked.is_sorted_by(|a, b| compare_paths(&a.path, &b.path).is_lt()));
        let walked: BTreeMap<PathBuf, Entry> = walked.into_iter().map(|entry| (entry.path.clone(), entry.clone())).collect();
        prop_assert_eq!(&walked, &expected);
        for (path, entry) in &expected {
            prop_assert_eq!(stack.lookup(path).map(|found| found.entry), Some(entry));
            let children: Vec<&Path> = stack.read_dir(path).iter().map(|found| found.entry.path.as_path()).collect();
            let beside: Vec<&Path> = expected.keys().filter(|child| child.parent() == Some(path)).map(PathBuf::as_path).collect();
            prop_assert_eq!(children.len(), beside.len());
        }
        for layer in stack.layers() {
            for entry in layer.entries() {
                prop_assert_eq!(stack.lookup(&entry.path).is_some(), expected.contains_key(&entry.path));
            }
        }
    }
}
