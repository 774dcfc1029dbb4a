//! Tests that span the files of this module: what one writes, another reads.

mod compression;
mod directories;
mod hostile;
mod laid_out;
mod round_trip;
mod sparse;
mod stacks;
mod upper;

use std::io::{Read, sink};
use std::path::PathBuf;

use super::*;

/// Whether the test runs as root; if not, says so, and fails where everything has to be there.
#[expect(
    clippy::disallowed_methods,
    reason = "tests ask whether they run where nothing may be skipped"
)]
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("{test}: skipped, it needs root");
        assert!(std::env::var_os("CI").is_none(), "{test} needs root");
    }
    is_root
}

/// Content that depends on its path and is exactly as long as it should be.
fn content_of(path: &std::path::Path, size: u64) -> impl Read + use<> {
    let seed = crate::oci::Digest::of(path.as_os_str().as_encoded_bytes());
    let bytes: Vec<u8> = seed
        .as_bytes()
        .iter()
        .copied()
        .cycle()
        .take(usize::try_from(size).unwrap())
        .collect();
    std::io::Cursor::new(bytes)
}

/// Writes entries with content made up from their paths.
fn write_layer(entries: &[Entry]) -> (Layer, Vec<u8>) {
    let mut writer = TarWriter::new(Vec::new());
    for entry in entries {
        let mut content = content_of(&entry.path, entry.size());
        let content: Option<&mut dyn Read> = match entry.kind {
            EntryKind::File { .. } => Some(&mut content),
            _ => None,
        };
        writer.append(entry.clone(), content).unwrap();
    }
    writer.finish().unwrap()
}

/// Entries of one line each, `KIND PATH`, in order: `d` directory, `o` opaque directory, `f` file, `w` removal,
/// `l` symbolic link and `h` hard link with ` -> TARGET`, `p` pipe, `c` device.
fn entries(lines: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (kind, rest) = line.trim().split_once(' ').unwrap();
        let (path, target) = rest.split_once(" -> ").unwrap_or((rest, ""));
        let target = PathBuf::from(target);
        let (kind, mode) = match kind {
            "d" => (EntryKind::directory(), 0o755),
            "o" => (
                EntryKind::Directory {
                    opaque: true,
                    implied: false,
                },
                0o755,
            ),
            "f" => (EntryKind::file(rest.len() as u64), 0o644),
            "w" => return Entry::whiteout(path),
            "l" => (EntryKind::Symlink { target }, 0o777),
            "h" => (EntryKind::HardLink { target }, 0o644),
            "p" => (EntryKind::Fifo, 0o600),
            "c" => (EntryKind::CharDevice { major: 1, minor: 3 }, 0o666),
            other => panic!("kind {other}"),
        };
        Entry::new(path, kind, mode)
    };
    lines.trim().lines().map(entry).collect()
}

/// The reverse of [`entries`]; implied directories are `i`.
fn lines(toc: &Toc) -> Vec<String> {
    let line = |entry: &Entry| {
        let path = entry.path.display();
        match &entry.kind {
            EntryKind::File { .. } => format!("f {path}"),
            EntryKind::Directory {
                opaque: true,
                implied: true,
            } => format!("io {path}"),
            EntryKind::Directory { implied: true, .. } => format!("i {path}"),
            EntryKind::Directory { opaque: true, .. } => format!("o {path}"),
            EntryKind::Directory { .. } => format!("d {path}"),
            EntryKind::Symlink { target } => format!("l {path} -> {}", target.display()),
            EntryKind::HardLink { target } => format!("h {path} -> {}", target.display()),
            EntryKind::CharDevice { .. } => format!("c {path}"),
            EntryKind::BlockDevice { .. } => format!("b {path}"),
            EntryKind::Fifo => format!("p {path}"),
            EntryKind::Whiteout => format!("w {path}"),
        }
    };
    toc.entries().iter().map(line).collect()
}

/// The table of contents of a layer of such lines.
fn toc(text: &str) -> Toc {
    write_layer(&entries(text)).0.toc
}

#[test]
fn an_empty_layer_is_two_empty_blocks() {
    let (layer, _) = TarWriter::new(sink()).finish().unwrap();
    assert!(layer.toc.is_empty());
    assert_eq!(layer.size, 1024);
    let known = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!(layer.diff_id.to_string(), known);
}
