//! Compressing layers for exporters: in parallel, with the same bytes whatever the number of threads.
//!
//! The input is cut into blocks of fixed size. For gzip each block is deflated on its own, with the end of the block
//! before as its dictionary, and ended on a byte boundary, so that the blocks put together are one member. For zstd
//! each block is a frame. Memory is bounded by the number of blocks under way.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use flate2::{Compress, FlushCompress, Status};

use super::error::{Error, Result};
use crate::fsio::HashingWriter;
use crate::oci::Digest;

/// Input of one block; its size is part of what makes the output the same.
const GZIP_BLOCK: usize = 1 << 20;
const ZSTD_BLOCK: usize = 4 << 20;
/// How far back deflate can refer.
const WINDOW: usize = 32 << 10;
/// Deflate, no name, no time, no operating system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// More than these do not help, and each holds blocks in memory.
const MAX_THREADS: usize = 8;

/// How a blob is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// One gzip member.
    Gzip {
        /// 0 to 9; higher ones count as 9.
        level: u32,
    },
    /// A sequence of zstd frames.
    Zstd {
        /// As zstd counts; what is out of its range counts as the end of the range.
        level: i32,
    },
}

/// The identity of a compressed blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// The SHA-256 of the compressed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// Compresses what is written to it. The output is complete only after [`Compressor::finish`].
#[derive(Debug)]
pub struct Compressor<W: Write> {
    out: HashingWriter<W>,
    compression: Compression,
    threads: usize,
    pool: Option<Pool>,
    /// Input of the block at hand; a full one waits until it is known whether it is the last.
    block: Vec<u8>,
    /// The end of the block before.
    dictionary: Vec<u8>,
    checksum: crc32fast::Hasher,
    length: u64,
    started: bool,
}

/// What a block needs to be compressed.
#[derive(Debug)]
struct Job {
    compression: Compression,
    input: Vec<u8>,
    dictionary: Vec<u8>,
    last: bool,
}

/// A compressed block, and the checksum of its input.
#[derive(Debug)]
struct Block {
    output: Vec<u8>,
    checksum: crc32fast::Hasher,
}

/// Threads that compress, and the blocks under way in the order of the output.
#[derive(Debug)]
struct Pool {
    jobs: Sender<(Job, SyncSender<io::Result<Block>>)>,
    under_way: VecDeque<Receiver<io::Result<Block>>>,
    limit: usize,
}

/// Compresses all of `source` into `out`, which is flushed but not synced.
///
/// # Errors
/// Reading, compressing, writing.
pub fn compress<W: Write>(
    compression: Compression,
    threads: NonZeroUsize,
    mut source: impl Read,
    out: W,
) -> Result<(Compressed, W)> {
    let mut compressor = Compressor::new(compression, threads, out);
    let mut buffer = vec![0; super::tar_write::BUFFER];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return compressor.finish(),
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                compressor.write_all(bytes).map_err(Error::Compress)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                let offset = compressor.length;
                return Err(Error::ReadTar { offset, source });
            }
        }
    }
}

impl<W: Write> Compressor<W> {
    /// Compresses into `out`, with up to `threads` threads once there is more than a block.
    pub fn new(compression: Compression, threads: NonZeroUsize, out: W) -> Self {
        Self {
            out: HashingWriter::new(out),
            compression,
            threads: threads.get().min(MAX_THREADS),
            pool: None,
            block: Vec::new(),
            dictionary: Vec::new(),
            checksum: crc32fast::Hasher::new(),
            length: 0,
            started: false,
        }
    }

    /// Ends the stream; what it came to, and the target.
    ///
    /// # Errors
    /// Compressing and writing.
    pub fn finish(mut self) -> Result<(Compressed, W)> {
        self.end().map_err(Error::Compress)?;
        let (digest, size, out) = self.out.finish();
        let digest = Digest::from_bytes(digest);
        Ok((Compressed { digest, size }, out))
    }

    fn end(&mut self) -> io::Result<()> {
        if self.compression != Compression::None {
            self.submit(true)?;
            while self
                .pool
                .as_ref()
                .is_some_and(|pool| !pool.under_way.is_empty())
            {
                self.write_next()?;
            }
        }
        if let Compression::Gzip { .. } = self.compression {
            let checksum = std::mem::take(&mut self.checksum).finalize();
            self.out.write_all(&checksum.to_le_bytes())?;
            let [a, b, c, d, ..] = self.length.to_le_bytes();
            self.out.write_all(&[a, b, c, d])?;
        }
        self.out.flush()
    }

