//! Brings one blob into a repository: it may be there, it may be in a neighbouring repository, or it is sent.

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};

use super::content::{Content, PIECE};
use super::push::{Progress, PushBlob, PushEvent, Target};
use super::transport::{self, Answer, Failure, Outgoing, Request, Scopes, pause};
use crate::oci::Digest;

/// How much goes into one request of a chunked upload.
const CHUNK: u64 = 32 * PIECE;

/// Brings `blob` into the repository of `target`.
pub(super) async fn upload(
    target: &Target<'_>,
    blob: &PushBlob,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut upload = Upload {
        target,
        blob,
        progress,
        scopes: Scopes::push(target.name),
        chunked: false,
    };
    let patience = &target.transport.settings.patience;
    let mut attempts = 1;
    loop {
        let failure = match upload.once().await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if attempts < patience.attempts && !upload.chunked && wants_chunks(&failure) {
            upload.chunked = true;
        } else if attempts < patience.attempts && matches!(failure, Failure::LostSession { .. }) {
            // Nothing to wait for: the next session may go to a server that remembers it.
        } else {
            match pause(patience, &failure, attempts) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failure.with_attempts(attempts)),
            }
        }
        attempts += 1;
    }
}

/// Whether a registry, or a proxy before it, says that a whole blob in one request is not its way.
fn wants_chunks(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Status {
            status: StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::LENGTH_REQUIRED
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::NOT_IMPLEMENTED,
            ..
        }
    )
}

struct Upload<'a> {
    target: &'a Target<'a>,
    blob: &'a PushBlob,
    progress: &'a Progress,
    scopes: Scopes,
    /// Whether to send it in several requests.
    chunked: bool,
}

impl Upload<'_> {
    fn digest(&self) -> Digest {
        self.blob.descriptor.digest
    }

    /// One attempt, from the start.
    async fn once(&self) -> Result<(), Failure> {
        if self.exists().await? {
            (self.progress)(PushEvent::Exists(self.digest()));
            return Ok(());
        }
        let session = match self.mount().await {
            Some(Mount::Done { from }) => {
                let digest = self.digest();
                (self.progress)(PushEvent::Mounted { digest, from });
                return Ok(());
            }
            Some(Mount::Session(session)) => session,
            None => self.start().await?,
        };
        if self.chunked {
            self.send_chunks(session).await?;
        } else {
            self.send_whole(session).await?;
        }
        (self.progress)(PushEvent::Sent(self.digest()));
        Ok(())
    }

    async fn request(
        &self,
        method: Method,
        to: transport::Target,
        headers: HeaderMap,
        body: &(dyn Fn() -> Outgoing + Sync),
        scopes: &Scopes,
    ) -> Result<Answer, Failure> {
        let request = Request {
            method,
            target: to,
            headers,
            body,
            scopes,
        };
        let Target {
            transport,
            endpoint,
            ..
        } = self.target;
        transport.send(endpoint, &request).await
    }

    async fn exists(&self) -> Result<bool, Failure> {
        let path = format!("{}/blobs/{}", self.target.name, self.digest());
        let to = transport::Target::Path(path);
        let nothing = &Outgoing::nothing;
        let headers = HeaderMap::new();
        match self
            .request(Method::HEAD, to, headers, nothing, &self.scopes)
            .await
        {
            Ok(_) => Ok(true),
            Err(Failure::NotFound { .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Asks the registry to take the blob from another of its repositories. Failing that is no failure.
    async fn mount(&self) -> Option<Mount> {
        let from = self.target.mount_source(self.blob)?;
        let to = transport::Target::Path(format!(
            "{}/blobs/uploads/?mount={}&from={from}",
            self.target.name,
            self.digest(),
        ));
        let scopes = self.scopes.clone().and_pull(from);
        let nothing = &Outgoing::nothing;
        let answer = self
            .request(Method::POST, to, HeaderMap::new(), nothing, &scopes)
            .await
            .ok()?;
        if answer.status() == StatusCode::CREATED {
            let from = from.to_owned();
            return Some(Mount::Done { from });
        }
        // The registry would rather be sent the blob, and has opened a session for that.
        self.location(&answer).ok().map(Mount::Session)
    }

    /// Opens a session.
    async fn start(&self) -> Result<Url, Failure> {
        let path = format!("{}/blobs/uploads/", self.target.name);
        let to = transport::Target::Path(path);
        let nothing = &Outgoing::nothing;
        let headers = HeaderMap::new();
        let answer = self
            .request(Method::POST, to, headers, nothing, &self.scopes)
            .await?;
        self.location(&answer)
    }

    /// Where the session goes on.
    fn location(&self, answer: &Answer) -> Result<Url, Failure> {
        let location = answer.header(LOCATION.as_str()).ok_or_else(|| {
            Failure::protocol(answer.url(), "does not say where to send the blob")
        })?;
        self.target.transport.next_url(answer.url(), location)
    }

    /// The URL that ends a session.
    fn final_url(&self, mut session: Url) -> Url {
        let digest = self.digest().to_string();
        session.query_pairs_mut().append_pair("digest", &digest);
        session
    }

    /// A request of the session, with a body that is read on another thread.
    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        content: &Content,
        body: &(dyn Fn() -> Outgoing + Sync),
    ) -> Result<Answer, Failure> {
        let to = transport::Target::Url(url);
        match self.request(method, to, headers, body, &self.scopes).await {
            Err(failure) => Err(match (content.failure(), failure) {
                (Some(error), _) => Failure::Source(error),
                (None, Failure::NotFound { url, message }) => Failure::LostSession { url, message },
                (None, failure) => failure,
            }),
            ok => ok,
        }
    }

    /// The whole blob in the request that ends the session.
    async fn send_whole(&self, session: Url) -> Result<(), Failure> {
        let content = Content::new(self.blob, self.progress);
        let body = || content.whole();
        let url = self.final_url(session);
        self.send(Method::PUT, url, octets(), &content, &body)
            .await?;
        Ok(())
    }

    /// The blob in several requests, and one that ends the session.
    async fn send_chunks(&self, mut session: Url) -> Result<(), Failure> {
        let size = self.blob.descriptor.size;
        let content = Content::new(self.blob, self.progress);
        let mut sent = 0;
        while sent < size {
            let length = CHUNK.min(size - sent);
            let mut headers = octets();
            let range = format!("{sent}-{}", sent + length - 1);
            let range = HeaderValue::from_str(&range).ok();
            headers.extend(range.map(|range| (CONTENT_RANGE, range)));
            // What has been read cannot be read again: a second call gives a body that is too short, which fails.
            let body = || content.next(length);
            let answer = self
                .send(Method::PATCH, session, headers, &content, &body)
                .await?;
            session = self.location(&answer)?;
            sent += length;
        }
        let url = self.final_url(session);
        self.send(Method::PUT, url, octets(), &content, &Outgoing::nothing)
            .await?;
        Ok(())
    }
}

/// What became of a request to mount.
enum Mount {
    Done { from: String },
    Session(Url),
}

fn octets() -> HeaderMap {
    let value = HeaderValue::from_static("application/octet-stream");
    [(CONTENT_TYPE, value)].into_iter().collect()
}
