//! The hash of a file's content, computed beside the thread that copies it when the file is big.
//!
//! Content is hashed twice, for the file and for the tar around it; for big files the former goes to a thread of its
//! own, over a channel that holds a few buffers at the most.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

use crate::oci::Digest;

/// Below this a thread costs more than it saves.
const BIG: u64 = 4 << 20;
/// Buffers under way at once.
const IN_FLIGHT: usize = 4;

/// A hash under way.
#[derive(Debug)]
pub(super) enum ContentHash {
    /// On the caller's thread.
    Here(Sha256),
    /// On a thread of its own.
    Beside {
        /// Bytes to be hashed.
        to_hash: SyncSender<Vec<u8>>,
        /// Buffers to be filled again.
        spare: Receiver<Vec<u8>>,
        /// Buffers that exist.
        buffers: usize,
        /// Ends when `to_hash` is dropped.
        thread: JoinHandle<Digest>,
    },
}

impl ContentHash {
    /// The hash of content that is about to come, of about `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        if size < BIG {
            return Self::Here(Sha256::new());
        }
        let (to_hash, hash_next) = sync_channel::<Vec<u8>>(IN_FLIGHT);
        let (give_back, spare) = sync_channel(IN_FLIGHT + 2);
        let work = move || {
            let mut hasher = Sha256::new();
            for bytes in hash_next {
                hasher.update(&bytes);
                // Whoever filled it may be gone already.
                let _gone = give_back.try_send(bytes);
            }
            Digest::from_bytes(hasher.finalize().into())
        };
        match std::thread::Builder::new().name("hash".into()).spawn(work) {
            Ok(thread) => Self::Beside {
                to_hash,
                spare,
                buffers: 0,
                thread,
            },
            // No thread to be had: slower, not wrong.
            Err(_) => Self::Here(Sha256::new()),
        }
    }

    /// Adds bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Here(hasher) => hasher.update(bytes),
            Self::Beside {
                to_hash,
                spare,
                buffers,
                ..
            } => {
                let mut buffer = match spare.try_recv() {
                    Ok(buffer) => buffer,
                    Err(_) if *buffers < IN_FLIGHT + 2 => {
                        *buffers += 1;
                        Vec::new()
                    }
                    Err(_) => spare.recv().unwrap_or_default(),
                };
                buffer.clear();
                buffer.extend_from_slice(bytes);
                // The thread ends only after the sender is dropped, so there is somebody to receive.
                let _received = to_hash.send(buffer);
            }
        }
    }

    /// The digest of all bytes.
    pub(super) fn finish(self) -> Digest {
        match self {
            Self::Here(hasher) => Digest::from_bytes(hasher.finalize().into()),
            Self::Beside {
                to_hash, thread, ..
            } => {
                drop(to_hash);
                match thread.join() {
                    Ok(digest) => digest,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_digest_on_either_thread() {
        let bytes: Vec<u8> = (0..9 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        for size in [0, BIG] {
            let mut hash = ContentHash::new(size);
            bytes.chunks(100_000).for_each(|chunk| hash.update(chunk));
            assert_eq!(hash.finish(), Digest::of(&bytes));
        }
    }
}
