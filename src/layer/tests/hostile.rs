//! Tars made to do harm: nothing panics, nothing gets out, everything stays bounded.

use std::os::unix::ffi::OsStrExt as _;

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::*;
use crate::fsio;

/// A tar put together by hand.
#[derive(Default)]
pub(super) struct Forge(pub(super) Vec<u8>);

impl Forge {
    pub(super) fn add(
        mut self,
        entry_type: EntryType,
        name: &str,
        link: &str,
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(entry_type);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.add(EntryType::Regular, name, "", content.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, target, b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Link, name, target, b"")
    }

    fn read(&self) -> Result<Toc> {
        Ok(read_tar(&self.0[..], Markers::Removals, None)?.toc)
    }
}

fn forge() -> Forge {
    Forge::default()
}

#[test]
fn what_is_refused() {
    let loops = forge().symlink("a", "b").symlink("b", "a").file("a/x", "");
    let huge = {
        let mut forge = forge().add(EntryType::XHeader, "x", "", b"");
        let mut header = Header::from_byte_slice(&forge.0).clone();
        header.set_size(1 << 30);
        header.set_cksum();
        forge.0 = header.as_bytes().to_vec();
        forge
    };
    let long = format!("{} path={}\n", 5000 + 11, "x".repeat(5000));
    let owner = b"18 uid=4294967295\n";
    let cases: Vec<(Forge, &str)> = vec![
        (forge().file("../x", ""), "`..` in the name"),
        (forge().file("a/../../x", ""), "`..` in the name"),
        (forge().file("a/..", ""), "`..` in the name"),
        (forge().file("", ""), "not a clean relative path"),
        (forge().file("/", ""), "not a clean relative path"),
        (
            forge().link("a", "../../etc/passwd"),
            "hard link to `../../etc/passwd`",
        ),
        (forge().directory("d").link("a", "d"), "hard link to `d`"),
        (forge().link("a", "a"), "hard link to `a`"),
        (forge().link("a", ""), "hard link to"),
        (forge().symlink("a", ""), "not a clean relative path"),
        (
            forge().file("a", "").file("a/b", ""),
            "`a` is not a directory",
        ),
        (forge().file("a/.wh...", ""), "names nothing"),
        (forge().file(".wh..", ""), "names nothing"),
        (forge().file(".wh.", ""), "names nothing"),
        (forge().file(".wh.a/b", ""), "start with `.wh.`"),
        (loops, "too many symbolic links"),
        (huge, "more than 1 MiB"),
        (
            forge()
                .add(EntryType::XHeader, "x", "", long.as_bytes())
                .file("a", ""),
            "longer than 4096",
        ),
        (
            forge()
                .add(EntryType::XHeader, "x", "", owner)
                .file("a", ""),
            "no file can have",
        ),
        (
            forge()
                .add(EntryType::XHeader, "x", "", b"9 size=-1")
                .file("a", ""),
            "malformed extended header",
        ),
        (
            forge()
                .add(
                    EntryType::XHeader,
                    "x",
                    "",
                    b"29 size=99999999999999999999\n",
                )
                .file("a", ""),
            "`size`",
        ),
        (
            forge().add(EntryType::XHeader, "x", "", b"6 a=b\n"),
            "without an entry",
        ),
        (
            forge().add(EntryType::new(b'D'), "x", "", b""),
            "unknown entry type 0x44",
        ),
        (Forge(vec![b'x'; 1024]), "field `checksum`"),
        (Forge(vec![b'0'; 1024]), "wrong header checksum"),
    ];
    for (number, (tar, expected)) in cases.iter().enumerate() {
        let error = tar.read().unwrap_err().to_string();
        assert!(error.contains(expected), "case {number}: {error}");
    }
}

