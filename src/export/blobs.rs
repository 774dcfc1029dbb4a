//! The blobs of an image: base layers as they were, new layers compressed once and remembered.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use super::spec::Compression;
use super::{ExportError, OutputSpec};
use crate::fsio::{self, Stoppable};
use crate::image::AssembledImage;
use crate::layer::{self, Compressor};
use crate::oci::{Descriptor, Digest, LayerSource, Manifest, Platform, media_type};
use crate::registry::Stop;
use crate::store::{Lock, Store, StoreError};

/// An image to be exported, for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// Config and diff IDs.
    pub assembled: AssembledImage,
    /// Its layers, bottom first.
    pub layers: Vec<ExportLayer>,
}

/// A layer and where it can be had.
#[derive(Clone, Debug)]
pub struct ExportLayer {
    /// Its identity.
    pub diff_id: Digest,
    /// For a base's layer: its original blob and who has it.
    pub remote: Option<LayerSource>,
}

impl ExportLayer {
    /// Makes sure that a blob of the layer is in the store: its original may still be elsewhere, any other was made here.
    pub(super) fn fetch(
        &self,
        store: &Store,
        (blob, stop): (&Descriptor, &Stop),
    ) -> Result<(), ExportError> {
        match &self.remote {
            Some(remote) if remote.blob.digest == blob.digest => store
                .fetch(remote, || stop.is_requested())
                .map_err(unless_stopped),
            _ => Ok(()),
        }
    }
}

/// An image with all its blobs known.
#[derive(Clone, Debug)]
pub struct PreparedImage {
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's bytes.
    pub manifest_bytes: Vec<u8>,
    /// The config's bytes.
    pub config_bytes: Vec<u8>,
    /// The layers beside the manifest's descriptors.
    pub layers: Vec<ExportLayer>,
    /// When the image was made, RFC 3339.
    pub created: Option<String>,
    /// What it is for.
    pub platform: Platform,
}

impl PreparedImage {
    /// The manifest as others name it.
    #[must_use]
    pub fn manifest_descriptor(&self) -> Descriptor {
        Descriptor::of(media_type::OCI_MANIFEST, &self.manifest_bytes)
    }
}

/// Makes sure that every layer has a blob in the compression asked for, and writes the manifest over them. Layers that
/// exist elsewhere are not fetched yet.
///
/// # Errors
/// A layer that is damaged or gone; the disk.
pub(super) fn prepare(
    store: &Store,
    image: &Image,
    spec: &OutputSpec,
    stop: &Stop,
) -> Result<PreparedImage, ExportError> {
    let mut descriptors = Vec::with_capacity(image.layers.len());
    for layer in &image.layers {
        descriptors.push(blob_of(store, layer, spec, stop)?);
    }
    let manifest = image.assembled.manifest(descriptors);
    Ok(PreparedImage {
        manifest_bytes: manifest.to_bytes(),
        config_bytes: image.assembled.config.to_bytes(),
        manifest,
        layers: image.layers.clone(),
        created: image.assembled.config.created(),
        platform: image.assembled.config.platform(),
    })
}

/// The blob of a layer in the compression asked for, made if need be.
///
/// # Errors
/// A layer that is damaged or gone; the disk.
pub fn blob_of(
    store: &Store,
    layer: &ExportLayer,
    spec: &OutputSpec,
    stop: &Stop,
) -> Result<Descriptor, ExportError> {
    let original = layer.remote.as_ref().map(|remote| &remote.blob);
    if let Some(blob) = original.filter(|blob| blob.compression().is_none())
        && !spec.force_compression
    {
        let oci = media_type::to_oci_layer(&blob.media_type);
        return Ok(Descriptor::new(oci, blob.digest, blob.size));
    }
    let name = spec.compression_name();
    let (compression, media_type) = match spec.compression {
        Compression::Uncompressed => (layer::Compression::None, media_type::OCI_LAYER),
        Compression::Gzip => {
            let level = spec.level.unwrap_or(6);
            (
                layer::Compression::Gzip { level },
                media_type::OCI_LAYER_GZIP,
            )
        }
        Compression::Zstd => {
            let level = i32::try_from(spec.level.unwrap_or(3)).unwrap_or(3);
            (
                layer::Compression::Zstd { level },
                media_type::OCI_LAYER_ZSTD,
            )
        }
    };
    if let Some(known) = store.compressed(layer.diff_id, &name) {
        return Ok(known);
    }
    // What a cache has is taken as it is, unfetched, if it is what would be made here.
    if let Some(blob) = original.filter(|blob| blob.compression() == Some(&name)) {
        return Ok(Descriptor::new(&blob.media_type, blob.digest, blob.size));
    }
    let _lock = compressing(store, layer.diff_id, stop)?;
    if let Some(known) = store.compressed(layer.diff_id, &name) {
        return Ok(known);
    }
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let ((), digest, size) = store.create_blob(|out| {
        let mut compressor = Compressor::new(compression, threads, out);
        write_plain(store, layer, &mut compressor, stop)?;
        compressor.finish().map_err(|source| ExportError::Layer {
            diff_id: layer.diff_id,
            source,
        })?;
        Ok::<_, ExportError>(())
    })?;
    let descriptor = Descriptor::new(media_type, digest, size);
    store.put_compressed(layer.diff_id, &name, &descriptor)?;
    Ok(descriptor)
}

