//! The grammar of `--output`: `PATH`, `-`, or a CSV record of `key=value`.

use std::path::PathBuf;

/// One output as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// What to write.
    pub kind: OutputKind,
    /// Where to.
    pub destination: Option<Destination>,
    /// For OCI layouts: one tar file (the default) or a folder.
    pub tar: bool,
    /// Push to the registry of each name.
    pub push: bool,
    /// Names given with the output instead of `--tag`.
    pub names: Vec<String>,
    /// How new layers are compressed.
    pub compression: Compression,
    /// Level, the compression's own default where none is given.
    pub level: Option<u32>,
    /// Also compress the base image's layers anew.
    pub force_compression: bool,
    /// Times in new layers that are later than the epoch become the epoch.
    pub rewrite_timestamp: bool,
}

/// What an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// A name in the local store.
    Image,
    /// An OCI image layout.
    Oci,
    /// A tarball for `docker load`.
    Docker,
    /// The final file system as a folder.
    Local,
    /// The final file system as a tar.
    Tar,
    /// Nothing: the cache is warm afterwards.
    CacheOnly,
}

impl OutputKind {
    /// The word in `type=`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Oci => "oci",
            Self::Docker => "docker",
            Self::Local => "local",
            Self::Tar => "tar",
            Self::CacheOnly => "cacheonly",
        }
    }
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file or folder.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// An output that cannot be understood or done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputSpecError {
    /// Not a CSV record.
    #[error("invalid value `{0}` for --output: not a list of key=value separated by commas")]
    Csv(String),
    /// A field without `=`.
    #[error("invalid value `{0}` for --output: expected key=value")]
    Field(String),
    /// No `type=`.
    #[error("type is required for output")]
    NoType,
    /// A type that there is not.
    #[error(
        "unknown output type `{0}`, expected image, registry, oci, docker, local, tar or cacheonly"
    )]
    Type(String),
    /// A type that there is but not here.
    #[error("output type `{0}` is not supported yet")]
    NotYet(&'static str),
    /// A key that there is not.
    #[error("unknown key `{key}` for output type `{kind}`")]
    Key {
        /// The key.
        key: String,
        /// The type it was given for.
        kind: &'static str,
    },
    /// A value that the key does not take.
    #[error("invalid value `{value}` for `{key}`, expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A folder needs a name.
    #[error("dest is required for {0} output with tar=false")]
    NoDestination(&'static str),
    /// Binary data would go to a terminal.
    #[error("dest file is required for {0} exporter. refusing to write to console")]
    Console(&'static str),
    /// Two outputs want standard output.
    #[error("only one output can be written to standard output")]
    TwoStdout,
    /// Nothing to push to.
    #[error("tag is needed when pushing to registry")]
    NoTag,
}

impl OutputSpec {
    /// An output with everything at its default.
    #[must_use]
    pub fn new(kind: OutputKind) -> Self {
        Self {
            kind,
            destination: None,
            tar: true,
            push: false,
            names: Vec::new(),
            compression: Compression::Gzip,
            level: None,
            force_compression: false,
            rewrite_timestamp: false,
        }
    }

    /// What the store calls layers of this compression: `gzip-6`.
    #[must_use]
    pub fn compression_name(&self) -> String {
        match self.compression {
            Compression::Uncompressed => "tar".to_owned(),
            Compression::Gzip => format!("gzip-{}", self.level.unwrap_or(6)),
            Compression::Zstd => format!("zstd-{}", self.level.unwrap_or(3)),
        }
    }

    /// Reads one value of `--output`.
    ///
    /// # Errors
    /// A text that is none.
    pub fn parse(text: &str) -> Result<Self, OutputSpecError> {
        if text == "-" {
            let spec = Self {
                destination: Some(Destination::Stdout),
                ..Self::new(OutputKind::Tar)
            };
            return spec.checked();
        }
        if !text.contains('=') {
            let destination = Some(Destination::Path(PathBuf::from(text)));
            return Self {
                destination,
                ..Self::new(OutputKind::Local)
            }
            .checked();
        }
        let fields = csv_fields(text).ok_or_else(|| OutputSpecError::Csv(text.to_owned()))?;
        let pairs: Vec<(String, String)> = fields
            .iter()
            .map(|field| match field.split_once('=') {
                Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.to_owned())),
                None => Err(OutputSpecError::Field(field.clone())),
            })
            .collect::<Result<_, _>>()?;
        let kind = pairs
            .iter()
            .find(|(key, _)| key == "type")
            .ok_or(OutputSpecError::NoType)?;
        let mut spec = match kind.1.as_str() {
            "image" => Self::new(OutputKind::Image),
            "registry" => Self {
                push: true,
                ..Self::new(OutputKind::Image)
            },
            "oci" => Self::new(OutputKind::Oci),
            "docker" => Self::new(OutputKind::Docker),
            "local" => Self::new(OutputKind::Local),
            "tar" => Self::new(OutputKind::Tar),
            "cacheonly" => Self::new(OutputKind::CacheOnly),
            other => return Err(OutputSpecError::Type(other.to_owned())),
        };
        for (key, value) in pairs.iter().filter(|(key, _)| key != "type") {
            spec.set(key, value)?;
        }
        spec.checked()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), OutputSpecError> {
        let bad = |expected| OutputSpecError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            expected,
        };
        let boolean = || match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" => Ok(true),
            "false" | "0" | "f" => Ok(false),
            _ => Err(bad("true or false")),
        };
        let files = matches!(
            self.kind,
            OutputKind::Oci | OutputKind::Docker | OutputKind::Local | OutputKind::Tar
        );
        let layers = matches!(
            self.kind,
            OutputKind::Oci | OutputKind::Docker | OutputKind::Image
        );
        match key {
            "dest" if files && value == "-" => self.destination = Some(Destination::Stdout),
            "dest" if files => self.destination = Some(Destination::Path(PathBuf::from(value))),
            "tar" if matches!(self.kind, OutputKind::Oci | OutputKind::Docker) => {
                self.tar = boolean()?
            }
            "push" if self.kind == OutputKind::Image => self.push = boolean()?,
            "name" if layers => {
                self.names = value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect()
            }
            "compression" if layers => {
                self.compression = match value {
                    "uncompressed" => Compression::Uncompressed,
                    "gzip" => Compression::Gzip,
                    "zstd" => Compression::Zstd,
                    _ => return Err(bad("uncompressed, gzip or zstd")),
                }
            }
            "compression-level" if layers => {
                self.level = Some(value.parse().map_err(|_| bad("a number"))?)
            }
            "force-compression" if layers => self.force_compression = boolean()?,
            "rewrite-timestamp" if layers => self.rewrite_timestamp = boolean()?,
            // OCI media types are what is written anyway.
            "oci-mediatypes" if layers && boolean()? => {}
            "store" | "unpack" if self.kind == OutputKind::Image => _ = boolean()?,
            _ => {
                return Err(OutputSpecError::Key {
                    key: key.to_owned(),
                    kind: self.kind.word(),
                });
            }
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, OutputSpecError> {
        let limit = match self.compression {
            Compression::Gzip => 9,
            Compression::Zstd => 22,
            Compression::Uncompressed => 0,
        };
        if let Some(level) = self.level.filter(|level| *level > limit) {
            let expected = "0 to 9 for gzip, 0 to 22 for zstd, none for uncompressed";
            return Err(OutputSpecError::Value {
                key: "compression-level".to_owned(),
                value: level.to_string(),
                expected,
            });
        }
        match self.kind {
            OutputKind::Local | OutputKind::Tar => Err(OutputSpecError::NotYet(self.kind.word())),
            _ if self.rewrite_timestamp => {
                Err(OutputSpecError::NotYet("with rewrite-timestamp=true"))
            }
            OutputKind::Oci | OutputKind::Docker
                if !self.tar && !matches!(self.destination, Some(Destination::Path(_))) =>
            {
                Err(OutputSpecError::NoDestination(self.kind.word()))
            }
            _ => Ok(self),
        }
    }
}

