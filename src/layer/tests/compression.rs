//! Compressed layers: the same for any number of threads, and readable by others.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use super::*;
use crate::oci::Digest;

/// Text that compresses like text: words of a made-up language.
fn text(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % 500
    };
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(format!("w{:x} ", next()).as_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn packed(compression: Compression, threads: usize, bytes: &[u8]) -> (Compressed, Vec<u8>) {
    let threads = NonZeroUsize::new(threads).unwrap();
    compress(compression, threads, bytes, Vec::new()).unwrap()
}

#[test]
fn the_output_does_not_depend_on_threads_and_unpacks_to_the_input() {
    const MIB: usize = 1 << 20;
    let gzip = Compression::Gzip { level: 6 };
    let zstd = Compression::Zstd { level: 3 };
    let sizes = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 7];
    let cases = sizes.map(|size| (gzip, size)).into_iter();
    let more = [0, 1, 4 * MIB, 4 * MIB + 1, 9 * MIB].map(|size| (zstd, size));
    for (compression, size) in cases.chain(more) {
        let input = text(size);
        let (facts, bytes) = packed(compression, 1, &input);
        assert_eq!(
            (facts.digest, facts.size),
            (Digest::of(&bytes), bytes.len() as u64)
        );
        for threads in [2, 5] {
            let other = packed(compression, threads, &input);
            assert!(other.1 == bytes, "{compression:?} {size} {threads}");
        }
        let mut unpacked = Vec::new();
        match compression {
            // One member, as readers that stop at the end of the first need it.
            Compression::Gzip { .. } => flate2::read::GzDecoder::new(&bytes[..])
                .read_to_end(&mut unpacked)
                .unwrap(),
            _ => zstd::stream::read::Decoder::new(&bytes[..])
                .unwrap()
                .read_to_end(&mut unpacked)
                .unwrap(),
        };
        assert!(unpacked == input, "{compression:?} {size}");
        assert!(
            size < MIB || bytes.len() < size / 2,
            "{compression:?} {size} shrinks"
        );
    }
}

#[test]
fn it_does_not_matter_how_the_input_is_cut() {
    let input = text(2_500_000);
    for compression in [
        Compression::Gzip { level: 1 },
        Compression::Zstd { level: 1 },
        Compression::None,
    ] {
        let whole = packed(compression, 2, &input);
        let mut pieces = Compressor::new(compression, NonZeroUsize::MIN, Vec::new());
        for piece in input.chunks(77_777) {
            pieces.write_all(piece).unwrap();
            pieces.flush().unwrap();
        }
        assert!(pieces.finish().unwrap() == whole, "{compression:?}");
    }
    assert_eq!(packed(Compression::None, 1, &input).1, input);
}

#[test]
fn every_level_works_and_input_that_does_not_shrink_too() {
    let mut random = vec![0; 2 << 20];
    let mut state = 7_u64;
    for byte in &mut random {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = state.to_be_bytes()[0];
    }
    for level in [0, 1, 9, 1000] {
        let (_, bytes) = packed(Compression::Gzip { level }, 2, &random);
        let mut unpacked = Vec::new();
        Decompressor::new(&bytes[..])
            .unwrap()
            .read_to_end(&mut unpacked)
            .unwrap();
        assert!(unpacked == random, "level {level}");
    }
    for level in [-5, 0, 1000] {
        assert!(packed(Compression::Zstd { level }, 2, &text(5000)).0.size > 0);
    }
}

#[test]
fn gzip_accepts_it() {
    let (_, bytes) = packed(Compression::Gzip { level: 6 }, 2, &text(2_500_000));
    let mut gzip = Command::new("gzip")
        .arg("-t")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    gzip.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(gzip.wait().unwrap().success());
}

#[test]
fn a_target_that_fails_ends_it() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let input = text(9 << 20);
    let result = compress(
        Compression::Gzip { level: 1 },
        NonZeroUsize::MIN,
        &input[..],
        Full,
    );
    assert!(matches!(result, Err(Error::Compress(_))));
}
