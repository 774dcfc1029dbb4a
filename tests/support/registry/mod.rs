//! A registry inside the test process: a real HTTP server on a loopback port, content in memory, faults on request.
//!
//! It speaks as much of the distribution protocol as builders use, keeps a log of what it was asked, and can ask for logins and
//! be its own token server.

pub(super) mod http;
mod protocol;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use builder::oci::{
    Config, Descriptor, Digest, Index, Manifest, Platform, Reference, canonical_json, media_type,
};
use protocol::State;

/// A running registry. Stops when it is dropped.
#[derive(Debug)]
pub(crate) struct FakeRegistry {
    host: String,
    state: Arc<Mutex<State>>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Length of the body.
    pub(crate) body: usize,
    /// What was answered.
    pub(crate) status: u16,
}

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub(crate) enum Access {
    /// Everybody may do everything.
    #[default]
    Open,
    /// Only with this `Authorization` header.
    Basic { authorization: String },
    /// Only with a token.
    Bearer {
        /// The `Authorization` header that the token server wants to see.
        authorization: String,
        /// The refresh token that it takes instead.
        refresh_token: String,
        /// Whether it gives tokens for pulls to those who show nothing.
        anonymous_pull: bool,
    },
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Part of `METHOD /path?query`.
    pub(crate) on: String,
    /// How many requests it hits.
    pub(crate) times: usize,
    pub(crate) effect: Effect,
}

/// How it goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// This status, these headers and this body instead of the answer.
    Status(u16, Vec<(String, String)>, String),
    /// A redirect.
    Redirect(String),
    /// The connection is closed after so many bytes of the body.
    BreakAfter(usize),
    /// Nothing more comes after so many bytes of the body.
    StallAfter(usize),
    /// The connection is closed instead of an answer.
    HangUp,
    /// Other bytes, as many.
    OtherBytes,
    /// This body, with headers as they would have been.
    Body(Vec<u8>),
    /// In chunks, without a length.
    Chunked,
    /// As if no range had been asked for.
    IgnoreRange,
    /// Without a header.
    WithoutHeader(&'static str),
}

/// An image to be served.
#[derive(Clone, Debug)]
pub(crate) struct FakeImage {
    pub(crate) platform: Platform,
    /// Uncompressed tars, bottom first; served as gzip.
    pub(crate) layers: Vec<Vec<u8>>,
    /// Fields of the inner `config` object.
    pub(crate) config: BTreeMap<String, serde_json::Value>,
    /// Docker's media types instead of OCI's.
    pub(crate) docker: bool,
}

impl FakeImage {
    /// An image with these layers and nothing else.
    pub(crate) fn new(platform: &str, layers: &[&[u8]]) -> Self {
        Self {
            platform: platform.parse().unwrap(),
            layers: layers.iter().map(|layer| layer.to_vec()).collect(),
            config: BTreeMap::new(),
            docker: false,
        }
    }
}

