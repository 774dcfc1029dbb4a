//! What may be shown of secrets and URLs.
//!
//! Secrets and URLs are types that cannot print what must stay hidden, so that no message, log or event has to
//! remember to hide it. Nothing here encrypts or wipes memory.

use std::fmt;

use reqwest::Url;
use serde::Deserialize;

use crate::oci::base64;

/// Query keys whose values say nothing secret: what is asked of a token server or a registry.
const SHOWN_KEYS: &[&str] = &["digest", "from", "last", "mount", "n", "scope", "service"];

/// A password or token. Prints as `***`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that must not be shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the header or form field that carries it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The value of an `Authorization` header that is this text; the line end of a file is none of it.
    #[must_use]
    pub fn header(&self) -> Self {
        Self(self.0.trim().to_owned())
    }

    /// The value of an `Authorization` header that shows this token.
    #[must_use]
    pub fn bearer(&self) -> Self {
        Self(format!("Bearer {}", self.0.trim()))
    }

    /// The value of an `Authorization` header that shows a user and a password.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        let pair = format!("{user}:{password}");
        Self(format!("Basic {}", base64::encode(pair.as_bytes())))
    }

    /// The same for a token that is shown as the password of a user.
    #[must_use]
    pub fn as_password_of(&self, user: &str) -> Self {
        Self::basic(user, self.0.trim())
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A URL as it may be shown: no user, no password, no fragment, and only those query values that are known to be harmless.
#[derive(Clone, PartialEq, Eq)]
pub struct SafeUrl(Box<str>);

impl From<&Url> for SafeUrl {
    fn from(url: &Url) -> Self {
        let mut shown = url.clone();
        shown.set_fragment(None);
        // Both fail only for URLs that cannot have a user at all.
        if shown.set_username("").is_err() || shown.set_password(None).is_err() {
            return Self(format!("{}:...", url.scheme()).into());
        }
        if url.query().is_some() {
            let pairs: Vec<_> = url.query_pairs().collect();
            let mut query = shown.query_pairs_mut();
            query.clear();
            for (key, value) in &pairs {
                let value = if SHOWN_KEYS.contains(&key.as_ref()) {
                    value.as_ref()
                } else {
                    "***"
                };
                query.append_pair(key, value);
            }
        }
        Self(shown.as_str().into())
    }
}

impl fmt::Debug for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_show_only_what_is_allowed() {
        for (url, shown) in [
            (
                "https://a.io/v2/x?digest=sha256:1",
                "https://a.io/v2/x?digest=sha256%3A1",
            ),
            ("https://u:p@a.io/v2/#f", "https://a.io/v2/"),
            (
                "https://a.io/b?X-Amz-Signature=abc&n=1",
                "https://a.io/b?X-Amz-Signature=***&n=1",
            ),
            (
                "https://a.io:5000/b?_state=secret",
                "https://a.io:5000/b?_state=***",
            ),
            ("data:secret", "data:..."),
        ] {
            assert_eq!(SafeUrl::from(&Url::parse(url).unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn secrets_print_as_stars() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.reveal(), "hunter2");
    }
}
