//! A cache in a bucket: `PREFIX/blobs/sha256:…` and `PREFIX/manifests/NAME`.
//!
//! Blobs are read and written in pieces of a few MiB, each a request of its own that is tried again where it fails, so that
//! memory is bounded and a broken connection costs one piece.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, MultipartUpload as _, ObjectMeta, ObjectStore as _, PutPayload,
    RetryConfig,
};

use super::{LARGEST_MANIFEST, Sent, Upload};
use crate::cache::{CacheError, Means, S3};
use crate::oci::{BlobError, BlobSource, Descriptor, Digest};
use crate::registry::PushBlob;

/// Bytes of a piece. A multipart upload has at most 10,000.
const PIECE: u64 = 8 << 20;
/// For one request, from its start to the end of its answer.
const REQUEST_TIME: Duration = Duration::from_secs(120);
/// How often and how long a request is tried.
const RETRIES: usize = 4;
const RETRY_TIME: Duration = Duration::from_secs(60);

/// A bucket with the names of a cache.
#[derive(Clone)]
pub(in crate::cache) struct S3Place {
    s3: S3,
    bucket: Arc<AmazonS3>,
    means: Means,
}

impl fmt::Debug for S3Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3Place").field(&self.s3).finish()
    }
}

type Answer<T> = Result<T, object_store::Error>;

