//! The HTTP clients, each made when the first URL needs it.
//!
//! Loading the system's trust store takes tens of milliseconds, which a build against a registry on this machine does not
//! have to pay. Redirects are never followed here, since only `Transport` knows what may be told to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity, Url, redirect};
use tokio::sync::{Mutex, OnceCell};

use super::error::Failure;
use crate::fsio;
use crate::registry::Settings;

/// The HTTP clients.
#[derive(Debug)]
pub(super) struct HttpClients {
    /// No client is given out, so that nobody can forget to ask.
    offline: bool,
    user_agent: String,
    connect: std::time::Duration,
    /// Hosts, with their ports where these are not the scheme's own, that need not prove who they are.
    insecure: BTreeSet<String>,
    certificate_folders: Vec<PathBuf>,
    /// For this machine: no proxy, no trust store, any certificate.
    loopback: OnceCell<reqwest::Client>,
    /// For plain HTTP and for hosts in `insecure`: no trust store, any certificate.
    unverified: OnceCell<reqwest::Client>,
    /// For everybody else.
    verified: OnceCell<reqwest::Client>,
    /// For hosts that have a folder with certificates; `None` for those that turned out to have none.
    special: Mutex<BTreeMap<String, Option<reqwest::Client>>>,
}

/// Whether a host, as it stands in a URL or reference without a port, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// `host` or `host:port`, the port left out where it is the scheme's own.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

impl HttpClients {
    pub(super) fn new(settings: &Settings) -> Self {
        let plain_mirrors = settings
            .mirrors
            .values()
            .flatten()
            .filter_map(|mirror| mirror.strip_prefix("http://"))
            .filter_map(|rest| rest.split('/').next());
        let insecure = settings.insecure.iter().map(String::as_str);
        Self {
            offline: settings.offline,
            user_agent: settings.user_agent.clone(),
            connect: settings.patience.connect,
            insecure: insecure.chain(plain_mirrors).map(str::to_owned).collect(),
            certificate_folders: settings.certificate_folders.clone(),
            loopback: OnceCell::new(),
            unverified: OnceCell::new(),
            verified: OnceCell::new(),
            special: Mutex::default(),
        }
    }

    /// Whether the user said that this host need not prove who it is.
    pub(super) fn is_insecure(&self, authority: &str) -> bool {
        self.insecure.contains(authority)
    }

    /// The client for a URL.
    pub(super) async fn client_for(&self, url: &Url) -> Result<reqwest::Client, Failure> {
        if self.offline {
            return Err(Failure::Offline);
        }
        let unverified = |builder: ClientBuilder| {
            builder
                .tls_built_in_root_certs(false)
                .danger_accept_invalid_certs(true)
        };
        let builder = self.builder();
        if is_loopback(url.host_str().unwrap_or_default()) {
            let make = || build(unverified(builder).no_proxy());
            return self.loopback.get_or_try_init(make).await.cloned();
        }
        let authority = authority(url);
        if url.scheme() == "http" || self.is_insecure(&authority) {
            let make = || build(unverified(builder));
            return self.unverified.get_or_try_init(make).await.cloned();
        }
        if let Some(client) = self.special(&authority).await? {
            return Ok(client);
        }
        let make = || build(builder);
        self.verified.get_or_try_init(make).await.cloned()
    }

    /// The client for a host that has its own certificates.
    async fn special(&self, authority: &str) -> Result<Option<reqwest::Client>, Failure> {
        if self.certificate_folders.is_empty() {
            return Ok(None);
        }
        let mut special = self.special.lock().await;
        if let Some(known) = special.get(authority) {
            return Ok(known.clone());
        }
        let mut builder = self.builder();
        let mut found = false;
        for folder in &self.certificate_folders {
            let certificates =
                Certificates::read(&folder.join(authority)).map_err(Failure::Setup)?;
            found |= !certificates.is_empty();
            builder = certificates.add_to(builder);
        }
        let client = if found {
            Some(build(builder).await?)
        } else {
            None
        };
        special.insert(authority.to_owned(), client.clone());
        Ok(client)
    }

    fn builder(&self) -> ClientBuilder {
        reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(self.connect)
            .redirect(redirect::Policy::none())
            .http2_adaptive_window(true)
    }
}

/// Makes a client where loading the trust store does not hold up other requests.
async fn build(builder: ClientBuilder) -> Result<reqwest::Client, Failure> {
    let made = tokio::task::spawn_blocking(move || builder.build()).await;
    match made {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(Failure::Setup(error.to_string())),
        Err(error) => Err(Failure::Setup(error.to_string())),
    }
}

/// The certificates of one host's folder.
#[derive(Default)]
struct Certificates {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl Certificates {
    /// Reads `*.crt`, and the first `*.cert` with its `*.key`. A folder that is not there holds nothing.
    fn read(folder: &Path) -> Result<Self, String> {
        let mut certificates = Self::default();
        let names = match fsio::read_dir_sorted(folder) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => return Ok(certificates),
            Err(error) => return Err(error.to_string()),
        };
        for name in names {
            let path = folder.join(name);
            let bad = |error: reqwest::Error| format!("`{}`: {error}", path.display());
            let read = |path: &Path| fsio::read(path).map_err(|error| error.to_string());
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => {
                    let bundle = Certificate::from_pem_bundle(&read(&path)?).map_err(bad)?;
                    certificates.authorities.extend(bundle);
                }
                Some("cert") if certificates.identity.is_none() => {
                    let mut pem = read(&path)?;
                    pem.push(b'\n');
                    pem.extend(read(&path.with_extension("key"))?);
                    certificates.identity = Some(Identity::from_pem(&pem).map_err(bad)?);
                }
                _ => {}
            }
        }
        Ok(certificates)
    }

    fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.identity.is_none()
    }

    fn add_to(self, mut builder: ClientBuilder) -> ClientBuilder {
        for authority in self.authorities {
            builder = builder.add_root_certificate(authority);
        }
        match self.identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (host, expected) in [
            ("localhost", true),
            ("127.8.0.1", true),
            ("[::1]", true),
            ("localhost.a.io", false),
            ("128.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
        for (url, expected) in [
            ("https://a.io/v2/", "a.io"),
            ("https://a.io:443/", "a.io"),
            ("http://a.io:5000/", "a.io:5000"),
            ("http://[::1]:5000/", "[::1]:5000"),
        ] {
            assert_eq!(authority(&Url::parse(url).unwrap()), expected);
        }
    }

    #[test]
    fn folders_of_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let none = Certificates::read(&folder.path().join("none")).unwrap();
        assert!(none.is_empty());
        let bad = folder.path().join("ca.crt");
        let text = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        fsio::write_atomic(&bad, text, fsio::Durability::Cached).unwrap();
        assert!(Certificates::read(folder.path()).is_err_and(|error| error.contains("ca.crt")));
    }
}
