//! The vocabulary of images: digests, platforms, references, descriptors, manifests, configs.
//!
//! Values here are constructed only through checking constructors ("parse, don't validate"), so a [`Digest`] is a
//! digest and a [`Reference`] can be asked for at a registry. Documents are read and written with `oci-spec` and leave
//! through one canonical serialiser ([`canonical_json`]). No I/O, no network, no store.

pub mod base64;
mod blob_source;
mod config;
mod descriptor;
mod digest;
mod image;
mod json;
mod manifest;
mod platform;
mod reference;

pub use blob_source::{BlobError, BlobSource};
pub use config::{Config, ConfigError, Healthcheck, HistoryEntry};
pub use descriptor::{COMPRESSION_ANNOTATION, Descriptor, media_type};
pub use digest::{Digest, DigestError, Hasher};
pub use image::{BaseImage, BaseLayer, LayerSource};
pub use json::canonical_json;
pub use manifest::{Document, DocumentError, Index, Manifest};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