impl S3Place {
    /// Prepares the client; without keys it asks the machine's instance metadata for some.
    pub(super) fn open(s3: &S3, means: &Means) -> Result<Self, CacheError> {
        if means.client.is_offline() {
            return Err(CacheError::Offline);
        }
        let options = ClientOptions::new()
            .with_timeout(REQUEST_TIME)
            .with_connect_timeout(Duration::from_secs(15));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&s3.bucket)
            .with_region(&s3.region)
            .with_virtual_hosted_style_request(!s3.path_style && s3.endpoint.is_none())
            .with_client_options(options)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: RETRY_TIME,
            });
        if let Some(endpoint) = &s3.endpoint {
            let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
            // A bucket in the host: then the endpoint that the client wants has it too.
            let endpoint = match s3.path_style {
                true => format!("{scheme}://{host}"),
                false => format!("{scheme}://{}.{host}", s3.bucket),
            };
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(scheme == "http")
                .with_virtual_hosted_style_request(!s3.path_style);
        }
        if let Some(id) = &s3.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(secret) = &s3.secret_access_key {
            builder = builder.with_secret_access_key(secret.reveal());
        }
        if let Some(token) = &s3.session_token {
            builder = builder.with_token(token.reveal());
        }
        let failed = |error| failure(s3, "cannot be used", &error);
        Ok(Self {
            s3: s3.clone(),
            bucket: Arc::new(builder.build().map_err(failed)?),
            means: means.clone(),
        })
    }

    fn manifest_path(&self, name: &str) -> Path {
        let S3 {
            prefix,
            manifests_prefix,
            ..
        } = &self.s3;
        Path::from(format!("{prefix}{manifests_prefix}{name}"))
    }

    fn blob_path(&self, digest: Digest) -> Path {
        let S3 {
            prefix,
            blobs_prefix,
            ..
        } = &self.s3;
        Path::from(format!("{prefix}{blobs_prefix}{digest}"))
    }

    /// Waits for a request.
    fn wait<T>(
        &self,
        what: &str,
        request: impl Future<Output = Answer<T>>,
    ) -> Result<T, CacheError> {
        match self.means.client.wait(request) {
            None => Err(CacheError::Stopped),
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(failure(&self.s3, what, &error)),
        }
    }

    /// What is at a path; nothing if there is nothing.
    fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, CacheError> {
        let head = async {
            match self.bucket.head(path).await {
                Ok(meta) => Ok(Some(meta)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.wait("cannot look", head)
    }

    /// The bytes of the first manifest that is there.
    pub(super) fn named(&self) -> Result<Vec<u8>, CacheError> {
        for name in &self.s3.names {
            if let Some(bytes) = self.manifest(name)? {
                return Ok(bytes);
            }
        }
        let place = crate::cache::Place::S3(Box::new(self.s3.clone()));
        Err(CacheError::Absent(place.to_string()))
    }

    fn manifest(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.manifest_path(name);
        let get = async {
            let found = match self.bucket.get(&path).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                found => found?,
            };
            match found.meta.size {
                size if size > LARGEST_MANIFEST => Ok(Some(Err(size))),
                _ => Ok(Some(Ok(found.bytes().await?.to_vec()))),
            }
        };
        let too_large = |size| CacheError::TooLarge {
            what: "manifest",
            size,
            limit: LARGEST_MANIFEST,
        };
        let found = self.wait("cannot read", get)?;
        found.transpose().map_err(too_large)
    }

    /// Under every name, and young enough that nothing of it has to be made new.
    pub(super) fn is_current(&self, manifest: Digest) -> bool {
        self.s3.names.iter().all(|name| {
            let is_same = |bytes: &[u8]| Digest::of(bytes) == manifest;
            let is_young = |meta: &ObjectMeta| !self.is_old(meta);
            matches!(self.head(&self.manifest_path(name)), Ok(Some(meta)) if is_young(&meta))
                && matches!(self.manifest(name), Ok(Some(bytes)) if is_same(&bytes))
        })
    }

    fn is_old(&self, meta: &ObjectMeta) -> bool {
        let changed: std::time::SystemTime = meta.last_modified.into();
        let age = (self.means.clock)().duration_since(changed);
        age.is_ok_and(|age| age > self.s3.touch_refresh)
    }

    pub(super) fn write(&self, upload: &Upload) -> Result<Sent, CacheError> {
        let sent = Mutex::new(Sent::default());
        let next = AtomicUsize::new(0);
        let send = || -> Result<(), CacheError> {
            while let Some(blob) = upload.blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let was_sent = self.bring(blob)?;
                let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                sent.count(&blob.descriptor, was_sent);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.s3.parallel.min(upload.blobs.len()))
                .map(|_| scope.spawn(send))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|p| std::panic::resume_unwind(p))
            })
        })?;
        self.bring(&upload.config_blob()?)?;
        for name in &self.s3.names {
            let payload = PutPayload::from(upload.manifest.clone());
            let path = self.manifest_path(name);
            self.wait("cannot write", self.bucket.put(&path, payload))?;
        }
        Ok(sent.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes sure that a blob is there; tells whether it had to be sent.
    fn bring(&self, blob: &PushBlob) -> Result<bool, CacheError> {
        let path = self.blob_path(blob.descriptor.digest);
        match self.head(&path)? {
            Some(meta) if meta.size == blob.descriptor.size => {
                if self.is_old(&meta) {
                    self.touch(&path)?;
                }
                Ok(false)
            }
            _ => {
                self.send(&path, blob)?;
                Ok(true)
            }
        }
    }

    /// Makes an object young. A store does not copy an object onto itself, so it takes a way round.
    fn touch(&self, path: &Path) -> Result<(), CacheError> {
        let aside = Path::from(format!("{path}.touch"));
        let copy = async {
            self.bucket.copy(path, &aside).await?;
            self.bucket.copy(&aside, path).await?;
            self.bucket.delete(&aside).await
        };
        self.wait("cannot copy", copy)
    }

    fn send(&self, path: &Path, blob: &PushBlob) -> Result<(), CacheError> {
        let read = |source| CacheError::Read {
            what: "the blob to be sent",
            source,
        };
        let mut pieces = Pieces {
            reader: (blob.open)().map_err(read)?,
            hasher: sha2::Sha256::default(),
            size: PIECE.max(blob.descriptor.size / 9_000),
        };
        let first = pieces.next().map_err(read)?;
        if first.len() as u64 == blob.descriptor.size {
            pieces.finish(blob.descriptor.digest)?;
            let put = self.bucket.put(path, PutPayload::from(first));
            return self.wait("cannot write", put).map(drop);
        }
        let mut upload = self.wait("cannot write", self.bucket.put_multipart(path))?;
        let mut piece = first;
        let mut send = || -> Result<(), CacheError> {
            while !piece.is_empty() {
                let part = upload.put_part(PutPayload::from(std::mem::take(&mut piece)));
                self.wait("cannot write", part)?;
                piece = pieces.next().map_err(read)?;
            }
            pieces.finish(blob.descriptor.digest)?;
            self.wait("cannot write", upload.complete()).map(drop)
        };
        let result = send();
        if result.is_err() {
            // Best effort: a bucket's rules remove what is left of uploads.
            let _aborted = self.means.client.wait(upload.abort());
        }
        result
    }
}

