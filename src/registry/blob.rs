//! Pulls a blob: as a stream, resumed where the connection broke, verified before its last byte is handed out.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::RegistryError;
use super::network::Network;
use super::transport::{
    Answer, ContentError, Failure, Outgoing, Place, Request, SafeUrl, Scopes, Target, Transport,
    Unreachable, pause,
};
use crate::oci::{Descriptor, Digest};

/// A blob on its way. Holds one piece of it at a time.
#[derive(Debug)]
pub(super) struct Pull {
    transport: Arc<Transport>,
    /// Where it is looked for, and where next.
    place: Place,
    others: VecDeque<Place>,
    digest: Digest,
    size: u64,
    /// Bytes handed out, and their hash.
    received: u64,
    hasher: Sha256,
    /// The running answer; `None` after a break and at the end.
    answer: Option<Answer>,
    /// Bytes of the running answer that were handed out before, because the server cannot resume.
    repeated: u64,
    /// Attempts since the last byte came.
    failures: u32,
    verified: bool,
}

impl Pull {
    /// Asks for the blob where it may be, in order.
    pub(super) async fn start(
        transport: Arc<Transport>,
        places: Vec<Place>,
        descriptor: &Descriptor,
    ) -> Result<Self, Failure> {
        let mut others = VecDeque::from(places);
        let nowhere = || Failure::Setup("no registry to ask".to_owned());
        let mut pull = Self {
            transport,
            place: others.pop_front().ok_or_else(nowhere)?,
            others,
            digest: descriptor.digest,
            size: descriptor.size,
            received: 0,
            hasher: Sha256::new(),
            answer: None,
            repeated: 0,
            failures: 0,
            verified: false,
        };
        pull.connect().await?;
        Ok(pull)
    }

    /// The next piece, `None` at the end of a blob that is what its descriptor says.
    pub(super) async fn piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let piece = self.next_piece().await;
        if let Err(failure) = &piece {
            self.transport.failed_at(&self.place, failure);
        }
        piece
    }

    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if self.received == self.size {
                self.verify()?;
                return Ok(None);
            }
            let Some(answer) = &mut self.answer else {
                self.connect().await?;
                continue;
            };
            match answer.piece().await {
                Ok(Some(piece)) => {
                    let piece = self.without_repetition(piece);
                    if piece.is_empty() {
                        continue;
                    }
                    self.take(&piece)?;
                    return Ok(Some(piece));
                }
                Ok(None) => {
                    let url = SafeUrl::from(answer.url());
                    let failure = Failure::Unreachable {
                        url,
                        cause: Unreachable::Connection,
                        message: "the answer ended early".to_owned(),
                        attempts: 1,
                    };
                    self.broken(failure).await?;
                }
                Err(failure) => self.broken(failure).await?,
            }
        }
    }

    /// Asks for what is missing until there is an answer or patience ends.
    async fn connect(&mut self) -> Result<(), Failure> {
        while self.answer.is_none() {
            if let Err(failure) = self.connect_once().await {
                self.broken(failure).await?;
            }
        }
        Ok(())
    }

    /// Waits after a failure, goes on elsewhere, or gives up. The same digest is the same content, so what has come need
    /// not come again.
    async fn broken(&mut self, failure: Failure) -> Result<(), Failure> {
        self.answer = None;
        self.failures += 1;
        if let Some(wait) = pause(&self.place.patience, &failure, self.failures) {
            tokio::time::sleep(wait).await;
            return Ok(());
        }
        let failure = failure.with_attempts(self.failures);
        let Some(next) = self.others.pop_front() else {
            return Err(failure);
        };
        self.transport.failed_at(&self.place, &failure);
        self.place = next;
        self.failures = 0;
        Ok(())
    }

    async fn connect_once(&mut self) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        if self.received > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.received));
            headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let request = Request {
            method: Method::GET,
            target: Target::Path(format!("{}/blobs/{}", self.place.repository, self.digest)),
            headers,
            body: &Outgoing::nothing,
            scopes: &Scopes::pull(&self.place.repository),
        };
        let answer = self.transport.send(&self.place.endpoint, &request).await?;
        let start = if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = answer.header(CONTENT_RANGE.as_str());
            range.and_then(range_start).ok_or_else(|| {
                Failure::protocol(answer.url(), "answered with a part but does not say which")
            })?
        } else {
            0
        };
        let Some(repeated) = self.received.checked_sub(start) else {
            return Err(Failure::protocol(
                answer.url(),
                "answered with another part than it was asked for",
            ));
        };
        let length = answer.header(CONTENT_LENGTH.as_str());
        if let Some(length) = length.and_then(|text| text.parse::<u64>().ok()) {
            self.check_size(start.saturating_add(length))?;
        }
        self.repeated = repeated;
        self.answer = Some(answer);
        Ok(())
    }

    fn check_size(&self, found: u64) -> Result<(), ContentError> {
        if found == self.size {
            Ok(())
        } else {
            Err(ContentError::Size {
                digest: self.digest,
                expected: self.size,
                found,
            })
        }
    }

    /// The part of a piece that was not handed out before.
    fn without_repetition(&mut self, mut piece: Vec<u8>) -> Vec<u8> {
        let known = usize::try_from(self.repeated)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        self.repeated -= known as u64;
        if known > 0 {
            piece.drain(..known);
        }
        piece
    }

    /// Counts and hashes a piece; the last one has to complete what the descriptor says.
    fn take(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let received = self.received.saturating_add(piece.len() as u64);
        if received > self.size {
            self.check_size(received)?;
        }
        self.received = received;
        self.hasher.update(piece);
        self.failures = 0;
        if self.received == self.size {
            self.answer = None;
            self.verify()?;
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(), ContentError> {
        if self.verified {
            return Ok(());
        }
        let found = Digest::from_bytes(self.hasher.clone().finalize().into());
        if found != self.digest {
            let expected = self.digest;
            return Err(ContentError::Digest { expected, found });
        }
        self.verified = true;
        Ok(())
    }
}

/// The first byte of `bytes 100-199/200`.
fn range_start(text: &str) -> Option<u64> {
    let range = text.trim().strip_prefix("bytes")?.trim_start();
    range.split('-').next()?.parse().ok()
}

/// A [`Pull`] that blocks the thread that reads it.
#[derive(Debug)]
pub(super) struct BlobReader {
    pull: Pull,
    /// `registry/repository`, for messages.
    repository: String,
    network: Network,
    piece: Vec<u8>,
    /// How much of the piece has been read.
    read: usize,
}

impl BlobReader {
    pub(super) fn new(pull: Pull, repository: String, network: Network) -> Self {
        Self {
            pull,
            repository,
            network,
            piece: Vec::new(),
            read: 0,
        }
    }
}

impl BlobReader {
    fn error(&self, failure: Failure) -> io::Error {
        io::Error::other(RegistryError::Blob {
            digest: self.pull.digest,
            repository: self.repository.clone(),
            failure: Box::new(failure),
        })
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.read == self.piece.len() {
            let next = self.network.wait(self.pull.piece()).and_then(|piece| piece);
            self.read = 0;
            self.piece = next
                .map_err(|failure| self.error(failure))?
                .unwrap_or_default();
        }
        let rest = &self.piece[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, start) in [
            ("bytes 100-199/200", Some(100)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */200", None),
            ("items 1-2", None),
            ("", None),
        ] {
            assert_eq!(range_start(text), start, "{text}");
        }
    }
}
