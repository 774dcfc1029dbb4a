//! A host that speaks the distribution protocol: which scheme it speaks, what it wants to be shown, what it was shown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::sync::OnceCell;

use super::challenge::Challenge;
use super::error::{Failure, Unreachable};
use super::http::is_loopback;
use super::{Outgoing, Transport};
use crate::registry::CredentialsError;

/// Where Docker's own registry really is.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// A registry or a mirror of one.
#[derive(Debug)]
pub(in crate::registry) struct Endpoint {
    /// Its name as in references and credentials.
    registry: String,
    /// `host[:port]` as it is contacted.
    host: String,
    /// What goes before repositories, ends with `/` if there is anything.
    prefix: String,
    /// The only scheme to try, if the user named one.
    scheme: Option<&'static str>,
    contact: OnceCell<Contact>,
    /// What to show, by scopes. Held locked while a token is fetched, so that requests that need the same one wait for it.
    pub(super) shown: tokio::sync::Mutex<BTreeMap<String, Authorization>>,
    /// Why the login could not be had, in case it turns out that one is needed.
    pub(super) problem: Mutex<Option<CredentialsError>>,
    /// Whether there is no use in asking it again. Only ever so for a mirror.
    given_up: AtomicBool,
    /// Whether the user has been told of its trouble.
    complained_of: AtomicBool,
}

/// An endpoint that has answered.
#[derive(Debug)]
pub(super) struct Contact {
    /// Ends with `/v2/`.
    pub(super) base: Url,
    /// What it wants to be shown, if it said so.
    challenge: Mutex<Option<Challenge>>,
}

/// A header that says who we are, or that nobody is asking.
#[derive(Clone, Debug)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    pub(super) with_credentials: bool,
    /// `None`: for as long as we run.
    pub(super) good_until: Option<Instant>,
}

impl Endpoint {
    /// The registry itself, by its name in references.
    pub(in crate::registry) fn registry(name: &str) -> Self {
        let host = match name {
            "docker.io" => DOCKER_HUB_HOST,
            name => name,
        };
        Self::new(name, host, "", None)
    }

    /// A mirror: `[http[s]://]host[:port][/prefix]`.
    pub(in crate::registry) fn mirror(text: &str) -> Self {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some("http"), rest),
            Some((_, rest)) => (Some("https"), rest),
            None => (None, text),
        };
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        Self::new(host, host, prefix, scheme)
    }

    fn new(registry: &str, host: &str, prefix: &str, scheme: Option<&'static str>) -> Self {
        let prefix = prefix.trim_matches('/');
        Self {
            registry: registry.to_owned(),
            host: host.to_owned(),
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            },
            scheme,
            contact: OnceCell::new(),
            shown: tokio::sync::Mutex::default(),
            problem: Mutex::default(),
            given_up: AtomicBool::new(false),
            complained_of: AtomicBool::new(false),
        }
    }

    /// Its name as in references and credentials.
    pub(in crate::registry) fn name(&self) -> &str {
        &self.registry
    }

    /// Remembers that there is no use in asking it again.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether nobody has complained of it before.
    pub(super) fn is_first_trouble(&self) -> bool {
        !self.complained_of.swap(true, Ordering::Relaxed)
    }

    /// Whether there is no use in asking it again.
    pub(in crate::registry) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// A repository's name as this endpoint knows it.
    pub(in crate::registry) fn repository(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Finds out how the endpoint is spoken to, once.
    pub(super) async fn contact(&self, transport: &Transport) -> Result<&Contact, Failure> {
        self.contact
            .get_or_try_init(|| self.first_contact(transport))
            .await
    }

    /// Asks `/v2/` over each scheme that may be used until one is answered. Any answer will do.
    async fn first_contact(&self, transport: &Transport) -> Result<Contact, Failure> {
        let host = match self.host.strip_prefix('[') {
            Some(_) => self.host.split_inclusive(']').next(),
            None => self.host.split(':').next(),
        };
        let schemes: &[&str] = match self.scheme {
            Some("http") => &["http"],
            Some(_) => &["https"],
            None if is_loopback(host.unwrap_or_default()) => &["http", "https"],
            None if transport.http.is_insecure(&self.host) => &["https", "http"],
            None => &["https"],
        };
        let mut first_failure = None;
        for scheme in schemes {
            let text = format!("{scheme}://{}/v2/", self.host);
            let base = Url::parse(&text)
                .map_err(|error| Failure::Setup(format!("`{text}` is not a URL ({error})")))?;
            match ping(transport, base).await {
                Ok(contact) => return Ok(contact),
                Err(failure) => {
                    let hopeless = nobody_is_there(&failure);
                    first_failure.get_or_insert(failure);
                    if hopeless {
                        break;
                    }
                }
            }
        }
        Err(first_failure.unwrap_or_else(|| Failure::Setup("no scheme to try".to_owned())))
    }
}

/// Whether another scheme would not get an answer either.
fn nobody_is_there(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Unreachable {
            cause: Unreachable::Name | Unreachable::Refused | Unreachable::Timeout,
            ..
        }
    )
}

/// Asks `/v2/` whether anybody is there, and what they want to be shown.
async fn ping(transport: &Transport, base: Url) -> Result<Contact, Failure> {
    let plain = base.scheme() == "http";
    let answer = transport
        .exchange(
            &Method::GET,
            base.clone(),
            &HeaderMap::new(),
            &Outgoing::nothing,
            None,
        )
        .await?;
    let challenge = Challenge::from_headers(answer.headers());
    // What a TLS server written in Go tells those who do not speak TLS; other servers hang up.
    if plain && answer.status() == StatusCode::BAD_REQUEST {
        answer.success().await?;
    }
    let contact = Contact {
        base,
        challenge: Mutex::default(),
    };
    if let Some(challenge) = challenge {
        contact.remember(challenge);
    }
    Ok(contact)
}

impl Contact {
    /// What the endpoint wants to be shown, if it said so.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        let challenge = self.challenge.lock();
        challenge.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers whom to ask for tokens. The scopes are those of one request and not of the next.
    pub(super) fn remember(&self, challenge: Challenge) {
        let lasting = match challenge {
            Challenge::Bearer { realm, service, .. } => Challenge::Bearer {
                realm,
                service,
                scopes: Vec::new(),
            },
            Challenge::Basic => Challenge::Basic,
        };
        let mut known = self
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some(lasting);
    }

    /// Whether a URL is at the same scheme, host and port, so that it may be told who we are.
    pub(super) fn is_at(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }
}