#[test]
fn what_is_put_right() {
    let check = |tar: Forge, expected: &[&str]| assert_eq!(lines(&tar.read().unwrap()), expected);
    check(
        forge().directory("./").file("/a", "").file(".//b/./c", ""),
        &["d ", "f a", "i b", "f b/c"],
    );
    // Links in a layer lead to places in the layer, never out of it.
    check(
        forge().symlink("l", "/etc").file("l/passwd", ""),
        &["i etc", "f etc/passwd", "l l -> /etc"],
    );
    check(
        forge().symlink("l", "../../..").file("l/x", ""),
        &["l l -> ../../..", "f x"],
    );
    check(
        forge()
            .directory("d")
            .symlink("d/up", "..")
            .symlink("m", "d/up")
            .file("m/x", ""),
        &["d d", "l d/up -> ..", "l m -> d/up", "f x"],
    );
    // The last of a name wins, and with it goes what was beneath it.
    check(
        forge().file("a/b", "").file("a/c/d", "").file("a", ""),
        &["f a"],
    );
    check(
        forge().file("a", "").directory("a").file("a/b", ""),
        &["d a", "f a/b"],
    );
    // A removal concerns lower layers only, wherever it stands.
    check(forge().file("a", "").file(".wh.a", ""), &["f a"]);
    check(forge().file(".wh.a", "").file("a", ""), &["f a"]);
    check(
        forge().file(".wh.a", "").file("a/b", ""),
        &["io a", "f a/b"],
    );
    check(forge().directory("a").file(".wh.a", ""), &["o a"]);
    check(
        forge()
            .file("a/b", "")
            .file("a/.wh..wh..opq", "")
            .directory("a"),
        &["o a", "f a/b"],
    );
    check(forge().file(".wh..wh..opq", ""), &["io "]);
    check(
        forge().file(".wh..wh.plnk/x", "").file(".wh..wh.aufs", ""),
        &[],
    );
    check(forge().add(EntryType::Char, "a", "", b""), &["w a"]);
    // Of several names, the first in order is the file.
    check(
        forge().file("z", "x").link("a", "z").link("m", "a"),
        &["f a", "h m -> a", "h z -> a"],
    );
    check(forge().link("a", "lower"), &["h a -> lower"]);
    check(forge().file("z", "").link("z", "z"), &["f z"]);
}

#[test]
fn other_names_keep_a_file_that_is_replaced() {
    let replaced = forge()
        .file("z", "old")
        .link("a", "z")
        .link("b", "z")
        .file("z", "newer");
    let toc = replaced.read().unwrap();
    assert_eq!(lines(&toc), ["f a", "h b -> a", "f z"]);
    assert_eq!(toc.get("a").unwrap().size(), 3);
    assert_eq!(toc.get("z").unwrap().size(), 5);
    let gone = forge().file("d/z", "old").link("a", "d/z").file("d", "");
    assert_eq!(lines(&gone.read().unwrap()), ["f a", "f d"]);
}

#[test]
fn attributes_of_overlayfs_never_come_from_outside() {
    let records = b"39 SCHILY.xattr.trusted.overlay.x=/etc\n36 SCHILY.xattr.user.overlay.x=/etc\n";
    let records = [&records[..], b"25 SCHILY.xattr.user.a=b\n"].concat();
    let tar = forge()
        .add(EntryType::XHeader, "x", "", &records)
        .file("a", "");
    let toc = tar.read().unwrap();
    let names: Vec<_> = toc.get("a").unwrap().xattrs.keys().collect();
    assert_eq!(names, [b"user.a"]);
}

#[test]
fn in_an_archive_that_is_added_markers_are_names() {
    let tar = forge().file("a/.wh.b", "").file(".wh..wh..opq", "");
    let layer = read_tar(&tar.0[..], Markers::Names, None).unwrap();
    assert_eq!(lines(&layer.toc), ["f .wh..wh..opq", "i a", "f a/.wh.b"]);
}

#[test]
fn names_in_an_archive_that_is_added_lead_no_further_up_than_its_top() {
    let tar = forge()
        .file("../../a", "1")
        .file("/b/../../c/./d", "2")
        .file("", "nameless")
        .link("e", "../a");
    let layer = read_tar(&tar.0[..], Markers::Names, None).unwrap();
    assert_eq!(lines(&layer.toc), ["f a", "i c", "f c/d", "h e -> a"]);
}

#[test]
fn the_last_name_of_a_file_in_an_archive_gives_its_metadata() {
    let mut tar = forge().file("a", "1");
    let link = forge().link("b", "a");
    // The mode of the link's own header, and its checksum.
    let mut header = Header::from_byte_slice(&link.0[..512]).clone();
    header.set_mode(0o600);
    header.set_cksum();
    tar.0.extend_from_slice(header.as_bytes());
    let mode = |markers| {
        let toc = read_tar(&tar.0[..], markers, None).unwrap().toc;
        toc.get("a").unwrap().mode
    };
    assert_eq!(mode(Markers::Names), 0o600);
    assert_eq!(mode(Markers::Removals), 0o644);
}