/// Waits until nobody else compresses a layer, or nobody wants it any more.
fn compressing(store: &Store, diff_id: Digest, stop: &Stop) -> Result<Lock, ExportError> {
    store
        .lock_unless("compress", diff_id, || stop.is_requested())
        .map_err(unless_stopped)
}

/// Whatever a wish to stop broke off, it is the wish that counts.
fn unless_stopped(error: StoreError) -> ExportError {
    match error {
        StoreError::Stopped => ExportError::Stopped,
        error => error.into(),
    }
}

/// The uncompressed tar of a layer, from whatever representation there is; verified against the diff ID.
fn write_plain(
    store: &Store,
    layer: &ExportLayer,
    out: &mut impl Write,
    stop: &Stop,
) -> Result<(), ExportError> {
    let out = &mut Stoppable::new(out, || stop.is_requested());
    let diff_id = layer.diff_id;
    let broken = |source| ExportError::Layer { diff_id, source };
    if let Some(tar) = store.layer_tar(diff_id) {
        let file = fsio::open(&tar)?;
        let mut verified = crate::store::VerifyingReader::new(file, diff_id);
        return copy(&mut verified, out, diff_id).inspect_err(|error| {
            if error.damage().is_some() {
                // What is damaged becomes a miss, so that the next build mends it.
                store.forget_layer(diff_id);
            }
        });
    }
    let here = store.any_compressed(diff_id);
    let blob = match (&layer.remote, here) {
        (Some(remote), here) if here.is_none() || store.has_blob(&remote.blob) => {
            store
                .fetch(remote, || stop.is_requested())
                .map_err(unless_stopped)?;
            Some(remote.blob.digest)
        }
        (_, here) => here.map(|blob| blob.digest),
    };
    if let Some(digest) = blob {
        let blob = store.open_blob_file(digest)?;
        let plain = layer::Decompressor::new(blob).map_err(broken)?;
        let mut verified = crate::store::VerifyingReader::new(plain, diff_id);
        return copy(&mut verified, out, diff_id).inspect_err(|error| {
            if error.damage().is_some() {
                store.forget_blob(digest);
            }
        });
    }
    let toc = store.toc(diff_id).ok_or(ExportError::Gone { diff_id })?;
    let written = match store.layer_directory(diff_id, None) {
        Some(directory) => layer::write_tar_from_directory(&toc, diff_id, directory, &mut *out),
        None => layer::write_tar(&toc, diff_id, &mut *out, |_| Ok(Box::new(std::io::empty()))),
    };
    written.map(drop).map_err(|source| {
        // It may be the only copy: a full disk on the other side is no reason to part with it.
        if source.is_damage() && !stop.is_requested() {
            store.forget_layer(diff_id);
        }
        broken(source)
    })
}

/// Copies a layer; tells a layer that cannot be read from a place that cannot be written.
fn copy(reader: &mut impl Read, out: &mut impl Write, diff_id: Digest) -> Result<(), ExportError> {
    let failed = |operation, source| fsio::Error::new(operation, diff_id.to_string(), source);
    let mut buffer = vec![0; 1 << 17];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => out
                .write_all(&buffer[..count])
                .map_err(|source| failed("write the layer", source))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read the layer", as_damage(error)).into()),
        }
    }
}

