//! Sparse files in the four forms that GNU tar has written over the years.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::fsio;
use crate::oci::Digest;

/// A file of 3 MiB with three islands of data, the last at its end.
fn sparse_file(path: &Path) -> Vec<u8> {
    let mut file = fsio::create(path).unwrap();
    for (offset, text) in [(0, "start"), (1 << 20, "middle"), ((3 << 20) - 3, "end")] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    fsio::read(path).unwrap()
}

#[test]
fn sparse_files_of_gnu_tar_have_their_holes_filled() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = sparse_file(&dir.path().join("holes"));
    fsio::write_atomic(&dir.path().join("zz"), b"after", fsio::Durability::Cached).unwrap();
    for format in ["gnu", "0.0", "0.1", "1.0"] {
        let archive = dir.path().join("archive.tar");
        let mut tar = Command::new("tar");
        tar.arg("--create")
            .arg("--sparse")
            .arg("--file")
            .arg(&archive)
            .arg("-C")
            .arg(dir.path());
        match format {
            "gnu" => tar.arg("--format=gnu"),
            version => tar
                .arg("--format=posix")
                .arg(format!("--sparse-version={version}")),
        };
        let status = tar.args(["holes", "zz"]).status().unwrap();
        assert!(status.success());
        let packed = fsio::read(&archive).unwrap();
        assert!(packed.len() < 1 << 20, "{format} leaves holes out");
        let layer = read_tar(&packed[..], Markers::Names, None).unwrap();
        assert_eq!(lines(&layer.toc), ["f holes", "f zz"], "{format}");
        let entry = layer.toc.get("holes").unwrap();
        let EntryKind::File {
            size,
            digest,
            sparse,
            ..
        } = entry.kind
        else {
            panic!("a file");
        };
        assert_eq!(
            (size, digest, sparse),
            (bytes.len() as u64, Digest::of(&bytes), true),
            "{format}"
        );
        let source = ContentSource::Tar(archive.clone());
        let mut content = Vec::new();
        source
            .open(entry)
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        assert!(content == bytes, "{format}");
        let mut after = String::new();
        source
            .open(layer.toc.get("zz").unwrap())
            .unwrap()
            .read_to_string(&mut after)
            .unwrap();
        assert_eq!(after, "after");
    }
}

#[test]
fn maps_that_contradict_themselves_are_refused() {
    let with = |records: &[&str], content: &[u8]| {
        let mut body = String::new();
        for record in records {
            let rest = record.len() + 2;
            let length = rest + (rest + 2).to_string().len();
            body += &format!("{length} {record}\n");
        }
        let tar =
            super::hostile::Forge::default().add(tar::EntryType::XHeader, "x", "", body.as_bytes());
        let tar = tar.add(tar::EntryType::Regular, "a", "", content);
        read_tar(&tar.0[..], Markers::Names, None).map(|layer| layer.toc.get("a").unwrap().size())
    };
    let good = with(&["GNU.sparse.size=9", "GNU.sparse.map=2,3"], b"abc");
    assert_eq!(good.unwrap(), 9);
    let bad: [(&[&str], &[u8]); 10] = [
        (&["GNU.sparse.map=2,3"], b"abc"),
        (&["GNU.sparse.size=9", "GNU.sparse.map=2"], b"abc"),
        (&["GNU.sparse.size=9", "GNU.sparse.map=2,4"], b"abc"),
        (&["GNU.sparse.size=4", "GNU.sparse.map=2,3"], b"abc"),
        (&["GNU.sparse.size=9", "GNU.sparse.map=4,1,2,2"], b"abc"),
        (
            &["GNU.sparse.size=9", "GNU.sparse.map=18446744073709551615,3"],
            b"abc",
        ),
        (
            &["GNU.sparse.size=18446744073709551615", "GNU.sparse.map=2,3"],
            b"abc",
        ),
        (&["GNU.sparse.major=1", "GNU.sparse.realsize=9"], b"abc"),
        (
            &["GNU.sparse.major=1", "GNU.sparse.realsize=9"],
            b"99999999\n",
        ),
        (&["GNU.sparse.major=1", "GNU.sparse.realsize=9"], b""),
    ];
    for (number, (records, content)) in bad.iter().enumerate() {
        let error = with(records, content).unwrap_err().to_string();
        assert!(error.contains("malformed tar"), "case {number}: {error}");
    }
}
