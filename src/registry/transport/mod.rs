//! Requests to registries, from a path to an answer that means something.
//!
//! One call of [`Transport::send`] is one attempt: it finds the scheme, shows who is asking, follows redirects without
//! telling other hosts who that is, renews a refused token once, and turns answers that are no success into a [`Failure`]. Whether to try again
//! is for [`retry`], around a whole operation.

mod answer;
mod authorize;
mod bearer;
mod challenge;
mod endpoint;
mod error;
mod http;
mod redact;
mod retry;
mod scope;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};

pub(super) use answer::Answer;
use challenge::Challenge;
pub(super) use endpoint::Endpoint;
pub use error::{ContentError, Failure, Unreachable};
pub use redact::{SafeUrl, Secret};
pub(super) use retry::{pause, retry};
pub(super) use scope::Scopes;

use super::Settings;

/// How many redirects are followed.
const MOST_REDIRECTS: usize = 10;

/// Sends requests.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) settings: Settings,
    http: http::HttpClients,
}

/// A request to an endpoint.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: HeaderMap,
    /// Makes the body; called again for a redirect or a renewed token.
    pub(super) body: &'a (dyn Fn() -> Outgoing + Sync),
    pub(super) scopes: &'a Scopes,
}

/// Where a request goes.
pub(super) enum Target {
    /// A path and query below `/v2/`.
    Path(String),
    /// A URL that an earlier answer gave.
    Url(Url),
}

/// The body of a request.
pub(super) struct Outgoing {
    body: Option<reqwest::Body>,
    length: u64,
    /// Counts the bytes that went out, where there are many.
    moved: Option<Arc<AtomicU64>>,
}

impl Outgoing {
    pub(super) fn nothing() -> Self {
        Self {
            body: None,
            length: 0,
            moved: None,
        }
    }

