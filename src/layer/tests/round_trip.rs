//! What [`TarWriter`] writes, [`read_tar`] and GNU tar read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::super::entry::path_from;
use super::*;

/// Names with what makes trouble: slashes sort lowest, bytes that are no UTF-8, lengths around those of the fields.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'-')], 1..3),
        1 => proptest::collection::vec(prop_oneof![Just(0xff_u8), Just(b'\n'), Just(b' '), Just(1)], 1..4),
        1 => (95_usize..110).prop_map(|length| vec![b'x'; length]),
    ]
}

fn path() -> impl Strategy<Value = PathBuf> {
    proptest::collection::vec(name(), 1..5).prop_map(|names| path_from(names.join(&b'/')))
}

/// Numbers that fit the fields and some that do not.
fn numbers() -> impl Strategy<Value = (u32, u32, u32, i64)> {
    let id = || prop_oneof![Just(0), Just(0o7777777), Just(0o10000000), 0..u32::MAX];
    let time = prop_oneof![
        Just(0),
        Just(-1),
        Just(0o77777777777),
        Just(0o100000000000),
        any::<i64>()
    ];
    (0_u32..=0o7777, id(), id(), time)
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        3 => (0_u64..2000).prop_map(EntryKind::file),
        3 => any::<bool>().prop_map(|opaque| EntryKind::Directory { opaque, implied: false }),
        1 => path().prop_map(|target| EntryKind::Symlink { target }),
        1 => (1_u32..5000, 0_u32..1 << 20).prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        1 => (0_u32..4096, 0_u32..300).prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
        1 => Just(EntryKind::Fifo),
        1 => Just(EntryKind::Whiteout),
    ]
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let names = [&b"user.a"[..], b"security.capability", b"user.\xff"];
    let name = proptest::sample::select(names.map(<[u8]>::to_vec).to_vec());
    let value = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::btree_map(name, value, 0..2)
}

/// Entries in order that make sense together, a few of the files under a second name.
pub(super) fn layer_entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (path(), kind(), numbers(), xattrs()).prop_map(
        |(path, kind, (mode, uid, gid, mtime), xattrs)| match kind {
            EntryKind::Whiteout => Entry::whiteout(path),
            kind => Entry {
                path,
                kind,
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            },
        },
    );
    (
        proptest::collection::vec(entry, 0..20),
        proptest::collection::vec(path(), 0..3),
    )
        .prop_map(|(found, links)| {
            let mut entries: Vec<Entry> = Vec::new();
            let mut sorted: BTreeMap<Vec<u8>, Entry> = BTreeMap::new();
            for entry in found {
                sorted.insert(entry.path.as_os_str().as_bytes().to_vec(), entry);
            }
            let first_file = sorted.values().find(|entry| entry.size() > 0).cloned();
            for path in links {
                if let Some(file) = &first_file
                    && compare_paths(&file.path, &path).is_gt()
                {
                    continue;
                }
                if let Some(file) = first_file.clone() {
                    let kind = EntryKind::HardLink {
                        target: file.path.clone(),
                    };
                    let key = path.as_os_str().as_bytes().to_vec();
                    sorted.entry(key).or_insert(Entry { path, kind, ..file });
                }
            }
            let mut all: Vec<Entry> = sorted.into_values().collect();
            all.sort_by(|a, b| compare_paths(&a.path, &b.path));
            for entry in all {
                let is_place = |above: &Path| {
                    let found = entries.iter().find(|found| found.path == above);
                    found.is_none_or(Entry::is_directory)
                };
                let linked = match &entry.kind {
                    EntryKind::HardLink { target } => {
                        entries.iter().any(|found| found.path == *target)
                    }
                    _ => true,
                };
                if linked && entry.path.ancestors().skip(1).all(is_place) {
                    entries.push(entry);
                }
            }
            entries
        })
}

/// Gives a few bytes at a time.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(7);
        self.0.read(&mut buffer[..count])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn reading_gives_what_was_written(entries in layer_entries()) {
        let (layer, bytes) = write_layer(&entries);
        prop_assert_eq!(bytes.len() as u64, layer.size);
        prop_assert_eq!(crate::oci::Digest::of(&bytes), layer.diff_id);
        let read = read_tar(&bytes[..], Markers::Removals, None).unwrap();
        prop_assert_eq!(&read, &layer);
        prop_assert_eq!(read_tar(Dribble(&bytes), Markers::Removals, None).unwrap(), read);
        let decoded = Toc::decode(&layer.toc.encode().unwrap()).unwrap();
        prop_assert_eq!(&decoded, &layer.toc);
        // Writing again from the table and the content gives the same bytes.
        let again = write_tar(&layer.toc, layer.diff_id, Vec::new(), |entry| {
            Ok(Box::new(content_of(&entry.path, entry.size())))
        });
        prop_assert_eq!(again.unwrap(), bytes);
    }
}

