//! Redirects: which are followed, and where it is safe to go.

use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode, Url};

use super::answer::Answer;
use super::error::Failure;
use super::http::authority;
use super::send::Transport;

/// Where an answer redirects, if it does and the request can be repeated there.
pub(super) fn redirect<'a>(method: &Method, answer: &'a Answer) -> Option<&'a str> {
    let reading = [Method::GET, Method::HEAD].contains(method);
    let followed = match answer.status() {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => reading,
        // A POST may carry a token meant for one host.
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => *method != Method::POST,
        _ => false,
    };
    answer.header(LOCATION.as_str()).filter(|_| followed)
}

impl Transport {
    /// The URL that an answer from `from` names, if it is safe to go there: from an encrypted connection to a plain one only
    /// where the user said so. A registry behind a proxy may not know that it is reached over TLS; the same host is then meant.
    pub(in crate::registry) fn next_url(&self, from: &Url, location: &str) -> Result<Url, Failure> {
        let no_url = || Failure::protocol(from, "redirects to something that is no URL");
        let mut next = from.join(location).map_err(|_| no_url())?;
        let host = authority(&next);
        match (from.scheme(), next.scheme()) {
            (_, "https") | ("http", "http") => return Ok(next),
            ("https", "http") if self.http.is_insecure(&host) => return Ok(next),
            ("https", "http") if next.host() == from.host() => {}
            (_, scheme) => {
                return Err(Failure::protocol(
                    from,
                    format!("redirects to `{scheme}://{host}`, expected `https://`"),
                ));
            }
        }
        let port_is_ours = next.port().is_none_or(|port| from.port() == Some(port));
        if !port_is_ours {
            let reason = format!("redirects to `http://{host}`, expected `https://`");
            return Err(Failure::protocol(from, reason));
        }
        next.set_scheme("https").map_err(|()| no_url())?;
        next.set_port(from.port()).map_err(|()| no_url())?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Settings;

    #[test]
    fn redirects_that_are_followed() {
        let transport = Transport::new(Settings {
            insecure: vec!["lan:5000".to_owned()],
            ..Settings::default()
        });
        for (from, location, to) in [
            ("https://a.io/v2/x", "/y?z", Some("https://a.io/y?z")),
            (
                "https://a.io/v2/x",
                "https://cdn.io/y",
                Some("https://cdn.io/y"),
            ),
            ("https://a.io/v2/x", "http://a.io/y", Some("https://a.io/y")),
            (
                "https://a.io:5000/v2/x",
                "http://a.io:5000/y",
                Some("https://a.io:5000/y"),
            ),
            (
                "https://a.io:5000/v2/x",
                "http://a.io/y",
                Some("https://a.io:5000/y"),
            ),
            ("https://a.io/v2/x", "http://a.io:8080/y", None),
            ("https://a.io/v2/x", "http://cdn.io/y", None),
            ("https://a.io/v2/x", "http://127.0.0.1/y", None),
            (
                "https://a.io/v2/x",
                "http://lan:5000/y",
                Some("http://lan:5000/y"),
            ),
            (
                "http://a.io/v2/x",
                "http://cdn.io/y",
                Some("http://cdn.io/y"),
            ),
            (
                "http://a.io/v2/x",
                "https://cdn.io/y",
                Some("https://cdn.io/y"),
            ),
            ("https://a.io/v2/x", "file:///etc/passwd", None),
            ("https://a.io/v2/x", "https://", None),
        ] {
            let next = transport.next_url(&Url::parse(from).unwrap(), location);
            assert_eq!(
                next.ok().map(String::from).as_deref(),
                to,
                "{from} {location}"
            );
        }
    }
}