    pub(super) fn bytes(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len() as u64,
            body: Some(bytes.to_vec().into()),
            moved: None,
        }
    }

    /// A body of `length` bytes that counts in `moved` what went out.
    pub(super) fn stream(body: reqwest::Body, length: u64, moved: Arc<AtomicU64>) -> Self {
        Self {
            body: Some(body),
            length,
            moved: Some(moved),
        }
    }
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Self {
        let http = http::HttpClients::new(&settings);
        Self { settings, http }
    }

    /// Sends a request and returns its answer if that is one of success.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
    ) -> Result<Answer, Failure> {
        match self.send_authorized(endpoint, request).await {
            Err(Failure::Denied {
                with_credentials: false,
                url,
                message,
            }) => {
                let problem = endpoint.problem.lock();
                let problem = problem.unwrap_or_else(PoisonError::into_inner).take();
                Err(problem.map_or(
                    Failure::Denied {
                        with_credentials: false,
                        url,
                        message,
                    },
                    Failure::Credentials,
                ))
            }
            other => other,
        }
    }

    async fn send_authorized(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
    ) -> Result<Answer, Failure> {
        let contact = endpoint.contact(self).await?;
        let url = match &request.target {
            Target::Url(url) => url.clone(),
            Target::Path(path) => contact
                .base
                .join(path)
                .map_err(|_| Failure::protocol(&contact.base, "has no such path"))?,
        };
        let mut also = Vec::new();
        let mut renewed = false;
        loop {
            let shown =
                authorize::authorize(self, endpoint, contact, request.scopes, &also).await?;
            let introduction = shown.as_ref().map(|shown| Introduction {
                to: &contact.base,
                header: &shown.header,
                with_credentials: shown.with_credentials,
            });
            let answer = self
                .exchange(
                    &request.method,
                    url.clone(),
                    &request.headers,
                    request.body,
                    introduction,
                )
                .await?;
            if answer.status() == StatusCode::UNAUTHORIZED
                && !renewed
                && contact.is_at(answer.url())
                && let Some(challenge) = Challenge::from_headers(answer.headers())
            {
                if let Challenge::Bearer { scopes, .. } = &challenge {
                    also.clone_from(scopes);
                }
                contact.remember(challenge);
                if let Some(refused) = &shown {
                    authorize::forget(endpoint, request.scopes, refused).await;
                }
                renewed = true;
                continue;
            }
            return answer.success().await;
        }
    }

    /// Sends a request to a URL and wherever that redirects, and returns the answer, whatever it is.
    async fn exchange(
        &self,
        method: &Method,
        mut url: Url,
        headers: &HeaderMap,
        body: &(dyn Fn() -> Outgoing + Sync),
        introduction: Option<Introduction<'_>>,
    ) -> Result<Answer, Failure> {
        for _ in 0..=MOST_REDIRECTS {
            let mut headers = headers.clone();
            let introduction = introduction
                .as_ref()
                .filter(|introduction| introduction.to.origin() == url.origin());
            if let Some(introduction) = introduction {
                headers.insert(AUTHORIZATION, introduction.header.clone());
            }
            let mut answer = self.hop(method, &url, headers, body()).await?;
            answer.with_credentials = introduction.is_some_and(|shown| shown.with_credentials);
            let Some(location) = redirect(method, &answer) else {
                return Ok(answer);
            };
            url = self.next_url(&url, location)?;
        }
        Err(Failure::protocol(&url, "redirects in circles"))
    }

    /// Sends a request to a URL and nowhere else.
    async fn hop(
        &self,
        method: &Method,
        url: &Url,
        mut headers: HeaderMap,
        outgoing: Outgoing,
    ) -> Result<Answer, Failure> {
        let client = self.http.client_for(url).await?;
        if outgoing.body.is_some() || [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(outgoing.length));
        }
        let mut request = client.request(method.clone(), url.clone()).headers(headers);
        if let Some(body) = outgoing.body {
            request = request.body(body);
        }
        let patience = &self.settings.patience;
        let response = match outgoing.moved {
            None => tokio::time::timeout(patience.silence, request.send())
                .await
                .ok(),
            Some(moved) => while_moving(&moved, patience.upload_silence, request.send()).await,
        };
        match response {
            Some(Ok(response)) => Ok(Answer {
                response,
                url: url.clone(),
                with_credentials: false,
                silence: patience.silence,
            }),
            Some(Err(error)) => Err(Failure::from_request(SafeUrl::from(url), error)),
            None => Err(Failure::timeout(SafeUrl::from(url))),
        }
    }

    /// The URL that an answer from `from` names, if it is safe to go there: from an encrypted connection to a plain one only
    /// where the user said so. A registry behind a proxy may not know that it is reached over TLS; the same host is then meant.
    pub(super) fn next_url(&self, from: &Url, location: &str) -> Result<Url, Failure> {
        let no_url = || Failure::protocol(from, "redirects to something that is no URL");
        let mut next = from.join(location).map_err(|_| no_url())?;
        let authority = http::authority(&next);
        match (from.scheme(), next.scheme()) {
            (_, "https") | ("http", "http") => return Ok(next),
            ("https", "http") if self.http.is_insecure(&authority) => return Ok(next),
            ("https", "http") if next.host() == from.host() => {}
            (_, scheme) => {
                return Err(Failure::protocol(
                    from,
                    format!("redirects to `{scheme}://{authority}`, expected `https://`"),
                ));
            }
        }
        let port_is_ours = next.port().is_none_or(|port| from.port() == Some(port));
        if !port_is_ours {
            let reason = format!("redirects to `http://{authority}`, expected `https://`");
            return Err(Failure::protocol(from, reason));
        }
        next.set_scheme("https").map_err(|()| no_url())?;
        next.set_port(from.port()).map_err(|()| no_url())?;
        Ok(next)
    }
}

/// The header that says who is asking, and whom it may be shown to.
struct Introduction<'a> {
    to: &'a Url,
    header: &'a HeaderValue,
    with_credentials: bool,
}

/// Where an answer redirects, if it does and the request can be repeated there.
fn redirect<'a>(method: &Method, answer: &'a Answer) -> Option<&'a str> {
    let reading = [Method::GET, Method::HEAD].contains(method);
    let followed = match answer.status() {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => reading,
        // A POST may carry a token meant for one host.
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => *method != Method::POST,
        _ => false,
    };
    answer.header(LOCATION.as_str()).filter(|_| followed)
}

/// Waits for `future` as long as it, or the counter beside it, gives a sign of life at least once in `silence`.
async fn while_moving<T>(
    moved: &AtomicU64,
    silence: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        match tokio::time::timeout(silence, &mut future).await {
            Ok(output) => return Some(output),
            Err(_) => {
                let now = moved.load(Ordering::Relaxed);
                if now == before {
                    return None;
                }
                before = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[tokio::test]
    async fn silence_ends_waiting_and_movement_does_not() {
        let moved = AtomicU64::new(0);
        let silence = Duration::from_millis(1);
        let forever = std::future::pending::<()>();
        assert_eq!(while_moving(&moved, silence, forever).await, None);
        // Never wakes by itself: each poll but the first comes from a silence that was forgiven.
        let busy = std::future::poll_fn(|_| match moved.fetch_add(1, Ordering::Relaxed) {
            5.. => std::task::Poll::Ready(()),
            _ => std::task::Poll::Pending,
        });
        assert_eq!(while_moving(&moved, silence, busy).await, Some(()));
    }
}