    /// Hands the block at hand to a thread; the last of a stream of one block is done right here.
    fn submit(&mut self, last: bool) -> io::Result<()> {
        if !self.started && matches!(self.compression, Compression::Gzip { .. }) {
            self.out.write_all(&GZIP_HEADER)?;
        }
        self.started = true;
        let input = std::mem::take(&mut self.block);
        let tail = input
            .get(input.len().saturating_sub(WINDOW)..)
            .unwrap_or_default();
        let next_dictionary = match last || !matches!(self.compression, Compression::Gzip { .. }) {
            true => Vec::new(),
            false => tail.to_vec(),
        };
        let job = Job {
            compression: self.compression,
            input,
            dictionary: std::mem::replace(&mut self.dictionary, next_dictionary),
            last,
        };
        if last && self.pool.is_none() {
            let block = job.run()?;
            return self.write_block(block);
        }
        if self.pool.is_none() {
            self.pool = Some(Pool::start(self.threads)?);
        }
        let Some(pool) = &mut self.pool else {
            return Ok(());
        };
        pool.submit(job)?;
        if pool.under_way.len() >= pool.limit {
            self.write_next()?;
        }
        Ok(())
    }

    /// Waits for the block that comes next in the output, and writes it.
    fn write_next(&mut self) -> io::Result<()> {
        let next = self
            .pool
            .as_mut()
            .and_then(|pool| pool.under_way.pop_front());
        let Some(next) = next else { return Ok(()) };
        let block = next
            .recv()
            .map_err(|_| io::Error::other("a compressing thread ended"))??;
        self.write_block(block)
    }

    fn write_block(&mut self, block: Block) -> io::Result<()> {
        self.checksum.combine(&block.checksum);
        self.out.write_all(&block.output)
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = match self.compression {
            Compression::None => {
                let count = self.out.write(bytes)?;
                self.length = self.length.wrapping_add(count as u64);
                return Ok(count);
            }
            Compression::Gzip { .. } => GZIP_BLOCK,
            Compression::Zstd { .. } => ZSTD_BLOCK,
        };
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.block.len() == size {
            self.submit(false)?;
        }
        let count = bytes.len().min(size - self.block.len());
        self.block
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.length = self.length.wrapping_add(count as u64);
        Ok(count)
    }

    /// Hands on what is written out already; a block cannot be ended early without changing the output.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Pool {
    fn start(threads: usize) -> io::Result<Self> {
        let (jobs, queue) = channel::<(Job, SyncSender<io::Result<Block>>)>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let work = move || {
                loop {
                    let next = match queue.lock() {
                        Ok(queue) => queue.recv(),
                        Err(_) => return,
                    };
                    let Ok((job, answer)) = next else { return };
                    // Nobody waits for it if the stream was given up.
                    let _gone = answer.send(job.run());
                }
            };
            // Ends when `jobs` is dropped.
            let _detached = std::thread::Builder::new()
                .name("compress".into())
                .spawn(work)?;
        }
        Ok(Self {
            jobs,
            under_way: VecDeque::new(),
            limit: threads + 2,
        })
    }

    fn submit(&mut self, job: Job) -> io::Result<()> {
        let (answer, result) = sync_channel(1);
        let sent = self.jobs.send((job, answer));
        sent.map_err(|_| io::Error::other("the compressing threads ended"))?;
        self.under_way.push_back(result);
        Ok(())
    }
}

impl Job {
    fn run(self) -> io::Result<Block> {
        match self.compression {
            Compression::Gzip { level } => self.deflate(level),
            Compression::Zstd { level } => {
                let output = zstd::bulk::compress(&self.input, level)?;
                let checksum = crc32fast::Hasher::new();
                Ok(Block { output, checksum })
            }
            Compression::None => Ok(Block {
                output: self.input,
                checksum: crc32fast::Hasher::new(),
            }),
        }
    }

    /// Deflates the block up to a byte boundary, or to the end of the stream.
    fn deflate(self, level: u32) -> io::Result<Block> {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&self.input);
        let mut deflate = Compress::new(flate2::Compression::new(level.min(9)), false);
        if !self.dictionary.is_empty() {
            deflate.set_dictionary(&self.dictionary)?;
        }
        let flush = if self.last {
            FlushCompress::Finish
        } else {
            FlushCompress::Sync
        };
        let mut output = Vec::with_capacity(self.input.len() / 2 + 128);
        loop {
            let done = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
            let rest = self.input.get(done..).unwrap_or_default();
            let status = deflate.compress_vec(rest, &mut output, flush)?;
            // A flush is complete when there is room left in the output.
            let flushed = rest.is_empty() || deflate.total_in() == self.input.len() as u64;
            let complete = match self.last {
                true => status == Status::StreamEnd,
                false => flushed && output.len() < output.capacity(),
            };
            if complete {
                return Ok(Block { output, checksum });
            }
            output.reserve(output.capacity());
        }
    }
}
