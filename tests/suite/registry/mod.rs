//! The registry client against a registry in this process.

mod login;
mod pull;
mod push;

use std::io::Read as _;
use std::time::Duration;

use builder::oci::{BaseLayer, Descriptor, LayerSource, Platform};
use builder::registry::{Client, Patience, RegistryError, Settings};

use crate::support::registry::FakeRegistry;

/// A client and the runtime it needs.
struct Caller {
    client: Client,
    _runtime: tokio::runtime::Runtime,
}

impl Caller {
    fn new(settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            client: Client::new(settings, runtime.handle().clone()),
            _runtime: runtime,
        }
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self::new(settings())
    }
}

/// Settings that do not make a test wait.
fn settings() -> Settings {
    Settings {
        patience: Patience {
            attempts: 4,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(50),
            ..Patience::default()
        },
        ..Settings::default()
    }
}

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// Reads a layer to its end.
fn read_layer(layer: &BaseLayer) -> Result<Vec<u8>, String> {
    read(layer.remote.as_ref().unwrap())
}

/// Reads a blob to its end.
fn read(layer: &LayerSource) -> Result<Vec<u8>, String> {
    let mut reader = layer
        .source
        .open_blob(&layer.blob)
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

/// A layer of `bytes` as they are, in a repository of the registry.
fn layer(caller: &Caller, registry: &FakeRegistry, bytes: &[u8]) -> LayerSource {
    registry.put_blob("lib/app", bytes);
    LayerSource {
        blob: Descriptor::of("application/vnd.oci.image.layer.v1.tar", bytes),
        source: std::sync::Arc::new(caller.client.repository(&registry.reference("lib/app"))),
    }
}

/// Bytes that compress badly and repeat nowhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// One lower-case line, as every message has to be.
fn message(error: &RegistryError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    assert!(
        text.starts_with(|c: char| c.is_lowercase() || c == '`'),
        "{text}"
    );
    text
}
