//! A file at a URL, or the tree of the archive that it is.

use std::path::Path;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::tree::Facts;
use super::{FetchError, Fetcher};
use crate::fsio::{self, HashingWriter};
use crate::layer::{self, Entry, EntryKind};
use crate::oci::{Digest, Hasher};
use crate::plan::{HttpSource, Login};
use crate::registry::{Download, Downloaded, RegistryError, Secret};
use crate::store::FetchedRecord;

/// How often a download that broke off is begun again.
const ATTEMPTS: u32 = 3;

impl Fetcher {
    /// Gets a file, unless it is here and unchanged.
    pub(super) fn http(&self, source: &HttpSource) -> Result<FetchedRecord, FetchError> {
        let key = key(source);
        let known = self.remembered(key);
        if let (Some(known), Some(checksum)) = (&known, source.checksum)
            && known.content == Some(checksum)
        {
            // Nothing else will do, so nobody has to be asked.
            return Ok(known.clone());
        }
        if self.client.is_offline() {
            // Another file than is demanded is not the file.
            let known = known.filter(|_| source.checksum.is_none());
            return known.ok_or_else(|| FetchError::Offline(source.url.clone()));
        }
        let _lock = self.lock(key)?;
        let known = self.remembered(key);
        let mut attempts = 1;
        loop {
            match self.download(source, key, known.as_ref()) {
                Err(FetchError::Broken { .. }) if attempts < ATTEMPTS => attempts += 1,
                result => return result,
            }
        }
    }

    fn download(
        &self,
        source: &HttpSource,
        key: Digest,
        known: Option<&FetchedRecord>,
    ) -> Result<FetchedRecord, FetchError> {
        let download = Download {
            url: source.url.clone(),
            authorization: self.authorization(source),
            etag: known.and_then(|known| known.etag.clone()),
            last_modified: known.and_then(|known| known.last_modified.clone()),
        };
        let answer = self.client.download(&download)?;
        let (body, etag, last_modified) = match (answer, known) {
            (Downloaded::NotModified, Some(known)) => {
                let content = known.content.unwrap_or(known.diff_id);
                return self.checked(source, content).map(|()| known.clone());
            }
            // It was asked for without a condition.
            (Downloaded::NotModified, None) => {
                let url = source.url.clone();
                return Err(RegistryError::DownloadStatus { url, status: 304 }.into());
            }
            (
                Downloaded::Content {
                    body,
                    etag,
                    last_modified,
                },
                _,
            ) => (body, etag, last_modified),
        };
        let mut room = self.store.reserve(0)?;
        let mut body = room.reader(body);
        let scratch = self.store.scratch()?;
        let path = scratch.path().join("file");
        let mut writer = HashingWriter::new(fsio::create(&path)?);
        let broken = |error| FetchError::Broken {
            url: source.url.clone(),
            source: error,
        };
        let on_disk = |error| fsio::Error::new("write", &path, error).into();
        self.copy(&mut body, &mut writer, &broken, &on_disk)?;
        let (digest, size, _file) = writer.finish();
        let content = Digest::from_bytes(digest);
        self.checked(source, content)?;
        let facts = Facts {
            content: Some(content),
            etag,
            time: last_modified.as_deref().and_then(seconds),
            last_modified,
        };
        if source.unpack
            && let Some(plain) = open_archive(&source.url, &path)?
        {
            return self.unpack(key, &source.url, plain, facts);
        }
        self.keep_file(key, source, (&path, size), facts)
    }

    /// The content is what the Dockerfile demands, if it demands any.
    fn checked(&self, source: &HttpSource, found: Digest) -> Result<(), FetchError> {
        match source.checksum {
            Some(expected) if expected != found => Err(FetchError::Checksum {
                url: source.url.clone(),
                found,
                expected,
            }),
            _ => Ok(()),
        }
    }

    /// A tree of one file.
    fn keep_file(
        &self,
        key: Digest,
        source: &HttpSource,
        (path, size): (&Path, u64),
        facts: Facts,
    ) -> Result<FetchedRecord, FetchError> {
        let mut entry = Entry::new(source.file_name.as_str(), EntryKind::file(size), 0o600);
        entry.mtime = facts.time.unwrap_or(0);
        let open = |_| Ok(Box::new(fsio::open(path)?) as Box<dyn std::io::Read>);
        self.keep(key, &source.url, &[entry], &open, facts)
    }

    /// What to show to the host: a secret for it, else the login in the URL.
    fn authorization(&self, source: &HttpSource) -> Option<Secret> {
        let host = url::Url::parse(&source.url).ok()?.host_str()?.to_owned();
        if let Some(header) = self.secret(&format!("HTTP_AUTH_HEADER_{host}")) {
            return Some(header.header());
        }
        if let Some(token) = self.secret(&format!("HTTP_AUTH_TOKEN_{host}")) {
            return Some(token.bearer());
        }
        source.login.as_ref().map(basic)
    }
}

/// The header for a user and a password.
pub(super) fn basic(login: &Login) -> Secret {
    Secret::basic(&login.user, &login.password)
}

/// A file as an archive, if it is one.
pub(super) fn open_archive(
    name: &str,
    path: &Path,
) -> Result<Option<Box<dyn std::io::Read + Send>>, FetchError> {
    layer::open_archive(path).map_err(|source| FetchError::Unfit {
        name: name.to_owned(),
        source,
    })
}

/// One key for each thing that may be made of a URL. The checksum is none of it: it only says what is expected. Nor is a
/// login, since no secret may get to the disk, not even as a part of a digest: whether someone else is to see something else
/// is for the host to say, who is asked each time.
fn key(source: &HttpSource) -> Digest {
    let mut hasher = Hasher::new("fetched url");
    hasher.field(&source.url);
    hasher.field(&source.file_name);
    hasher.number(u64::from(source.unpack));
    hasher.finish()
}

/// The time in a `Last-Modified` header, seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    // HTTP says GMT where RFC 2822 knows only offsets.
    let text = text
        .strip_suffix("GMT")
        .map(|start| format!("{start}+0000"))?;
    OffsetDateTime::parse(&text, &Rfc2822)
        .ok()
        .map(OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_headers() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for bad in ["", "yesterday", "1994-11-06", "Sun, 06 Nov 1994 08:49:37"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_a_url_is_made_into_has_a_key_of_its_own() {
        let source = HttpSource::parse("https://a.io/x.tar").unwrap();
        let unpacked = HttpSource {
            unpack: true,
            ..source.clone()
        };
        let checked = HttpSource {
            checksum: Some(Digest::of("x")),
            ..source.clone()
        };
        let other = HttpSource::parse("https://user:pw@a.io/x.tar").unwrap();
        assert_ne!(key(&source), key(&unpacked));
        assert_eq!(key(&source), key(&other));
        assert_eq!(key(&source), key(&checked));
    }
}