/// A read error that is about the bytes says so by its kind: what the kernel did not say, a decompressor or the digest said.
fn as_damage(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) if number != rustix::io::Errno::IO.raw_os_error() => error,
        _ => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::OutputKind;
    use crate::fsio;
    use crate::layer::{Entry, EntryKind, TarWriter};
    use crate::store::{LayerForm, NewLayer};

    /// A layer that came as a blob is all that a later build has of it.
    #[test]
    fn a_blob_is_enough_to_make_any_other_representation() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let mut tar = TarWriter::new(Vec::new());
        let entry = Entry::new("name", EntryKind::file(4), 0o644);
        tar.append(entry, Some(&mut b"text".as_slice())).unwrap();
        let (made, tar) = tar.finish().unwrap();
        let bytes = {
            let compression = layer::Compression::Gzip { level: 6 };
            let mut out = Compressor::new(compression, NonZeroUsize::MIN, Vec::new());
            out.write_all(&tar).unwrap();
            out.finish().unwrap().1
        };
        let blob = store.put_blob(media_type::OCI_LAYER_GZIP, &bytes).unwrap();
        store
            .publish_layer(&NewLayer {
                diff_id: made.diff_id,
                toc: &made.toc,
                form: LayerForm::Contents,
            })
            .unwrap();
        store.put_compressed(made.diff_id, "gzip-6", &blob).unwrap();
        let layer = ExportLayer {
            diff_id: made.diff_id,
            remote: None,
        };
        let blob_in = |compression| {
            let spec = OutputSpec {
                compression,
                ..OutputSpec::new(OutputKind::Oci)
            };
            blob_of(&store, &layer, &spec, &Stop::new())
        };
        assert_eq!(blob_in(Compression::Gzip).unwrap(), blob);
        let plain = blob_in(Compression::Uncompressed).unwrap();
        assert_eq!(plain.digest, made.diff_id);
        // Damage is noticed, and the blob is dropped.
        let path = folder.path().join("store/v1/blobs/sha256");
        std::fs::write(path.join(blob.digest.hex()), vec![7; bytes.len()]).unwrap();
        std::fs::remove_file(path.join(plain.digest.hex())).unwrap();
        assert!(blob_in(Compression::Zstd).is_err());
    }

    /// A place that is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(rustix::io::Errno::NOSPC.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_no_layer_and_damage_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let mut tar = TarWriter::new(Vec::new());
        let entry = Entry::new("name", EntryKind::file(4), 0o644);
        tar.append(entry, Some(&mut b"text".as_slice())).unwrap();
        let (made, bytes) = tar.finish().unwrap();
        let layer = ExportLayer {
            diff_id: made.diff_id,
            remote: None,
        };
        for is_directory in [true, false] {
            let aside = folder.path().join("aside");
            let form = if is_directory {
                fsio::create_dir(&aside).unwrap();
                std::fs::write(aside.join("name"), "text").unwrap();
                LayerForm::Directory(&aside)
            } else {
                std::fs::write(&aside, &bytes).unwrap();
                LayerForm::Tar(&aside)
            };
            store
                .publish_layer(&NewLayer {
                    diff_id: made.diff_id,
                    toc: &made.toc,
                    form,
                })
                .unwrap();
            let stop = Stop::new();
            let full = write_plain(&store, &layer, &mut Full, &stop).unwrap_err();
            assert!(fsio::is_no_space(&full), "{full:?}");
            assert_eq!(full.damage(), None);
            assert!(store.has_layer(made.diff_id));
            let mut out = Vec::new();
            write_plain(&store, &layer, &mut out, &stop).unwrap();
            assert_eq!(out, bytes);
            let directory = store.layer_directory(made.diff_id, None);
            match directory {
                Some(directory) => std::fs::write(directory.join("name"), "else").unwrap(),
                None => std::fs::write(store.layer_tar(made.diff_id).unwrap(), "else").unwrap(),
            }
            let damaged = write_plain(&store, &layer, &mut io::sink(), &stop).unwrap_err();
            assert!(damaged.damage().is_some(), "{damaged:?}");
            assert!(!store.has_layer(made.diff_id));
        }
    }

    #[test]
    fn a_wish_to_stop_breaks_compression_off_and_costs_no_layer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for (kind, content) in [
            (EntryKind::file(4), Some(b"text".as_slice())),
            (EntryKind::directory(), None),
        ] {
            let path = folder.path().join("tar");
            let mut tar = TarWriter::new(fsio::create(&path).unwrap());
            let mut reader = content;
            let reader = reader
                .as_mut()
                .map(|reader| reader as &mut dyn std::io::Read);
            tar.append(Entry::new("name", kind, 0o755), reader).unwrap();
            let (made, _) = tar.finish().unwrap();
            store
                .publish_layer(&NewLayer {
                    diff_id: made.diff_id,
                    toc: &made.toc,
                    // Of a directory the table says everything.
                    form: match content {
                        Some(_) => LayerForm::Tar(&path),
                        None => LayerForm::Contents,
                    },
                })
                .unwrap();
            let layer = ExportLayer {
                diff_id: made.diff_id,
                remote: None,
            };
            let spec = OutputSpec::new(OutputKind::Oci);
            let stop = Stop::new();
            stop.stop();
            assert!(blob_of(&store, &layer, &spec, &stop).is_err());
            assert!(store.has_layer(made.diff_id));
            blob_of(&store, &layer, &spec, &Stop::new()).unwrap();
        }
    }
}
