//! One attempt at a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use super::answer::Answer;
use super::authorize;
use super::challenge::Challenge;
use super::endpoint::Endpoint;
use super::error::Failure;
use super::http::HttpClients;
use super::redact::SafeUrl;
use super::redirect::redirect;
use super::scope::Scopes;
use crate::registry::Settings;

/// How many redirects are followed.
const MOST_REDIRECTS: usize = 10;

/// Sends requests.
#[derive(Debug)]
pub(in crate::registry) struct Transport {
    pub(in crate::registry) settings: Settings,
    pub(super) http: HttpClients,
    /// What is to be said of mirrors, each once.
    pub(super) remarks: Mutex<Vec<String>>,
}

/// A request to an endpoint.
pub(in crate::registry) struct Request<'a> {
    pub(in crate::registry) method: Method,
    pub(in crate::registry) target: Target,
    pub(in crate::registry) headers: HeaderMap,
    /// Makes the body; called again for a redirect or a renewed token.
    pub(in crate::registry) body: &'a (dyn Fn() -> Outgoing + Sync),
    pub(in crate::registry) scopes: &'a Scopes,
}

/// Where a request goes.
pub(in crate::registry) enum Target {
    /// A path and query below `/v2/`.
    Path(String),
    /// A URL that an earlier answer gave.
    Url(Url),
}

/// The body of a request.
pub(in crate::registry) struct Outgoing {
    body: Option<reqwest::Body>,
    length: u64,
    /// Counts the bytes that went out, where there are many.
    moved: Option<Arc<AtomicU64>>,
}

impl Outgoing {
    pub(in crate::registry) fn nothing() -> Self {
        Self {
            body: None,
            length: 0,
            moved: None,
        }
    }

    pub(in crate::registry) fn bytes(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len() as u64,
            body: Some(bytes.to_vec().into()),
            moved: None,
        }
    }

    /// A body of `length` bytes that counts in `moved` what went out.
    pub(in crate::registry) fn stream(
        body: reqwest::Body,
        length: u64,
        moved: Arc<AtomicU64>,
    ) -> Self {
        Self {
            body: Some(body),
            length,
            moved: Some(moved),
        }
    }
}

impl Transport {
    pub(in crate::registry) fn new(settings: Settings) -> Self {
        let http = HttpClients::new(&settings);
        Self {
            settings,
            http,
            remarks: Mutex::default(),
        }
    }

    /// Sends a request and returns its answer if that is one of success.
    pub(in crate::registry) async fn send(
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
    pub(in crate::registry) async fn exchange(
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
}

/// The header that says who is asking, and whom it may be shown to.
pub(in crate::registry) struct Introduction<'a> {
    pub(in crate::registry) to: &'a Url,
    pub(in crate::registry) header: &'a HeaderValue,
    pub(in crate::registry) with_credentials: bool,
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
