//! Answers: status, headers, and a body that is read with a limit and never waited for in silence.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};

use super::error::{ContentError, Failure};
use super::redact::SafeUrl;

/// The longest error answer that is read.
const LONGEST_ERROR: usize = 64 << 10;

/// The header that carries the digest of a manifest.
pub(in crate::registry) const DIGEST_HEADER: &str = "docker-content-digest";

/// An answer whose body has not been read.
#[derive(Debug)]
pub(in crate::registry) struct Answer {
    pub(super) response: Response,
    /// Whom it came from, after redirects.
    pub(super) url: Url,
    /// Whether the request said who we are.
    pub(super) with_credentials: bool,
    pub(super) silence: Duration,
}

impl Answer {
    pub(in crate::registry) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(in crate::registry) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header's text; `None` if it is not there or not plain ASCII.
    pub(in crate::registry) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Whom it came from, after redirects.
    pub(in crate::registry) fn url(&self) -> &Url {
        &self.url
    }

    /// The answer if it is one of success, else what it says went wrong.
    pub(in crate::registry) async fn success(self) -> Result<Self, Failure> {
        if self.status().is_success() {
            return Ok(self);
        }
        let (url, status) = (SafeUrl::from(&self.url), self.status());
        // Seconds only; the form with a date is not in use.
        let retry_after = self
            .header(RETRY_AFTER.as_str())
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs);
        let with_credentials = self.with_credentials;
        // What cannot be read of an explanation is no reason to hide the status.
        let body = self.beginning(LONGEST_ERROR).await;
        Err(Failure::from_answer(
            url,
            status,
            &body,
            retry_after,
            with_credentials,
        ))
    }

    /// The whole body, if it is not longer than `limit`.
    pub(in crate::registry) async fn bytes(
        mut self,
        what: &'static str,
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            if bytes.len() + piece.len() > limit {
                let limit = limit as u64;
                return Err(ContentError::TooLarge { what, limit }.into());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// What can be read of the body, up to `limit`.
    async fn beginning(mut self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < limit
            && let Ok(Some(piece)) = self.piece().await
        {
            bytes.extend_from_slice(&piece);
        }
        bytes.truncate(limit);
        bytes
    }

    /// The next piece of the body, `None` at its end.
    pub(in crate::registry) async fn piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match tokio::time::timeout(self.silence, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece.map(Into::into)),
            Ok(Err(error)) => Err(Failure::from_request(SafeUrl::from(&self.url), error)),
            Err(_) => Err(Failure::timeout(SafeUrl::from(&self.url))),
        }
    }
}
