//! The grammar of `--cache-to` and `--cache-from`: a CSV record of `key=value`, or a bare reference.

use super::place::{Defaults, Place};
use crate::export::{Compression, OutputKind, OutputSpec, csv_fields};

/// A cache to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSpec {
    /// Where it is.
    pub place: Place,
}

/// A cache to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportSpec {
    /// Where it goes.
    pub to: ExportTo,
    /// Which steps are in it.
    pub mode: Mode,
    /// `Some(false)`: a cache that cannot be written fails the build.
    pub ignore_error: Option<bool>,
    /// How layers are compressed; as in the image if absent.
    pub compression: Option<Compression>,
    /// Level of it.
    pub level: Option<u32>,
    /// Also compress anew what came compressed otherwise from another cache.
    pub force_compression: bool,
}

/// Where a cache goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportTo {
    /// Into the config of the image.
    Inline,
    /// To a place of its own.
    Place(Place),
}

/// Which steps a cache has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Those whose layers are in the image.
    #[default]
    Min,
    /// All that were part of the build.
    Max,
}

/// A cache that cannot be understood or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheSpecError {
    /// Not a CSV record.
    #[error("the value is no list of key=value separated by commas")]
    Csv,
    /// A field without `=`. It is not shown: it may be the rest of a secret with a comma in it.
    #[error("field {0} of the value is not of the form key=value")]
    Field(usize),
    /// A type that there is not.
    #[error("unknown cache type `{0}`, expected {1}")]
    Kind(String, &'static str),
    /// A key that has to be there.
    #[error("cache type `{kind}` needs `{key}=`")]
    Missing {
        /// The type.
        kind: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A key that there is not.
    #[error("unknown key `{key}` for cache type `{kind}`")]
    Key {
        /// The key.
        key: String,
        /// The type.
        kind: String,
    },
    /// A value that the key does not take.
    #[error("invalid value `{value}` for `{key}`, expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value; `***` for those that are secret.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A name that is none.
    #[error("invalid cache reference `{0}`: {1}")]
    Reference(String, String),
    /// More than fits.
    #[error("an inline cache has only the layers of the image: `mode=max` needs another type")]
    InlineMax,
}

impl CacheSpecError {
    pub(super) fn value(key: &str, value: &str, expected: &'static str) -> Self {
        Self::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            expected,
        }
    }
}

/// The pairs of a CSV record. A bare reference is a registry's.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, CacheSpecError> {
    if !text.contains('=') && !text.contains(',') {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        return Ok(vec![pair("type", "registry"), pair("ref", text)]);
    }
    let fields = csv_fields(text).ok_or(CacheSpecError::Csv)?;
    fields
        .iter()
        .zip(1..)
        .map(|(field, number)| match field.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.to_owned())),
            None => Err(CacheSpecError::Field(number)),
        })
        .collect()
}

/// The value of a key, the last one if there are several.
pub(super) fn find<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let of_key = pairs.iter().rev().find(|(name, _)| name == key);
    of_key.map(|(_, value)| value.as_str())
}

/// The place that a type and its keys name, with everything at its default.
pub(super) fn place(
    pairs: &[(String, String)],
    defaults: &Defaults,
    kinds: &'static str,
) -> Result<(String, Place), CacheSpecError> {
    let kind = find(pairs, "type").ok_or(CacheSpecError::Missing {
        kind: "any",
        key: "type",
    })?;
    if kind == "registry" {
        let text = find(pairs, "ref").ok_or(CacheSpecError::Missing {
            kind: "registry",
            key: "ref",
        })?;
        let reference = text
            .parse()
            .map_err(|e| CacheSpecError::Reference(text.to_owned(), format!("{e}")))?;
        let insecure = false;
        return Ok((
            kind.to_owned(),
            Place::Registry {
                reference,
                insecure,
            },
        ));
    }
    let place = Place::of_kind(kind, defaults);
    let unknown = || CacheSpecError::Kind(kind.to_owned(), kinds);
    Ok((kind.to_owned(), place.ok_or_else(unknown)?))
}