#[test]
fn a_tar_that_ends_anywhere_is_refused_or_a_shorter_one() {
    let (_, bytes) = write_layer(&entries("d a\nf a/b\nl c -> d\nf e"));
    let cuts = (0..bytes.len()).filter(|cut| cut % 64 < 2);
    for cut in cuts {
        // After the first empty block it does not matter what follows.
        match read_tar(&bytes[..cut], Markers::Removals, None) {
            Ok(layer) => assert!(
                (cut % 512 == 0 || cut > bytes.len() - 1024) && layer.size == cut as u64,
                "cut at {cut}"
            ),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn nothing_is_written_outside_the_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("in/root");
    let outside = scratch.path().join("outside");
    let escape = outside.to_str().unwrap().to_owned();
    let tars = [
        forge().symlink("l", &escape).file("l/x", "").file("l", ""),
        forge().symlink("l", "../../outside").file("l/x", ""),
        forge()
            .symlink("l", &escape)
            .symlink("m", "l")
            .file("m/x", ""),
        forge().symlink("l", &escape).link("h", "l").file("h/x", ""),
        forge().symlink("l", &escape).link("h", "l/secret"),
        forge().directory("l").symlink("l", &escape).file("l/x", ""),
        forge().symlink("l", &escape).directory("l").file("l/x", ""),
        forge().symlink("l", &escape).directory("l/x"),
        forge().symlink("l", &escape).file("l", "through the link"),
        forge()
            .symlink("l", &escape)
            .file("l/.wh.secret", "")
            .file("l/.wh..wh..opq", ""),
        forge().file("../x", "").file("/../x", ""),
    ];
    for (number, tar) in tars.iter().enumerate() {
        fsio::remove_tree(scratch.path().join("in")).unwrap();
        fsio::create_dir_all(&root).unwrap();
        fsio::create_dir_all(&outside).unwrap();
        fsio::write_atomic(&outside.join("secret"), b"secret", fsio::Durability::Cached).unwrap();
        let writer = DirectoryWriter::new(&root, Privileges::OneId).unwrap();
        let _either_is_fine = read_tar(&tar.0[..], Markers::Removals, Some(writer));
        assert_eq!(
            fsio::read_dir_sorted(&outside).unwrap(),
            ["secret"],
            "case {number}"
        );
        assert_eq!(fsio::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(
            fsio::read_dir_sorted(scratch.path().join("in")).unwrap(),
            ["root"]
        );
        assert_eq!(
            fsio::read_dir_sorted(scratch.path()).unwrap(),
            ["in", "outside"]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn damaged_tars_never_panic_and_tables_stay_consistent(
        damage in proptest::collection::vec((0_usize..10_000, any::<u8>()), 1..6),
    ) {
        let text = format!("d a\nf a/b\nh a/c -> a/b\nl l -> a\nw w\nf {}", "y/".repeat(80) + "z");
        let (_, mut bytes) = write_layer(&entries(&text));
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
            // A right checksum, so that the damage gets further than that.
            let block = at / 512 * 512;
            let mut header = Header::from_byte_slice(&bytes[block..block + 512]).clone();
            if header.as_ustar().is_some() {
                header.set_cksum();
                bytes[block..block + 512].copy_from_slice(header.as_bytes());
            }
        }
        if let Ok(layer) = read_tar(&bytes[..], Markers::Removals, None) {
            prop_assert!(Toc::from_sorted(layer.toc.entries().to_vec()).is_ok());
            for entry in layer.toc.entries() {
                let path = entry.path.as_os_str().as_bytes();
                prop_assert!(!path.split(|byte| *byte == b'/').any(|name| name == b".."));
            }
        }
    }

    #[test]
    fn random_headers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 512..2048)) {
        let mut bytes = bytes;
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        for block in bytes.chunks_mut(512) {
            let mut header = Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        let _either_is_fine = read_tar(&bytes[..], Markers::Removals, None);
    }
}
