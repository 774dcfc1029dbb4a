//! Small self-checking records: one line with the SHA-256 of the rest, then JSON.
//!
//! A record that is torn, truncated, bit-flipped or of another version reads as absent.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fsio::{self, Durability};
use crate::oci::{Digest, canonical_json};

/// Writes a record; the folder is made if need be.
pub(super) fn write<T: Serialize>(
    path: &Path,
    record: &T,
    durability: Durability,
) -> fsio::Result<()> {
    write_body(path, &canonical_json(record), durability)
}

/// Writes a record of something that is no JSON.
pub(super) fn write_body(path: &Path, body: &[u8], durability: Durability) -> fsio::Result<()> {
    let mut bytes = Digest::of(body).hex().into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    write_bytes(path, &bytes, durability)
}

/// Writes a small file; the folder is made if need be.
pub(super) fn write_bytes(path: &Path, bytes: &[u8], durability: Durability) -> fsio::Result<()> {
    match fsio::write_atomic(path, bytes, durability) {
        Err(error) if error.is_not_found() => {
            if let Some(parent) = path.parent() {
                fsio::create_dir_all(parent)?;
            }
            fsio::write_atomic(path, bytes, durability)
        }
        result => result,
    }
}

/// Reads a record; anything wrong with it is absence.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(body(&fsio::read(path).ok()?)?).ok()
}

/// Reads a record of something that is no JSON.
pub(super) fn read_body(path: &Path) -> Option<Vec<u8>> {
    let bytes = fsio::read(path).ok()?;
    body(&bytes).map(<[u8]>::to_vec)
}

/// Whether a file is a record of any kind, undamaged.
pub(super) fn is_sound(path: &Path) -> bool {
    fsio::read(path).is_ok_and(|bytes| body(&bytes).is_some())
}

/// What a record says, if its checksum is that of it.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, body) = bytes.split_at_checked(65)?;
    (Digest::of(body).hex().as_bytes() == &sum[..64]).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_absence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        write(&path, &vec!["x", "y"], Durability::Synced).unwrap();
        assert_eq!(
            read::<Vec<String>>(&path),
            Some(vec!["x".to_owned(), "y".to_owned()])
        );
        let good = fsio::read(&path).unwrap();
        for end in 0..good.len() {
            std::fs::write(&path, &good[..end]).unwrap();
            assert_eq!(read::<Vec<String>>(&path), None, "cut at {end}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            // The newline between sum and body is the one byte that carries nothing.
            assert_eq!(
                read::<Vec<String>>(&path).is_none(),
                at != 64,
                "flipped at {at}"
            );
        }
    }
}