#[test]
fn gnu_tar_reads_every_kind() {
    let long = "x/".repeat(150) + "y";
    let text = format!(
        "d a\no a/o\nf a/o/f\nc dev\nf file\nh hard -> file\np pipe\nl sym -> {long}\nw w\nf {long}"
    );
    let mut all = entries(&text);
    all[2].uid = u32::MAX - 1;
    all[2].mtime = -5;
    all[2].xattrs.insert(b"user.x".to_vec(), b"a\nb".to_vec());
    let (layer, bytes) = write_layer(&all);
    assert_eq!(
        read_tar(&bytes[..], Markers::Removals, None).unwrap(),
        layer
    );
    let mut tar = Command::new("tar");
    tar.args([
        "--list",
        "--verbose",
        "--numeric-owner",
        "--xattrs",
        "--file=-",
    ])
    .env("LC_ALL", "C");
    let mut tar = tar
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = tar.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let listing = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "drwxr-xr-x ",
        " a/o/.wh..wh..opq",
        " 4294967294/0",
        " hard link to file",
        " .wh.w",
        &long,
    ] {
        assert!(listing.contains(expected), "{expected} in\n{listing}");
    }
}

#[test]
fn the_writer_refuses_what_a_layer_cannot_hold() {
    let refused = |lines: &str| {
        let mut writer = TarWriter::new(sink());
        let all = entries(lines);
        let (last, before) = all.split_last().unwrap();
        for entry in before {
            let mut content = content_of(&entry.path, entry.size());
            let content: Option<&mut dyn Read> = (entry.size() > 0).then_some(&mut content);
            writer.append(entry.clone(), content).unwrap();
        }
        let mut content = content_of(&last.path, last.size());
        let content: Option<&mut dyn Read> = (last.size() > 0).then_some(&mut content);
        writer
            .append(last.clone(), content)
            .unwrap_err()
            .to_string()
    };
    let cases = [
        ("f b\nf a", "`a` into the layer: it has to come before `b`"),
        ("f a\nf a", "it has to come before `a`"),
        ("f a\nf a/b", "`a` is not a directory"),
        ("w a\nf a/b", "`a` is not a directory"),
        ("f a/../b", "not a clean relative path"),
        ("f /a", "not a clean relative path"),
        ("f a//b", "not a clean relative path"),
        ("f .wh.a", "start with `.wh.`"),
        ("f .wh.a/b", "start with `.wh.`"),
        ("h a -> a", "hard link to `a`"),
        ("d a\nh b -> a", "hard link to `a`"),
        ("h a -> b\nf b", "hard link to `b`"),
        ("h b -> ../a", "hard link to `../a`"),
    ];
    for (lines, expected) in cases {
        let found = refused(lines);
        assert!(found.contains(expected), "{lines}: {found}");
    }
}

#[test]
fn content_has_to_be_as_long_as_said() {
    for (said, is) in [
        (3, 2),
        (3, 4),
        (0, 1),
        (5 << 20, (5 << 20) - 1),
        (5 << 20, (5 << 20) + 1),
    ] {
        let mut writer = TarWriter::new(sink());
        let entry = Entry::new("a/b", EntryKind::file(said), 0o644);
        let error = writer
            .append(entry, Some(&mut content_of(Path::new("x"), is)))
            .unwrap_err();
        assert!(
            matches!(&error, Error::ContentSize { path, .. } if path == Path::new("a/b")),
            "{error}"
        );
    }
}

#[test]
fn big_files_have_the_same_digest_as_small_ones() {
    let size = (9 << 20) + 5;
    let mut bytes = Vec::new();
    content_of(Path::new("big"), size)
        .read_to_end(&mut bytes)
        .unwrap();
    let (layer, tar) = write_layer(&[Entry::new("big", EntryKind::file(size), 0o644)]);
    let EntryKind::File { digest, offset, .. } = layer.toc.entries()[0].kind else {
        panic!("a file");
    };
    assert_eq!(digest, crate::oci::Digest::of(&bytes));
    assert_eq!(offset, 512);
    assert_eq!(read_tar(&tar[..], Markers::Removals, None).unwrap(), layer);
}
