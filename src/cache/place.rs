//! Where a cache is: a folder, a registry, a bucket. Plain values with the keys that they take in a flag.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::spec::CacheSpecError;
use crate::oci::{Digest, Reference};
use crate::registry::Secret;

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An OCI layout in a folder.
    Folder(Folder),
    /// A registry.
    Registry {
        /// The name there.
        reference: Reference,
        /// It may be spoken to without TLS.
        insecure: bool,
    },
    /// A bucket of an S3-compatible store.
    S3(Box<S3>),
}

/// An OCI layout in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// The tag there, `latest` if absent.
    pub tag: Option<String>,
    /// For reading: the digest there, instead of a tag.
    pub digest: Option<Digest>,
    /// After writing: drop blobs that nothing in the layout refers to.
    pub reset: bool,
}

/// A bucket of an S3-compatible store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Before every name.
    pub prefix: String,
    /// Before the names of blobs.
    pub blobs_prefix: String,
    /// Before the names of manifests.
    pub manifests_prefix: String,
    /// Names of the manifest: all are written, the first that is there is read.
    pub names: Vec<String>,
    /// Another server than Amazon's.
    pub endpoint: Option<String>,
    /// The bucket is in the path and not in the host.
    pub path_style: bool,
    /// Who we are. Without, the machine's instance metadata is asked.
    pub access_key_id: Option<String>,
    /// The secret that goes with it.
    pub secret_access_key: Option<Secret>,
    /// The token of a session.
    pub session_token: Option<Secret>,
    /// Objects older than this are made new when they are used again, so that rules of the bucket that remove what is old keep
    /// what is in use.
    pub touch_refresh: Duration,
    /// Objects sent at the same time.
    pub parallel: usize,
}

/// What the environment says of S3.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// `AWS_BUCKET`.
    pub bucket: Option<String>,
    /// `AWS_REGION`, `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Secret>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
}

impl Place {
    /// The place with everything at its default; of these kinds there are places.
    pub(super) fn of_kind(kind: &str, defaults: &Defaults) -> Option<Self> {
        match kind {
            "local" => Some(Self::Folder(Folder::default())),
            "s3" => Some(Self::S3(Box::new(S3::new(defaults)))),
            _ => None,
        }
    }

    /// Takes a key; `Ok(false)` if it is none of this kind of place.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, CacheSpecError> {
        let bad = |expected| CacheSpecError::value(key, value, expected);
        let boolean = || crate::source::boolean(value).ok_or_else(|| bad("true or false"));
        match (self, key) {
            (Self::Folder(folder), "dest" | "src") => folder.path = PathBuf::from(value),
            (Self::Folder(folder), "tag") => folder.tag = Some(value.to_owned()),
            (Self::Folder(folder), "digest") => {
                folder.digest = Some(value.parse().map_err(|_| bad("a digest"))?);
            }
            (Self::Folder(folder), "reset") => folder.reset = boolean()?,
            (Self::Registry { insecure, .. }, "registry.insecure") => *insecure = boolean()?,
            (Self::Registry { .. }, "ref") => {}
            (Self::S3(s3), _) => return s3.set(key, value),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Refuses what lacks something.
    pub(super) fn checked(self, folder_key: &'static str) -> Result<Self, CacheSpecError> {
        let missing = |kind, key| Err(CacheSpecError::Missing { kind, key });
        match &self {
            Self::Folder(folder) if folder.path.as_os_str().is_empty() => {
                missing("local", folder_key)
            }
            Self::S3(s3) if s3.bucket.is_empty() => missing("s3", "bucket"),
            Self::S3(s3) if s3.region.is_empty() => missing("s3", "region"),
            _ => Ok(self),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => {
                write!(f, "{}", folder.path.display())?;
                match (&folder.digest, &folder.tag) {
                    (Some(digest), _) => write!(f, "@{digest}"),
                    (None, Some(tag)) => write!(f, ":{tag}"),
                    (None, None) => Ok(()),
                }
            }
            Self::Registry { reference, .. } => f.write_str(&reference.familiar()),
            Self::S3(s3) => {
                write!(f, "s3://{}/{}{}", s3.bucket, s3.prefix, s3.manifests_prefix)?;
                f.write_str(s3.names.first().map_or("", String::as_str))
            }
        }
    }
}

impl S3 {
    fn new(defaults: &Defaults) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            bucket: text(&defaults.bucket),
            region: text(&defaults.region),
            prefix: String::new(),
            blobs_prefix: "blobs/".to_owned(),
            manifests_prefix: "manifests/".to_owned(),
            names: vec!["builder".to_owned()],
            endpoint: defaults.endpoint.clone(),
            path_style: false,
            access_key_id: defaults.access_key_id.clone(),
            secret_access_key: defaults.secret_access_key.clone(),
            session_token: defaults.session_token.clone(),
            touch_refresh: Duration::from_secs(24 * 3600),
            parallel: 4,
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<bool, CacheSpecError> {
        let bad = |expected| CacheSpecError::value(key, value, expected);
        let text = || value.to_owned();
        match key {
            "bucket" => self.bucket = text(),
            "region" => self.region = text(),
            "prefix" => self.prefix = text(),
            "blobs_prefix" => self.blobs_prefix = text(),
            "manifests_prefix" => self.manifests_prefix = text(),
            "name" => {
                self.names = value
                    .split(';')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect();
                if self.names.is_empty() {
                    return Err(bad("a name"));
                }
            }
            "endpoint_url" => self.endpoint = Some(text()),
            "use_path_style" => {
                self.path_style =
                    crate::source::boolean(value).ok_or_else(|| bad("true or false"))?;
            }
            "access_key_id" => self.access_key_id = Some(text()),
            "secret_access_key" => self.secret_access_key = Some(Secret::new(value)),
            "session_token" => self.session_token = Some(Secret::new(value)),
            "touch_refresh" => {
                self.touch_refresh = duration(value).ok_or_else(|| bad("a time, as `24h`"))?;
            }
            "upload_parallelism" => {
                let count = value.parse().ok().filter(|count| (1..=64).contains(count));
                self.parallel = count.ok_or_else(|| bad("a number from 1 to 64"))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// `24h`, `90m`, `30s`, or seconds.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    Some(Duration::from_secs(seconds))
}