impl ImportSpec {
    /// Reads one value of `--cache-from`.
    ///
    /// # Errors
    /// A text that is none.
    pub fn parse(text: &str, defaults: &Defaults) -> Result<Self, CacheSpecError> {
        let pairs = pairs(text)?;
        let kinds = "local, registry or s3 (an inline cache is read with type=registry)";
        let (kind, mut place) = place(&pairs, defaults, kinds)?;
        for (key, value) in pairs.iter().filter(|(key, _)| key != "type") {
            let is_for_writing =
                matches!((&place, key.as_str()), (Place::Folder(_), "dest" | "reset"));
            if is_for_writing || !place.set(key, value)? {
                return Err(CacheSpecError::Key {
                    key: key.clone(),
                    kind,
                });
            }
        }
        Ok(Self {
            place: place.checked("src")?,
        })
    }
}

impl ExportSpec {
    /// A cache in a place, with everything else at its default.
    #[must_use]
    pub fn new(to: ExportTo) -> Self {
        Self {
            to,
            mode: Mode::Min,
            ignore_error: None,
            compression: None,
            level: None,
            force_compression: false,
        }
    }

    /// Reads one value of `--cache-to`.
    ///
    /// # Errors
    /// A text that is none.
    pub fn parse(text: &str, defaults: &Defaults) -> Result<Self, CacheSpecError> {
        let pairs = pairs(text)?;
        let inline = find(&pairs, "type") == Some("inline");
        let (kind, to) = match inline {
            true => ("inline".to_owned(), ExportTo::Inline),
            false => {
                let (kind, place) = place(&pairs, defaults, "inline, local, registry or s3")?;
                (kind, ExportTo::Place(place))
            }
        };
        let mut spec = Self::new(to);
        for (key, value) in pairs.iter().filter(|(key, _)| key != "type") {
            if !spec.set(key, value)? {
                return Err(CacheSpecError::Key {
                    key: key.clone(),
                    kind,
                });
            }
        }
        if inline && spec.mode == Mode::Max {
            return Err(CacheSpecError::InlineMax);
        }
        if let ExportTo::Place(place) = spec.to {
            spec.to = ExportTo::Place(place.checked("dest")?);
        }
        // The same limits as those of an image's layers.
        spec.layers(&OutputSpec::new(OutputKind::Oci))?;
        Ok(spec)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<bool, CacheSpecError> {
        let bad = |expected| CacheSpecError::value(key, value, expected);
        let boolean = || crate::source::boolean(value).ok_or_else(|| bad("true or false"));
        match (key, &mut self.to) {
            ("mode", _) => {
                self.mode = match value {
                    "min" => Mode::Min,
                    "max" => Mode::Max,
                    _ => return Err(bad("min or max")),
                }
            }
            ("ignore-error", _) => self.ignore_error = Some(boolean()?),
            (_, ExportTo::Inline) => return Ok(false),
            ("compression", _) => {
                self.compression = Some(match value {
                    "uncompressed" => Compression::Uncompressed,
                    "gzip" => Compression::Gzip,
                    "zstd" => Compression::Zstd,
                    _ => return Err(bad("uncompressed, gzip or zstd")),
                })
            }
            ("compression-level", _) => {
                self.level = Some(value.parse().map_err(|_| bad("a number"))?)
            }
            ("force-compression", _) => self.force_compression = boolean()?,
            // An image manifest with OCI's media types is what is written anyway.
            ("oci-mediatypes" | "image-manifest", _) => {
                if !boolean()? {
                    return Err(bad("true: caches are written as OCI image manifests only"));
                }
            }
            ("src" | "digest", ExportTo::Place(Place::Folder(_))) => return Ok(false),
            (_, ExportTo::Place(place)) => return place.set(key, value),
        }
        Ok(true)
    }

    /// How its layers are compressed, `usual` where it does not say.
    ///
    /// # Errors
    /// A level that the compression does not have.
    pub fn layers(&self, usual: &OutputSpec) -> Result<OutputSpec, CacheSpecError> {
        let compression = self.compression.unwrap_or(usual.compression);
        // A level belongs to its compression.
        let level = self.level.or(match self.compression {
            None => usual.level,
            Some(_) => None,
        });
        let limit = match compression {
            Compression::Uncompressed => 0,
            Compression::Gzip => 9,
            Compression::Zstd => 22,
        };
        match level.filter(|level| *level > limit) {
            Some(level) => Err(CacheSpecError::value(
                "compression-level",
                &level.to_string(),
                "0 to 9 for gzip, 0 to 22 for zstd, none for uncompressed",
            )),
            None => Ok(OutputSpec {
                compression,
                level,
                force_compression: self.force_compression,
                ..OutputSpec::new(OutputKind::Oci)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Secret;

    fn from(text: &str) -> Result<ImportSpec, CacheSpecError> {
        ImportSpec::parse(text, &Defaults::default())
    }

    fn to(text: &str) -> Result<ExportSpec, CacheSpecError> {
        ExportSpec::parse(text, &Defaults::default())
    }

    #[test]
    fn forms() {
        for text in [
            "localhost:5000/app:cache",
            "type=registry,ref=localhost:5000/app:cache",
        ] {
            let place = from(text).unwrap().place;
            assert_eq!(place.to_string(), "localhost:5000/app:cache", "{text}");
            assert_eq!(to(text).unwrap().to, ExportTo::Place(place));
        }
        assert_eq!(
            from("type=local,src=/c,tag=x").unwrap().place.to_string(),
            "/c:x"
        );
        let max = to("type=local,dest=c,mode=max,ignore-error=false,reset=true").unwrap();
        assert_eq!((max.mode, max.ignore_error), (Mode::Max, Some(false)));
        assert_eq!(to("type=inline").unwrap().to, ExportTo::Inline);
    }

    #[test]
    fn the_environment_fills_in_and_secrets_are_not_shown() {
        let defaults = Defaults {
            bucket: Some("b".to_owned()),
            region: Some("r".to_owned()),
            secret_access_key: Some(Secret::new("hidden")),
            ..Defaults::default()
        };
        let text = "type=s3,prefix=p/,name=a;b,touch_refresh=90m,session_token=concealed";
        let spec = ImportSpec::parse(text, &defaults).unwrap();
        assert_eq!(spec.place.to_string(), "s3://b/p/manifests/a");
        let shown = format!("{spec:?}");
        assert!(
            !shown.contains("hidden") && !shown.contains("concealed"),
            "{shown}"
        );
        assert!(
            from("type=s3,region=r")
                .unwrap_err()
                .to_string()
                .contains("`bucket=`")
        );
    }

    #[test]
    fn refusals() {
        for (text, expected) in [
            (
                "type=gha",
                "unknown cache type `gha`, expected inline, local, registry or s3",
            ),
            ("type=azblob,name=x", "unknown cache type `azblob`"),
            ("dest=x", "needs `type=`"),
            ("type=local", "needs `dest=`"),
            ("type=registry", "needs `ref=`"),
            ("type=registry,ref=UPPER/x", "invalid cache reference"),
            ("type=local,src=x", "unknown key `src`"),
            ("type=local,dest=x,mode=mid", "expected min or max"),
            (
                "type=local,dest=x,image-manifest=false",
                "OCI image manifests only",
            ),
            ("type=local,dest=x,compression-level=10", "0 to 9"),
            ("type=inline,mode=max", "only the layers of the image"),
            ("type=inline,compression=zstd", "unknown key `compression`"),
            ("type=local,x", "field 2 of the value"),
        ] {
            let error = to(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(
            from("type=inline")
                .unwrap_err()
                .to_string()
                .contains("type=registry")
        );
        assert!(
            from("type=local,dest=x")
                .unwrap_err()
                .to_string()
                .contains("`dest`")
        );
    }
}