/// The fields of one CSV record, as flags with several keys are written; quotes protect commas. `None` if the text is
/// none, or more than one.
#[must_use]
pub fn csv_fields(text: &str) -> Option<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let record = records.next()?.ok()?;
    records
        .next()
        .is_none()
        .then(|| record.iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let spec = OutputSpec::parse("type=oci,dest=a.tar").unwrap();
        assert_eq!((spec.kind, spec.tar), (OutputKind::Oci, true));
        assert_eq!(spec.destination, Some(Destination::Path("a.tar".into())));
        assert!(!OutputSpec::parse("type=oci,dest=d,tar=false").unwrap().tar);
        assert!(OutputSpec::parse("type=registry").unwrap().push);
        let named = OutputSpec::parse("type=image,\"name=a,b\",push=true").unwrap();
        assert_eq!(named.names, ["a", "b"]);
        assert_eq!(OutputSpec::parse("type=docker").unwrap().destination, None);
    }

    #[test]
    fn refusals() {
        for (text, expected) in [
            ("dest=x", "type is required for output"),
            ("type=zip", "unknown output type `zip`"),
            ("type=oci,tar=false", "dest is required"),
            ("type=oci,push=true", "unknown key `push`"),
            ("type=oci,tar=maybe", "expected true or false"),
            ("type=oci,compression-level=10", "0 to 9"),
            ("type=oci,x", "expected key=value"),
        ] {
            let error = OutputSpec::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
