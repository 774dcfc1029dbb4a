//! Image references: `[registry/]repository[:tag][@digest]` with Docker Hub's short forms.

use std::fmt;
use std::str::FromStr;

use super::Digest;

/// The registry that short names mean.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A checked image reference. Always has a registry and a repository; `tag` defaults to `latest` where there is no digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Something in it is not allowed.
    #[error("invalid reference format: `{0}`")]
    Format(String),
    /// Upper case in the repository.
    #[error("invalid reference format: repository name must be lowercase: `{0}`")]
    UpperCase(String),
    /// A digest that is none.
    #[error("invalid reference format: {0}")]
    Digest(#[from] super::DigestError),
}

impl Reference {
    /// Host, and port if any, as it is contacted: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Repository below the registry: `library/python`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if the reference has one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the reference is pinned.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same name, pinned to `digest`.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository with another tag and no digest.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        }
    }

    /// Whether the registry is on this machine, where plain HTTP is taken for granted.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.split(':').next().unwrap_or_default(),
        };
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }

    /// As people write it: `docker.io/library/` and the digest-free default registry left out.
    #[must_use]
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        let short = short
            .strip_prefix("library/")
            .filter(|_| self.registry == DEFAULT_REGISTRY)
            .unwrap_or(short);
        // Without the registry its first part might be taken for one.
        if short.parse().as_ref() == Ok(self) {
            short.to_owned()
        } else {
            full
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let bad = || ReferenceError::Format(text.to_owned());
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let last_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name[last_slash..].find(':') {
            Some(colon) => (
                &name[..last_slash + colon],
                Some(&name[last_slash + colon + 1..]),
            ),
            None => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad());
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest))
                if first.contains(['.', ':']) || first == "localhost" || first.starts_with('[') =>
            {
                (first, rest.to_owned())
            }
            _ => (DEFAULT_REGISTRY, name.to_owned()),
        };
        let registry = if registry == "index.docker.io" {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path
        };
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(text.to_owned()));
        }
        if name.is_empty()
            || !is_registry(registry)
            || path.len() > 255
            || !path.split('/').all(is_component)
        {
            return Err(bad());
        }
        let tag = tag
            .map(str::to_owned)
            .or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self {
            registry: registry.to_owned(),
            repository: path,
            tag,
            digest,
        })
    }
}

/// distribution-spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// distribution-spec: lower-case letters and digits, separated by `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(alphanumeric)
        && part.ends_with(alphanumeric)
        && part
            .split(alphanumeric)
            .filter(|run| !run.is_empty())
            .all(|run| run == "." || run == "_" || run == "__" || run.chars().all(|c| c == '-'))
}

fn is_registry(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((ip, port)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("v6", port.strip_prefix(':').unwrap_or(port))
            }
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((_, "")) => return false,
            Some((name, port)) => (name, port),
            None => (host, ""),
        },
    };
    (port.is_empty() || port.parse::<u16>().is_ok())
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms() {
        for (text, full, familiar) in [
            (
                "python:3.8-slim",
                "docker.io/library/python:3.8-slim",
                "python:3.8-slim",
            ),
            (
                "busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "docker.io/a.b/c",
                "docker.io/a.b/c:latest",
                "docker.io/a.b/c:latest",
            ),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            (
                "localhost:5000/library/a:1",
                "localhost:5000/library/a:1",
                "localhost:5000/library/a:1",
            ),
            (
                "[::1]:5000/a__b--c.d",
                "[::1]:5000/a__b--c.d:latest",
                "[::1]:5000/a__b--c.d:latest",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                (reference.to_string(), reference.familiar()),
                (full.to_owned(), familiar.to_owned())
            );
        }
        let pinned: Reference = format!("a:1@{}", Digest::of(b"")).parse().unwrap();
        assert_eq!(
            (pinned.tag(), pinned.digest()),
            (Some("1"), Some(Digest::of(b"")))
        );
    }

    #[test]
    fn refusals() {
        for bad in [
            "",
            ":",
            "a:",
            "/a",
            "a/",
            "a//b",
            "-a",
            "a_",
            "a..b",
            "a b",
            "a:b:c",
            "a@sha256:1",
            "host:/a",
            "a:-t",
            "é",
            "A",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert!(matches!(
            "Foo/bar".parse::<Reference>(),
            Err(ReferenceError::UpperCase(_))
        ));
    }

    #[test]
    fn loopback() {
        for (text, expected) in [
            ("localhost:5000/a", true),
            ("127.0.0.1:1/a", true),
            ("[::1]:1/a", true),
            ("a", false),
            ("ghcr.io/a/b", false),
        ] {
            assert_eq!(
                text.parse::<Reference>().unwrap().is_loopback(),
                expected,
                "{text}"
            );
        }
    }
}
