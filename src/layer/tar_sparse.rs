//! Where the data of a sparse file in a tar is: the four ways of saying so that GNU tar has had.
//!
//! Untrusted like the rest of the tar. A map holds a bounded number of segments, in order, within the file's size,
//! and exactly as much data as is stored.

use super::error::{Error, Result, TarProblem};
use super::tar_block::parse_number;
use super::tar_header::BLOCK;
use super::tar_pax::decimal;

/// More pieces than any real file is stored in.
const MAX_SEGMENTS: usize = 1 << 18;
/// The largest size, holes included: a few bytes of tar must not become days of zeros.
const MAX_SIZE: u64 = 256 << 30;

/// A piece of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Segment {
    /// Where it ends; checked when the map was made.
    pub(super) const fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Where the data of a sparse file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// The size of the file, holes included.
    pub(super) size: u64,
    pub(super) segments: Vec<Segment>,
    /// How much of what is stored came before the data: the map itself.
    pub(super) stored_before: u64,
}

/// What the extended header says about a sparse file.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    major: Option<u64>,
    size: Option<u64>,
    /// Offsets and lengths in turn.
    numbers: Vec<u64>,
}

/// Gives the next block of what is stored.
type NextBlock<'a> = dyn FnMut() -> Result<[u8; BLOCK]> + 'a;

impl PaxSparse {
    /// Takes a record; `key` is without `GNU.sparse.`.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarProblem> {
        let number = |value: &[u8]| decimal(value).ok_or(TarProblem::SparseMap);
        match key {
            b"major" => self.major = Some(number(value)?),
            b"size" | b"realsize" => self.size = Some(number(value)?),
            b"offset" | b"numbytes" => self.numbers.push(number(value)?),
            b"map" => {
                for text in value.split(|byte| *byte == b',') {
                    self.numbers.push(number(text)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The map of a sparse file with an extended header; in the newest form it is stored before the data, as lines.
pub(super) fn pax_map(said: PaxSparse, stored: u64, next_block: &mut NextBlock<'_>) -> Result<Map> {
    let mut numbers = said.numbers;
    let mut stored_before = 0;
    if said.major == Some(1) {
        let mut wanted = None;
        let mut line = Vec::new();
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            let block = if stored_before < stored {
                next_block()?
            } else {
                return Err(wrong());
            };
            stored_before += BLOCK as u64;
            for byte in block {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let number = decimal(&line).ok_or_else(wrong)?;
                line.clear();
                match wanted {
                    None => {
                        let count = usize::try_from(number)
                            .ok()
                            .filter(|count| *count <= MAX_SEGMENTS);
                        wanted = Some(2 * count.ok_or_else(wrong)?);
                    }
                    Some(wanted) if numbers.len() < wanted => numbers.push(number),
                    Some(_) => {}
                }
                if wanted == Some(numbers.len()) {
                    break;
                }
            }
            if line.len() > BLOCK {
                return Err(wrong());
            }
        }
    }
    let pairs = numbers.chunks(2).map(|pair| match pair {
        [offset, length] => Ok(Segment {
            offset: *offset,
            length: *length,
        }),
        _ => Err(wrong()),
    });
    let segments = pairs.collect::<Result<Vec<_>>>()?;
    checked(
        Map {
            size: said.size.ok_or_else(wrong)?,
            segments,
            stored_before,
        },
        stored,
    )
}

/// The map of an old GNU sparse file: four segments in the header, the others in blocks after it. Those blocks are not
/// part of what the header calls stored.
pub(super) fn gnu_map(
    header: &[u8; BLOCK],
    stored: u64,
    next_block: &mut NextBlock<'_>,
) -> Result<Map> {
    let mut segments = Vec::new();
    read_pairs(&header[386..482], &mut segments)?;
    let mut more = header[482] != 0;
    while more {
        let block = next_block()?;
        read_pairs(&block[..504], &mut segments)?;
        more = block[504] != 0;
        if segments.len() > MAX_SEGMENTS {
            return Err(wrong());
        }
    }
    let size = parse_number(&header[483..495]).and_then(|size| u64::try_from(size).ok());
    let size = size.ok_or_else(wrong)?;
    checked(
        Map {
            size,
            segments,
            stored_before: 0,
        },
        stored,
    )
}

fn read_pairs(bytes: &[u8], segments: &mut Vec<Segment>) -> Result<()> {
    for pair in bytes.chunks_exact(24) {
        let (offset, length) = pair.split_at(12);
        // An empty field, not a zero, says that there are no more.
        if length[0] == 0 {
            continue;
        }
        let number = |field| parse_number(field).and_then(|number| u64::try_from(number).ok());
        segments.push(Segment {
            offset: number(offset).ok_or_else(wrong)?,
            length: number(length).ok_or_else(wrong)?,
        });
    }
    Ok(())
}

/// Checks that segments are in order, fit the size and are all that is stored.
fn checked(map: Map, stored: u64) -> Result<Map> {
    let mut end = 0_u64;
    let mut data = 0_u64;
    for segment in &map.segments {
        if segment.offset < end {
            return Err(wrong());
        }
        end = segment
            .offset
            .checked_add(segment.length)
            .ok_or_else(wrong)?;
        data = data.checked_add(segment.length).ok_or_else(wrong)?;
    }
    let is_right = end <= map.size
        && map.size <= MAX_SIZE
        && map.segments.len() <= MAX_SEGMENTS
        && map.stored_before.checked_add(data) == Some(stored);
    match is_right {
        true => Ok(map),
        false => Err(wrong()),
    }
}

/// The reader of the tar knows where it is and puts that in.
fn wrong() -> Error {
    Error::MalformedTar {
        offset: 0,
        problem: TarProblem::SparseMap,
    }
}