impl FakeRegistry {
    /// Starts on a free port.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State {
            host: host.clone(),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let respond = Arc::new(move |request: &http::Request| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.respond(request)
        });
        runtime.spawn(http::serve(listener, respond));
        Self {
            host,
            state,
            runtime: Some(runtime),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A reference to `name`, which is `repository[:tag][@digest]`.
    pub(crate) fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.host).parse().unwrap()
    }

    /// What it was asked, in order.
    pub(crate) fn log(&self) -> Vec<Logged> {
        self.state().log.clone()
    }

    /// What it was asked, as `METHOD /path?query status`, without the pings.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = self.log();
        log.iter()
            .filter(|logged| logged.target != "/v2/")
            .map(|logged| format!("{} {} {}", logged.method, logged.target, logged.status))
            .collect()
    }

    /// How many requests had this in `METHOD /path?query status`.
    pub(crate) fn count(&self, part: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|line| line.contains(part)).count()
    }

    /// Forgets what it was asked.
    pub(crate) fn clear_log(&self) {
        self.state().log.clear();
    }

    /// Lets the next `times` requests go wrong whose `METHOD /path?query` contains `on`.
    pub(crate) fn fault(&self, on: &str, times: usize, effect: Effect) {
        let on = on.to_owned();
        self.state().faults.push(Fault { on, times, effect });
    }

    /// Says who may do what from now on.
    pub(crate) fn set_access(&self, access: Access) {
        self.state().access = access;
    }

    /// Sends those who need a token elsewhere.
    pub(crate) fn set_realm(&self, realm: &str) {
        self.state().realm = Some(realm.to_owned());
    }

    /// Lets every token that was given out be worth nothing.
    pub(crate) fn expire_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Answers requests to mount with an upload session.
    pub(crate) fn refuse_mounts(&self) {
        self.state().refuse_mounts = true;
    }

    /// Stores a blob.
    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let key = (repository.to_owned(), digest);
        self.state().blobs.insert(key, bytes.to_vec());
        digest
    }

    /// Stores a manifest or index under `name`, which is `repository:tag`, and under its digest.
    pub(crate) fn put_manifest(&self, name: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        self.state()
            .put_manifest(repository, tag, media_type, bytes)
    }

    /// Stores an image under `name`, which is `repository:tag`, and returns its manifest's digest.
    pub(crate) fn put_image(&self, name: &str, image: &FakeImage) -> Digest {
        let (repository, _) = name.rsplit_once(':').unwrap();
        let (config_type, layer_type, manifest_type) = if image.docker {
            let layer = media_type::DOCKER_LAYER_GZIP;
            (
                media_type::DOCKER_CONFIG,
                layer,
                media_type::DOCKER_MANIFEST,
            )
        } else {
            let layer = media_type::OCI_LAYER_GZIP;
            (media_type::OCI_CONFIG, layer, media_type::OCI_MANIFEST)
        };
        let mut config = Config::scratch(&image.platform);
        let diff_ids: Vec<Digest> = image.layers.iter().map(Digest::of).collect();
        config.set_diff_ids(&diff_ids);
        for (key, value) in &image.config {
            config.set(key, Some(value.clone()));
        }
        let config = config.to_bytes();
        self.put_blob(repository, &config);
        let layers = image.layers.iter().map(|layer| {
            let blob = gzip(layer);
            self.put_blob(repository, &blob);
            Descriptor::of(layer_type, &blob)
        });
        let manifest = Manifest {
            config: Descriptor::of(config_type, &config),
            layers: layers.collect(),
            annotations: BTreeMap::new(),
        };
        let mut document: serde_json::Value = serde_json::from_slice(&manifest.to_bytes()).unwrap();
        document["mediaType"] = manifest_type.into();
        self.put_manifest(name, manifest_type, &canonical_json(&document))
    }

    /// Stores an index under `name`, which is `repository:tag`, of manifests that are in the repository.
    pub(crate) fn put_index(&self, name: &str, entries: &[(&str, Digest)]) -> Digest {
        let (repository, _) = name.rsplit_once(':').unwrap();
        let manifests = entries.iter().map(|(platform, digest)| {
            let (media_type, bytes) = self.manifest(repository, &digest.to_string()).unwrap();
            let mut entry = Descriptor::of(&media_type, &bytes);
            entry.platform = Some(platform.parse().unwrap());
            entry
        });
        let index = Index {
            manifests: manifests.collect(),
        };
        self.put_manifest(name, media_type::OCI_INDEX, &index.to_bytes())
    }

    /// A blob that it has.
    pub(crate) fn blob(&self, repository: &str, digest: Digest) -> Option<Vec<u8>> {
        let key = (repository.to_owned(), digest);
        self.state().blobs.get(&key).cloned()
    }

    /// Media type and bytes of a manifest that it has, by tag or digest.
    pub(crate) fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        let key = (repository.to_owned(), name.to_owned());
        self.state().manifests.get(&key).cloned()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Compresses a layer the way it is served.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
