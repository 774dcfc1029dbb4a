//! Taking compression off, by what the bytes are rather than by what somebody calls them.

use std::io::{self, BufReader, Cursor, Read};

use super::error::{Error, Result};
use super::tar_header::BLOCK;

/// Memory that an xz stream may ask for; `xz -9` takes 65 MiB.
const XZ_MEMORY: u64 = 100 << 20;
/// The window that a zstd frame may ask for, as a power of two; `zstd --ultra -22` takes 27.
const ZSTD_WINDOW_LOG: u32 = 27;
const BUFFER: usize = 64 << 10;

/// How a stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Packing {
    /// What a stream that starts like this is packed with.
    pub(super) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one that is to be skipped and may come first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// Unpacks a stream from its start.
    pub(super) fn unpack<'a>(
        self,
        source: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let source = BufReader::with_capacity(BUFFER, source);
        Ok(match self {
            Self::Plain => Box::new(source),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    XZ_MEMORY,
                    liblzma::stream::CONCATENATED,
                )?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
            }
        })
    }
}

/// The uncompressed bytes of a layer blob: gzip (of any number of members), zstd, or a plain tar.
pub struct Decompressor<'a> {
    inner: Box<dyn Read + Send + 'a>,
}

impl std::fmt::Debug for Decompressor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl<'a> Decompressor<'a> {
    /// Looks at the first bytes of `source`. Media types are not asked: images with wrong ones exist, and every engine
    /// goes by the bytes.
    ///
    /// # Errors
    /// Reading the first bytes; bytes that are neither compressed nor a tar.
    pub fn new(mut source: impl Read + Send + 'a) -> Result<Self> {
        let mut start = Vec::with_capacity(BLOCK);
        let block = &mut (&mut source).take(BLOCK as u64);
        block.read_to_end(&mut start).map_err(Error::Decompress)?;
        let packing = Packing::of(&start);
        let known = match packing {
            Packing::Plain => looks_like_tar(&start),
            Packing::Gzip | Packing::Zstd => true,
            Packing::Bzip2 | Packing::Xz => false,
        };
        if !known {
            let words = "a layer has to be gzip, zstd or an uncompressed tar";
            let error = io::Error::new(io::ErrorKind::InvalidData, words);
            return Err(Error::Decompress(error));
        }
        let whole = Cursor::new(start).chain(source);
        let inner = packing.unpack(whole).map_err(Error::Decompress)?;
        Ok(Self { inner })
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// Whether the first block may be a tar's: a header, the end of an empty one, or nothing at all.
fn looks_like_tar(start: &[u8]) -> bool {
    start.is_empty() || super::tar_read::TarReader::new(start).starts_well()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn every_packing_is_known_by_its_first_bytes() {
        let tar = [0_u8; 1024];
        let gzip = |bytes: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7][..], &zstd(&tar)].concat();
        let cases = [
            tar.to_vec(),
            gzip(&tar),
            [gzip(&tar[..500]), gzip(&tar[500..])].concat(),
            zstd(&tar),
            [zstd(&tar[..500]), zstd(&tar[500..])].concat(),
            skippable,
        ];
        for (number, bytes) in cases.iter().enumerate() {
            let mut unpacked = Vec::new();
            let mut source = Decompressor::new(&bytes[..]).unwrap();
            source.read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, tar, "case {number}");
        }
        for cut in [cases[1].len() - 1, cases[1].len() / 2] {
            let mut source = Decompressor::new(&cases[1][..cut]).unwrap();
            assert!(source.read_to_end(&mut Vec::new()).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn garbage_is_refused_at_once() {
        for bytes in [&b"<html>"[..], &[b'x'; 2000], b"BZh9", &[1; 512]] {
            let error = Decompressor::new(bytes).unwrap_err().to_string();
            assert!(error.contains("has to be gzip, zstd or"), "{error}");
        }
        assert!(Decompressor::new(&b""[..]).is_ok());
    }
}
