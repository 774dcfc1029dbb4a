//! Platforms: `os/arch[/variant]` with the aliases of the field normalised (image-spec, image-index.md).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor architecture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, `windows`, ...
    pub os: String,
    /// `amd64`, `arm64`, ... in Go's spelling.
    #[serde(rename = "architecture")]
    pub arch: String,
    /// `v7` for arm; empty where the architecture has no variants or the default is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Windows build number, usually empty.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
}

/// A text that is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse platform {0}: expected os[/arch[/variant]], for example linux/arm64")]
pub struct PlatformError(pub String);

impl Platform {
    /// A platform from its parts, normalised.
    #[must_use]
    pub fn new(os: &str, arch: &str, variant: &str) -> Self {
        let (arch, variant) = normalise(&arch.to_ascii_lowercase(), &variant.to_ascii_lowercase());
        Self {
            os: os.to_ascii_lowercase(),
            arch,
            variant,
            os_version: String::new(),
        }
    }

    /// The platform this builder runs on.
    #[must_use]
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    /// Whether an image for `self` runs where `wanted` is wanted.
    #[must_use]
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.os == wanted.os && self.arch == wanted.arch && (self.variant == wanted.variant)
    }

    /// Platforms that serve for this one, best first: an arm/v7 machine also runs v6 and v5 images.
    #[must_use]
    pub fn fallbacks(&self) -> Vec<Self> {
        let variants: &[&str] = match (self.arch.as_str(), self.variant.as_str()) {
            ("arm", "v8") => &["v8", "v7", "v6", "v5"],
            ("arm", "v7") => &["v7", "v6", "v5"],
            ("arm", "v6") => &["v6", "v5"],
            _ => return vec![self.clone()],
        };
        variants
            .iter()
            .map(|v| Self {
                variant: (*v).to_owned(),
                ..self.clone()
            })
            .collect()
    }
}

fn normalise(arch: &str, variant: &str) -> (String, String) {
    let (arch, variant) = match (arch, variant) {
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v),
        ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
        ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
        ("aarch64" | "arm64", v) => ("arm64", v),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        ("powerpc64le", v) => ("ppc64le", v),
        other => other,
    };
    (arch.to_owned(), variant.to_owned())
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let bad = || PlatformError(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let (os, os_version) = match parts[0].split_once('(') {
            Some((os, rest)) => (os, rest.strip_suffix(')').ok_or_else(bad)?),
            None => (parts[0], ""),
        };
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if parts.len() > 3 || !word(os) || !parts[1..].iter().all(|p| word(p)) {
            return Err(bad());
        }
        let known_os = [
            "linux", "windows", "darwin", "freebsd", "wasip1", "wasi", "js", "android",
        ];
        let platform = match parts.len() {
            1 if known_os.contains(&os.to_ascii_lowercase().as_str()) => Self {
                os: os.to_ascii_lowercase(),
                ..Self::host()
            },
            1 => {
                let platform = Self::new("linux", os, "");
                let known = [
                    "amd64", "386", "arm", "arm64", "ppc64le", "s390x", "riscv64", "loong64",
                    "mips64le", "mips64", "wasm",
                ];
                if !known.contains(&platform.arch.as_str()) {
                    return Err(bad());
                }
                platform
            }
            2 => Self::new(os, parts[1], ""),
            _ => Self::new(os, parts[1], parts[2]),
        };
        Ok(Self {
            os_version: os_version.to_owned(),
            ..platform
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        if self.variant.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.variant)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/i386", "linux/386"),
            ("arm64", "linux/arm64"),
            ("Linux/AMD64", "linux/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected);
        }
        for bad in [
            "",
            "/",
            "linux/",
            "linux//v7",
            "a/b/c/d",
            "nonsense",
            "linux/a b",
            "linux(1/amd64",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
