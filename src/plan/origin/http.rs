//! Files at `http://` and `https://` URLs.

use url::Url;

use super::{Login, take_login};
use crate::oci::Digest;

/// Name of a file whose URL has none.
const UNNAMED: &str = "__unnamed__";

/// A file at a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpSource {
    /// The URL without login and fragment.
    pub url: String,
    /// Who asks, where the URL says so.
    pub login: Option<Login>,
    /// Name of the file in its tree.
    pub file_name: String,
    /// What the content has to be.
    pub checksum: Option<Digest>,
    /// Whether an archive becomes the tree that is in it. Anything else stays a file.
    pub unpack: bool,
}

/// A text that is no URL of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid URL `{shown}`: {reason}")]
pub struct HttpError {
    /// As far as it may be shown.
    pub shown: String,
    /// What is wrong.
    pub reason: String,
}

/// Whether a text is an `http://` or `https://` URL.
#[must_use]
pub fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

impl HttpSource {
    /// Reads a URL. The file is named after the last element of its path.
    ///
    /// # Errors
    /// What is wrong with it; a login is not shown.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        let mut url = Url::parse(text).map_err(|error| HttpError {
            // What cannot be taken apart may hold a password anywhere.
            shown: text
                .split_once("://")
                .map_or("", |(scheme, _)| scheme)
                .to_owned()
                + "://...",
            reason: error.to_string(),
        })?;
        url.set_fragment(None);
        let login = take_login(&mut url);
        let last = url
            .path_segments()
            .and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()))
            .map(|segment| {
                percent_encoding::percent_decode_str(segment)
                    .decode_utf8_lossy()
                    .into_owned()
            });
        // A name that would lead elsewhere is none.
        let last = last.filter(|name| !name.contains(['/', '\0']) && name != "." && name != "..");
        Ok(Self {
            url: url.to_string(),
            login,
            file_name: last.unwrap_or_else(|| UNNAMED.to_owned()),
            checksum: None,
            unpack: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_the_path() {
        for (text, name) in [
            ("http://a.io/x/file.tar.gz?v=1#f", "file.tar.gz"),
            ("https://a.io/x/", "x"),
            ("https://a.io", "__unnamed__"),
            ("https://a.io/?x=/y", "__unnamed__"),
            ("https://a.io/a%20b", "a b"),
            ("https://a.io/a%2F..%2Fb", "__unnamed__"),
        ] {
            assert_eq!(HttpSource::parse(text).unwrap().file_name, name, "{text}");
        }
    }

    #[test]
    fn logins_are_never_shown() {
        let source = HttpSource::parse("https://us%65r:p%40ss@a.io/x").unwrap();
        assert_eq!(source.url, "https://a.io/x");
        let login = source.login.clone().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_str()),
            ("user", "p@ss")
        );
        assert!(!format!("{source:?}").contains("p@ss"));
        let error = HttpSource::parse("https://user:secret@a.io:port/").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
