//! Reads the entries of an untrusted tar, one after the other: ustar, old tar, GNU and PAX extensions, sparse files.
//!
//! Names come as they stand in the tar; what they mean for a layer is `layer_read`'s business. Own code rather than a
//! library's, because extended headers have to be bounded, attributes may hold any byte, and what a tar means has to
//! be what the engines that run images take it to mean. Memory is bounded by [`MAX_EXTENDED`] and the sparse map.

use std::io::{self, Read};

use super::entry::Xattrs;
use super::error::{Error, Result, TarProblem};
use super::tar_block::Header;
use super::tar_header::{BLOCK, padding};
use super::tar_pax::{Extensions, text_until_nul};
use super::tar_sparse::{self, Segment};

/// The largest extended header, long name or long link that is read.
const MAX_EXTENDED: u64 = 1 << 20;

/// An entry of a tar as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry {
    /// The name, unchanged; directories may end in a slash.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: TarKind,
    /// The low 12 mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since the epoch, rounded down.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Where its content starts; for a sparse file, where its first header starts.
    pub offset: u64,
}

/// What an entry of a tar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file; its content is what [`TarReader`] reads next.
    File {
        /// Bytes of content, holes included.
        size: u64,
        /// Whether holes are left out in the tar.
        sparse: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A second name for the entry of that name.
    HardLink(Vec<u8>),
    /// A character device, by class and number.
    CharDevice(u32, u32),
    /// A block device, by class and number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// The entries of a tar. Between two calls of [`TarReader::next_entry`], reading from it gives the content of the file.
#[derive(Debug)]
pub struct TarReader<R> {
    source: R,
    /// Bytes taken from `source`.
    position: u64,
    content: Content,
}

/// The content of the entry at hand. A plain file is a sparse one with one segment.
#[derive(Debug, Default)]
struct Content {
    /// Size with holes.
    size: u64,
    /// How much has been read, holes included.
    at: u64,
    /// Where there is data, in order; those before `next` are done.
    segments: Vec<Segment>,
    next: usize,
    /// Bytes of it that are still in the tar.
    stored: u64,
    /// Bytes that fill its last block.
    padding: u64,
}

impl<R: Read> TarReader<R> {
    /// The entries of the uncompressed tar that `source` gives. Reads block by block: give it a buffered source.
    pub fn new(source: R) -> Self {
        Self::at(source, 0)
    }

    /// The entries of a tar from the headers at `offset` on, where `source` stands.
    pub(super) fn at(source: R, offset: u64) -> Self {
        Self {
            source,
            position: offset,
            content: Content::default(),
        }
    }

    /// Whether the first block is a header or the end.
    pub(super) fn starts_well(&mut self) -> bool {
        match self.next_block() {
            Ok(Some(block)) => Header(&block).verify().is_ok(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Where in the tar reading is.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The source, wherever it stands.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// Skips what is left of the content of the entry before and reads the next one's headers; `None` at the end.
    ///
    /// # Errors
    /// Bytes that are no tar, and failures of the source.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>> {
        self.skip_content()?;
        let start = self.position;
        let wrong = |problem| Error::MalformedTar {
            offset: start,
            problem,
        };
        let mut extensions = Extensions::default();
        let mut long_name = None;
        let mut long_link = None;
        let mut extended = false;
        loop {
            let Some(block) = self.next_block()? else {
                return match extended {
                    true => Err(wrong(TarProblem::LoneExtendedHeader)),
                    false => Ok(None),
                };
            };
            let header = Header(&block);
            header.verify().map_err(wrong)?;
            extended |= matches!(header.entry_type(), b'x' | b'L' | b'K');
            match header.entry_type() {
                b'x' => {
                    let bytes = self.read_extended(&header, start)?;
                    extensions = Extensions::parse(&bytes).map_err(wrong)?;
                }
                // Defaults for all that follows; nothing that makes layers writes any that matter.
                b'g' => {
                    self.read_extended(&header, start)?;
                }
                b'L' => {
                    long_name = Some(text_until_nul(&self.read_extended(&header, start)?).to_vec())
                }
                b'K' => {
                    long_link = Some(text_until_nul(&self.read_extended(&header, start)?).to_vec())
                }
                _ => {
                    let entry = self.entry(&header, start, extensions, long_name, long_link)?;
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// Puts an entry together and makes its content ready to be read.
    fn entry(
        &mut self,
        header: &Header<'_>,
        start: u64,
        extensions: Extensions,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<TarEntry> {
        let wrong = |problem| Error::MalformedTar {
            offset: start,
            problem,
        };
        let number = |field, value: Result<i64, TarProblem>| {
            let fits = value.map(u32::try_from);
            fits.map_err(wrong)?
                .map_err(|_| wrong(TarProblem::Number(field)))
        };
        let stored = match extensions.size {
            Some(size) => size,
            None => u64::try_from(header.number("size", 124..136).map_err(wrong)?)
                .map_err(|_| wrong(TarProblem::Number("size")))?,
        };
        let name = extensions
            .path
            .or(long_name)
            .unwrap_or_else(|| header.name());
        let link = extensions
            .link
            .or(long_link)
            .unwrap_or_else(|| header.link());
        let mut offset = self.position;
        let device = || -> Result<(u32, u32)> {
            let major = number("devmajor", header.number("devmajor", 329..337))?;
            Ok((
                major,
                number("devminor", header.number("devminor", 337..345))?,
            ))
        };
        let kind = match header.entry_type() {
            0 if name.ends_with(b"/") => TarKind::Directory,
            0 | b'0' | b'7' => {
                let map = match extensions.sparse {
                    Some(map) => {
                        let map =
                            tar_sparse::pax_map(map, stored, &mut || self.content_block(start));
                        Some(map.map_err(|error| located(error, start))?)
                    }
                    None => None,
                };
                self.file(map, stored, start, &mut offset)?
            }
            b'S' => {
                let map = tar_sparse::gnu_map(header.0, stored, &mut || self.content_block(start));
                let map = map.map_err(|error| located(error, start))?;
                self.file(Some(map), stored, start, &mut offset)?
            }
            b'1' => TarKind::HardLink(link),
            b'2' => TarKind::Symlink(link),
            b'3' => device().map(|(major, minor)| TarKind::CharDevice(major, minor))?,
            b'4' => device().map(|(major, minor)| TarKind::BlockDevice(major, minor))?,
            b'5' => TarKind::Directory,
            b'6' => TarKind::Fifo,
            other => return Err(wrong(TarProblem::EntryType(other))),
        };
        Ok(TarEntry {
            name: extensions.sparse_name.unwrap_or(name),
            kind,
            mode: header.mode().map_err(wrong)?,
            uid: extensions
                .uid
                .map_or_else(|| number("uid", header.number("uid", 108..116)), Ok)?,
            gid: extensions
                .gid
                .map_or_else(|| number("gid", header.number("gid", 116..124)), Ok)?,
            mtime: extensions
                .mtime
                .map_or_else(|| header.number("mtime", 136..148).map_err(wrong), Ok)?,
            xattrs: extensions.xattrs,
            offset,
        })
    }

    /// Makes the content of a file ready to be read.
    fn file(
        &mut self,
        map: Option<tar_sparse::Map>,
        stored: u64,
        start: u64,
        offset: &mut u64,
    ) -> Result<TarKind> {
        let sparse = map.is_some();
        // The map of some sparse formats is part of what is stored.
        let (size, segments, before) = match map {
            Some(map) => (map.size, map.segments, map.stored_before),
            None => (
                stored,
                vec![Segment {
                    offset: 0,
                    length: stored,
                }],
                0,
            ),
        };
        if sparse {
            *offset = start;
        }
        self.content = Content {
            size,
            at: 0,
            segments,
            next: 0,
            stored: stored.saturating_sub(before),
            padding: padding(stored) as u64,
        };
        Ok(TarKind::File { size, sparse })
    }

    /// The next header block; `None` where the tar ends, be it by a block of zeros or without one.
    fn next_block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let start = self.position;
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_source(rest)? {
                0 if filled == 0 => return Ok(None),
                0 => {
                    let problem = TarProblem::Truncated;
                    return Err(Error::MalformedTar {
                        offset: start,
                        problem,
                    });
                }
                count => filled += count,
            }
        }
        Ok((block != [0; BLOCK]).then_some(block))
    }

    /// A block that has to be there, because a header said so.
    fn content_block(&mut self, start: u64) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.read_exactly(&mut block, start)?;
        Ok(block)
    }

    /// The content of an extended header, of bounded size.
    fn read_extended(&mut self, header: &Header<'_>, start: u64) -> Result<Vec<u8>> {
        let wrong = |problem| Error::MalformedTar {
            offset: start,
            problem,
        };
        let size = header.number("size", 124..136).map_err(wrong)?;
        let size = u64::try_from(size).map_err(|_| wrong(TarProblem::Number("size")))?;
        if size > MAX_EXTENDED {
            return Err(wrong(TarProblem::ExtendedHeaderSize));
        }
        let length = usize::try_from(size).map_err(|_| wrong(TarProblem::ExtendedHeaderSize))?;
        let mut bytes = vec![0; length + padding(size)];
        self.read_exactly(&mut bytes, start)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn read_exactly(&mut self, mut buffer: &mut [u8], start: u64) -> Result<()> {
        while !buffer.is_empty() {
            let count = self.read_source(buffer)?;
            if count == 0 {
                let problem = TarProblem::Truncated;
                return Err(Error::MalformedTar {
                    offset: start,
                    problem,
                });
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn skip_content(&mut self) -> Result<()> {
        let start = self.position;
        let mut left = self.content.stored.saturating_add(self.content.padding);
        self.content = Content::default();
        let mut buffer = [0; 16 << 10];
        while left > 0 {
            let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let bytes = buffer.get_mut(..want).unwrap_or_default();
            self.read_exactly(bytes, start)?;
            left -= want as u64;
        }
        Ok(())
    }

    fn read_source(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.source.read(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.position;
                    return Err(Error::ReadTar { offset, source });
                }
            }
        }
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let content = &mut self.content;
        let left = content.size - content.at;
        if left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        while content
            .segments
            .get(content.next)
            .is_some_and(|segment| segment.end() <= content.at)
        {
            content.next += 1;
        }
        let (is_data, length) = match content.segments.get(content.next) {
            Some(segment) if segment.offset <= content.at => (true, segment.end() - content.at),
            Some(segment) => (false, segment.offset - content.at),
            None => (false, left),
        };
        let length = usize::try_from(length.min(left)).unwrap_or(usize::MAX);
        let length = length.min(buffer.len());
        let part = buffer.get_mut(..length).unwrap_or_default();
        let count = if is_data {
            let count = self.source.read(part)?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    TarProblem::Truncated,
                ));
            }
            content.stored = content.stored.saturating_sub(count as u64);
            self.position += count as u64;
            count
        } else {
            part.fill(0);
            length
        };
        content.at += count as u64;
        Ok(count)
    }
}

/// Says where the entry is whose sparse map is wrong.
fn located(error: Error, start: u64) -> Error {
    match error {
        Error::MalformedTar {
            problem: problem @ TarProblem::SparseMap,
            ..
        } => Error::MalformedTar {
            offset: start,
            problem,
        },
        other => other,
    }
}