/// A blob in pieces, hashed on the way.
struct Pieces {
    reader: Box<dyn Read + Send>,
    hasher: sha2::Sha256,
    size: u64,
}

impl Pieces {
    /// The next piece; empty at the end.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        use sha2::Digest as _;
        let mut piece = Vec::new();
        self.reader
            .by_ref()
            .take(self.size)
            .read_to_end(&mut piece)?;
        self.hasher.update(&piece);
        Ok(piece)
    }

    fn finish(&self, expected: Digest) -> Result<(), CacheError> {
        use sha2::Digest as _;
        match Digest::from_bytes(self.hasher.clone().finalize().into()) == expected {
            true => Ok(()),
            false => Err(CacheError::Digest(expected)),
        }
    }
}

impl BlobSource for S3Place {
    fn open_blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, BlobError> {
        let mut ranges = Ranges {
            place: self.clone(),
            path: self.blob_path(blob.digest),
            size: blob.size,
            next: 0,
            piece: io::Cursor::default(),
        };
        // The first piece tells whether it is there.
        match ranges.load() {
            Ok(true) => Ok(Box::new(ranges)),
            Ok(false) => Err(BlobError::NotFound(blob.digest)),
            Err(error) => Err(BlobError::Unreadable {
                digest: blob.digest,
                reason: error.to_string(),
            }),
        }
    }
}

/// Reads an object piece by piece.
struct Ranges {
    place: S3Place,
    path: Path,
    size: u64,
    next: u64,
    piece: io::Cursor<Vec<u8>>,
}

impl Ranges {
    /// Reads the next piece; `false` if there is no such object.
    fn load(&mut self) -> Result<bool, CacheError> {
        let range = self.next..self.size.min(self.next + PIECE);
        if range.is_empty() {
            return Ok(true);
        }
        let get = async {
            match self.place.bucket.get_range(&self.path, range.clone()).await {
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                piece => Ok(Some(piece?.to_vec())),
            }
        };
        let Some(piece) = self.place.wait("cannot read", get)? else {
            return Ok(false);
        };
        self.next = range.end;
        self.piece = io::Cursor::new(piece);
        Ok(true)
    }
}

impl Read for Ranges {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.read(buffer)?;
        if count > 0 || buffer.is_empty() || self.next >= self.size {
            return Ok(count);
        }
        match self.load().map_err(io::Error::other)? {
            true => self.piece.read(buffer),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// The client's words, without the pages of XML that some servers answer.
fn failure(s3: &S3, what: &str, error: &object_store::Error) -> CacheError {
    const MOST: usize = 300;
    let mut reason = crate::fsio::with_causes(error).replace(['\n', '\r'], " ");
    if let Some((end, _)) = reason.char_indices().nth(MOST) {
        reason.truncate(end);
        reason.push('…');
    }
    CacheError::S3 {
        what: what.to_owned(),
        bucket: format!("s3://{}", s3.bucket),
        reason,
    }
}
