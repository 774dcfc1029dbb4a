//! How registries are contacted: values that the command line resolved, never read from the environment here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Credentials;

/// How registries are contacted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Registries (`host` or `host:port`) for which plain HTTP and certificates nobody vouches for are fine. Registries
    /// on this machine need not be listed.
    pub insecure: Vec<String>,
    /// Who we are, by registry.
    pub credentials: Credentials,
    /// Where to look before a registry itself is asked: registry -> `[http[s]://]host[:port][/prefix]`, in order. For
    /// reading only.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Folders with a folder per registry (`certs.d/<host[:port]>/`) that holds certificates to trust (`*.crt`) and to show
    /// (`*.cert` beside `*.key`).
    pub certificate_folders: Vec<PathBuf>,
    /// Nothing is asked: every request fails before a socket is opened for it.
    pub offline: bool,
    /// What we call ourselves.
    pub user_agent: String,
    /// How long to wait and how often to try.
    pub patience: Patience,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            credentials: Credentials::default(),
            mirrors: BTreeMap::new(),
            certificate_folders: Vec::new(),
            offline: false,
            user_agent: concat!("builder/", env!("CARGO_PKG_VERSION")).to_owned(),
            patience: Patience::default(),
        }
    }
}

/// How long to wait and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer, and between two pieces of its body.
    pub silence: Duration,
    /// For a registry that is being sent a blob and shows no sign of taking it, or takes its time to store it.
    pub upload_silence: Duration,
    /// How often a request is made in all before its failure is final.
    pub attempts: u32,
    /// Before the second attempt; doubled before each further one.
    pub first_wait: Duration,
    /// The longest wait between two attempts. A registry that asks for more is told no: the request fails.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(60),
            upload_silence: Duration::from_secs(300),
            attempts: 5,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(20),
        }
    }
}
