//! The token server: exchanges a login, or nothing, for a short-lived token (Docker's token specification).

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::error::Failure;
use super::http::{authority, is_loopback};
use super::redact::Secret;
use super::{Introduction, Outgoing, Transport};
use crate::oci::base64;
use crate::registry::credentials::Login;

/// What we call ourselves to token servers.
const CLIENT_ID: &str = "builder";

/// How long a token is good if the server does not say; also the shortest time we believe (Docker's token specification).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// The longest lifetime that is believed.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A token is given up this long before it ends.
const MARGIN: Duration = Duration::from_secs(10);

/// The largest answer of a token server.
const LONGEST_ANSWER: usize = 1 << 20;

/// A token and when to stop using it.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) good_until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Secret,
    #[serde(default)]
    access_token: Secret,
    expires_in: Option<u64>,
}

/// Asks the token server at `realm` for a token.
pub(super) async fn fetch(
    transport: &Transport,
    realm: &Url,
    service: Option<&str>,
    scopes: &[String],
    login: Option<&Login>,
) -> Result<Token, Failure> {
    let asked = Instant::now();
    let mut headers = HeaderMap::new();
    let mut header = None;
    let mut url = realm.clone();
    let (method, form) = match login {
        Some(Login::Identity(identity)) => {
            let mut form = vec![
                ("grant_type", "refresh_token".to_owned()),
                ("client_id", CLIENT_ID.to_owned()),
                ("scope", scopes.join(" ")),
                ("refresh_token", identity.reveal().to_owned()),
            ];
            form.extend(service.map(|service| ("service", service.to_owned())));
            (Method::POST, Some(encode(&form)))
        }
        login => {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
            if let Some(Login::Basic { user, password }) = login {
                query.append_pair("account", user);
                header = Some(basic(user, password));
            }
            query.append_pair("client_id", CLIENT_ID);
            drop(query);
            (Method::GET, None)
        }
    };
    let form = form.as_deref();
    if form.is_some() {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
    }
    let body = || match form {
        Some(form) => Outgoing::bytes(form.as_bytes()),
        None => Outgoing::nothing(),
    };
    let introduction = header.as_ref().map(|header| Introduction {
        to: realm,
        header,
        with_credentials: true,
    });
    let mut answer = transport
        .exchange(&method, url, &headers, &body, introduction)
        .await?;
    answer.with_credentials = login.is_some();
    let bytes = answer
        .success()
        .await?
        .bytes("answer of the token server", LONGEST_ANSWER)
        .await?;
    // The words of a parse error may repeat parts of the text, which holds a secret.
    let bad = || Failure::protocol(realm, "did not answer with a token");
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let secret = match answer {
        Answer { token, .. } if !token.is_empty() => token,
        Answer { access_token, .. } if !access_token.is_empty() => access_token,
        _ => return Err(bad()),
    };
    let lifetime = answer
        .expires_in
        .map_or(DEFAULT_LIFETIME, Duration::from_secs);
    let lifetime = lifetime.clamp(DEFAULT_LIFETIME, LONGEST_LIFETIME);
    Ok(Token {
        secret,
        good_until: asked + (lifetime - MARGIN),
    })
}

/// Checks that a realm is a place to which credentials may go: over TLS; or in the clear to this machine if the registry is
/// on it too, or to a host that the user marked as insecure.
pub(super) fn check_realm(
    transport: &Transport,
    registry: &Url,
    realm: &str,
) -> Result<Url, Failure> {
    let refuse = |reason: String| Failure::protocol(registry, reason);
    let url = Url::parse(realm)
        .map_err(|error| refuse(format!("names a token server that is no URL ({error})")))?;
    let host = url.host_str().unwrap_or_default();
    let here = is_loopback(host) && is_loopback(registry.host_str().unwrap_or_default());
    match url.scheme() {
        "https" => Ok(url),
        "http" if here || transport.http.is_insecure(&authority(&url)) => Ok(url),
        scheme => Err(refuse(format!(
            "names a token server at `{scheme}://{}`, expected `https://`",
            authority(&url)
        ))),
    }
}

/// The header of a user and password.
pub(super) fn basic(user: &str, password: &Secret) -> HeaderValue {
    let text = base64::encode(format!("{user}:{}", password.reveal()).as_bytes());
    sensitive(&format!("Basic {text}")).unwrap_or_else(|| HeaderValue::from_static(""))
}

/// The header of a token; `None` for a token that cannot stand in a header.
pub(super) fn bearer(token: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.reveal()))
}

/// A header value that is neither printed nor compressed.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `application/x-www-form-urlencoded`, which is what a URL's query is.
fn encode(form: &[(&str, String)]) -> String {
    let Ok(mut url) = Url::parse("http://form/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(form);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_do_not_print() {
        let header = basic("user", &Secret::new("pässword"));
        assert_eq!(header.as_bytes(), b"Basic dXNlcjpww6Rzc3dvcmQ=");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert_eq!(bearer(&Secret::new("line\nbreak")), None);
    }

    #[test]
    fn forms_are_encoded() {
        let form = [("scope", "a:b:pull c".to_owned()), ("t", "&=é".to_owned())];
        assert_eq!(encode(&form), "scope=a%3Ab%3Apull+c&t=%26%3D%C3%A9");
    }

    #[test]
    fn realms() {
        let settings = crate::registry::Settings {
            insecure: vec!["lan:5000".to_owned()],
            ..crate::registry::Settings::default()
        };
        let transport = Transport::new(settings);
        for (registry, realm, good) in [
            ("https://a.io/v2/", "https://auth.b.io/token?x=1", true),
            ("https://a.io/v2/", "http://auth.b.io/token", false),
            ("https://a.io/v2/", "http://127.0.0.1:8080/token", false),
            (
                "http://127.0.0.1:1/v2/",
                "http://127.0.0.1:8080/token",
                true,
            ),
            (
                "http://127.0.0.1:1/v2/",
                "http://localhost:8080/token",
                true,
            ),
            ("http://lan:5000/v2/", "http://lan:5000/token", true),
            ("http://lan:5000/v2/", "http://lan:5001/token", false),
            ("https://a.io/v2/", "file:///etc/passwd", false),
            ("https://a.io/v2/", "/token", false),
        ] {
            let registry = Url::parse(registry).unwrap();
            let checked = check_realm(&transport, &registry, realm);
            assert_eq!(checked.is_ok(), good, "{registry} {realm}");
        }
    }
}
