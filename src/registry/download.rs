//! Plain downloads: what ADD of a URL and contexts at URLs ask for. They share the registry's connections, trust and patience.
//!
//! A login is shown to the host of the URL and to nobody else. Redirects lead from an encrypted connection to a plain one only
//! where the user said so. What comes is streamed, never held.

use std::io::{self, Read};

use super::network::Network;
use super::transport::{
    Answer, Failure, Introduction, Outgoing, SafeUrl, Secret, Transport, retry,
};
use super::{Client, RegistryError};
use reqwest::header::{
    AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::{Method, StatusCode, Url};

/// A file to be downloaded.
#[derive(Clone, Debug, Default)]
pub struct Download {
    /// Where it is; without a login.
    pub url: String,
    /// The value of the `Authorization` header.
    pub authorization: Option<Secret>,
    /// `ETag` of the content that is here already.
    pub etag: Option<String>,
    /// `Last-Modified` of the content that is here already.
    pub last_modified: Option<String>,
}

/// The answer to a [`Download`].
#[derive(Debug)]
pub enum Downloaded {
    /// What is here is what is there.
    NotModified,
    /// The content.
    Content {
        /// Streams it; blocks, so read it from a blocking thread.
        body: Box<Body>,
        /// Its `ETag`.
        etag: Option<String>,
        /// Its `Last-Modified`.
        last_modified: Option<String>,
    },
}

/// The content of an answer.
#[derive(Debug)]
pub struct Body {
    answer: Answer,
    network: Network,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self
                .network
                .wait(self.answer.piece())
                .and_then(|piece| piece)
            {
                Ok(Some(piece)) => (self.piece, self.at) = (piece, 0),
                Ok(None) => return Ok(0),
                Err(failure) => return Err(io::Error::other(failure)),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Client {
    /// Asks for a file.
    ///
    /// # Errors
    /// No URL, no answer, or one that says no.
    pub fn download(&self, download: &Download) -> Result<Downloaded, RegistryError> {
        let failed = |url, failure| RegistryError::Download {
            url,
            failure: Box::new(failure),
        };
        let url = Url::parse(&download.url)
            .map_err(|error| failed(download.url.clone(), Failure::Setup(error.to_string())))?;
        let shown = SafeUrl::from(&url).to_string();
        let headers = headers(download).map_err(|failure| failed(shown.clone(), failure))?;
        let transport = self.transport();
        let patience = transport.settings.patience;
        let login = download.authorization.as_ref();
        let answer = self.network().wait(retry(&patience, async || {
            ask(transport, &url, &headers, login).await
        }));
        let answer = match answer.and_then(|answer| answer) {
            Ok(answer) => answer,
            Err(Failure::Status { status, .. }) => {
                return Err(RegistryError::DownloadStatus {
                    url: shown,
                    status: status.as_u16(),
                });
            }
            Err(failure) => return Err(failed(shown, failure)),
        };
        match answer.status() {
            StatusCode::NOT_MODIFIED => Ok(Downloaded::NotModified),
            status if status.is_success() => {
                let text = |name| answer.header(name).map(str::to_owned);
                Ok(Downloaded::Content {
                    etag: text(ETAG.as_str()),
                    last_modified: text(LAST_MODIFIED.as_str()),
                    body: Box::new(Body {
                        answer,
                        network: self.network().clone(),
                        piece: Vec::new(),
                        at: 0,
                    }),
                })
            }
            status => Err(RegistryError::DownloadStatus {
                url: shown,
                status: status.as_u16(),
            }),
        }
    }
}

/// The conditions of a request, if there is something here already.
fn headers(download: &Download) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let conditions = [
        (IF_NONE_MATCH, &download.etag),
        (IF_MODIFIED_SINCE, &download.last_modified),
    ];
    for (name, value) in conditions {
        if let Some(value) = value {
            let value = HeaderValue::from_str(value).map_err(|e| Failure::Setup(e.to_string()))?;
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

/// One attempt. A server in trouble is a failure that may pass; any other answer is one.
async fn ask(
    transport: &Transport,
    url: &Url,
    headers: &HeaderMap,
    authorization: Option<&Secret>,
) -> Result<Answer, Failure> {
    let header = match authorization {
        Some(secret) => {
            // The words of the error would repeat the value.
            let unfit = |_| Failure::Setup(format!("the login cannot be sent as {AUTHORIZATION}"));
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(unfit)?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    let introduction = header.as_ref().map(|header| Introduction {
        to: url,
        header,
        with_credentials: true,
    });
    let nothing = || Outgoing::nothing();
    let answer = transport
        .exchange(&Method::GET, url.clone(), headers, &nothing, introduction)
        .await?;
    let status = answer.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return answer.success().await;
    }
    Ok(answer)
}
