//! The content of an upload: read on a blocking thread, handed piece by piece to the bodies of requests.
//!
//! A few pieces are in memory at a time; reading waits for the network.

use std::io::{self, Read as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream;
use tokio::sync::mpsc;

use super::push::{Progress, PushBlob, PushEvent};
use super::transport::Outgoing;
use crate::oci::Digest;

/// How much is read and handed over at a time.
pub(super) const PIECE: u64 = 256 << 10;

/// How many pieces wait for the network.
const WAITING_PIECES: usize = 2;

/// The content of one blob for one attempt to send it.
pub(super) struct Content {
    blob: PushBlob,
    progress: Progress,
    /// The last time it was opened.
    opening: Mutex<Option<Arc<Opening>>>,
    /// Why reading failed.
    failure: Arc<Mutex<Option<io::Error>>>,
}

/// The content from its start. Bodies of one opening go on where the one before ended.
struct Opening {
    pieces: tokio::sync::Mutex<mpsc::Receiver<io::Result<Vec<u8>>>>,
    /// Bytes handed over.
    moved: Arc<AtomicU64>,
    digest: Digest,
    size: u64,
    progress: Progress,
}

impl Content {
    pub(super) fn new(blob: &PushBlob, progress: &Progress) -> Self {
        Self {
            blob: blob.clone(),
            progress: Arc::clone(progress),
            opening: Mutex::default(),
            failure: Arc::default(),
        }
    }

    /// A body with all of it.
    pub(super) fn whole(&self) -> Outgoing {
        self.open().next(self.blob.descriptor.size)
    }

    /// A body with the next `length` bytes, a multiple of [`PIECE`] or all that is left.
    pub(super) fn next(&self, length: u64) -> Outgoing {
        let opening = self.opening.lock();
        let opening = opening.unwrap_or_else(PoisonError::into_inner).clone();
        opening.unwrap_or_else(|| self.open()).next(length)
    }

    /// Starts to read from the start.
    fn open(&self) -> Arc<Opening> {
        let (sender, receiver) = mpsc::channel(WAITING_PIECES);
        let opening = Arc::new(Opening {
            pieces: tokio::sync::Mutex::new(receiver),
            moved: Arc::default(),
            digest: self.blob.descriptor.digest,
            size: self.blob.descriptor.size,
            progress: Arc::clone(&self.progress),
        });
        let last = self.opening.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&opening));
        let (blob, failure) = (self.blob.clone(), Arc::clone(&self.failure));
        // Ends by itself when the content ends or nobody wants it any more.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read_pieces(&blob, &sender) {
                let words = io::Error::new(error.kind(), "the content could not be read");
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                // The request fails with it, if it is still there.
                drop(sender.blocking_send(Err(words)));
            }
        });
        opening
    }

    /// Why reading failed, if it did. Told once.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Opening {
    fn next(self: Arc<Self>, length: u64) -> Outgoing {
        let moved = Arc::clone(&self.moved);
        let pieces = stream::unfold((self, length), |(opening, left)| async move {
            if left == 0 {
                return None;
            }
            let next = opening.pieces.lock().await.recv().await;
            let piece = next.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
            let left = match &piece {
                Ok(piece) => left.saturating_sub(opening.count(piece)),
                Err(_) => 0,
            };
            Some((piece, (opening, left)))
        });
        Outgoing::stream(reqwest::Body::wrap_stream(pieces), length, moved)
    }

    /// Counts a piece and tells of it; gives its length.
    fn count(&self, piece: &[u8]) -> u64 {
        let length = piece.len() as u64;
        let before = self.moved.fetch_add(length, Ordering::Relaxed);
        (self.progress)(PushEvent::Sending {
            digest: self.digest,
            current: before + length,
            total: self.size,
        });
        length
    }
}

/// Reads the content to its end, which has to be where the descriptor says.
fn read_pieces(blob: &PushBlob, sender: &mpsc::Sender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let size = blob.descriptor.size;
    let mut reader = (blob.open)()?;
    let mut left = size;
    while left > 0 {
        let length = PIECE.min(left);
        let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        reader.by_ref().take(length).read_to_end(&mut piece)?;
        if (piece.len() as u64) < length {
            return Err(wrong_size(blob.descriptor.digest, size, "fewer"));
        }
        left -= length;
        if left == 0 && reader.read(&mut [0])? > 0 {
            return Err(wrong_size(blob.descriptor.digest, size, "more"));
        }
        if sender.blocking_send(Ok(piece)).is_err() {
            // The request is over.
            return Ok(());
        }
    }
    Ok(())
}

fn wrong_size(digest: Digest, size: u64, what: &str) -> io::Error {
    let text = format!("it has {what} than the {size} bytes that {digest} has");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &'static [u8], stated: u64) -> io::Result<Vec<u8>> {
        let mut blob = PushBlob::from_bytes("x/y", content);
        blob.descriptor.size = stated;
        let (sender, mut receiver) = mpsc::channel(100);
        read_pieces(&blob, &sender)?;
        drop(sender);
        let mut all = Vec::new();
        while let Some(piece) = receiver.blocking_recv() {
            all.extend(piece?);
        }
        Ok(all)
    }

    #[test]
    fn content_of_the_wrong_size_is_refused() {
        assert_eq!(read(b"", 0).unwrap(), b"");
        assert_eq!(read(b"abc", 3).unwrap(), b"abc");
        let large: &'static [u8] = &[7; 600_000];
        assert_eq!(read(large, 600_000).unwrap(), large);
        assert!(read(b"abc", 4).unwrap_err().to_string().contains("fewer"));
        assert!(read(b"abc", 2).unwrap_err().to_string().contains("more"));
        assert!(read(large, PIECE).unwrap_err().to_string().contains("more"));
    }
}
