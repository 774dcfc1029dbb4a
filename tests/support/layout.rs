//! Reads an OCI image layout and checks everything that can be checked about it: an independent second opinion.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use builder::fsio;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// One image of a layout, every blob of which was found to be what its descriptor says.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of the manifest.
    pub digest: String,
    /// The manifest.
    pub manifest: Value,
    /// Digest of the config: the image ID.
    pub id: String,
    /// The config.
    pub config: Value,
    /// The descriptor in `index.json`.
    pub entry: Value,
    /// The layers, bottom first.
    pub layers: Vec<LayerFile>,
}

/// A layer's blob.
#[derive(Clone, Debug)]
pub struct LayerFile {
    /// Where it is.
    pub path: PathBuf,
    /// How it is compressed, if at all.
    pub media_type: String,
    /// Digest of the uncompressed tar.
    pub diff_id: String,
}

impl LayerFile {
    /// The uncompressed tar.
    pub fn open(&self) -> Box<dyn Read> {
        let file = io::BufReader::new(fsio::open(&self.path).expect("a blob"));
        if self.media_type.ends_with("+gzip") {
            Box::new(flate2::bufread::MultiGzDecoder::new(file))
        } else if self.media_type.ends_with("+zstd") {
            Box::new(zstd::Decoder::with_buffer(file).expect("a zstd stream"))
        } else {
            Box::new(file)
        }
    }
}

/// The one image of the layout in `folder`. Panics about anything that is not as the specification wants it.
#[track_caller]
pub fn read(folder: &Path) -> Image {
    let images = read_all(folder);
    let count = images.len();
    let mut images = images.into_iter();
    match (images.next(), count) {
        (Some(image), 1) => image,
        _ => panic!("expected one image, found {count} in {}", folder.display()),
    }
}

/// All images of a layout, in the order of the index. No blob may be there that none of them needs.
#[track_caller]
pub fn read_all(folder: &Path) -> Vec<Image> {
    let version = json(&read_file(&folder.join("oci-layout")));
    assert_eq!(version["imageLayoutVersion"], "1.0.0");
    let index = json(&read_file(&folder.join("index.json")));
    assert_eq!(index["schemaVersion"], 2);
    let mut needed = BTreeSet::new();
    let entries = index["manifests"].as_array().expect("a list of manifests");
    let images = entries
        .iter()
        .map(|entry| image(folder, entry, &mut needed))
        .collect();
    let there = fsio::read_dir_sorted(folder.join("blobs/sha256")).expect("a folder of blobs");
    let there: BTreeSet<_> = there
        .iter()
        .map(|name| format!("sha256:{}", name.to_string_lossy()))
        .collect();
    assert_eq!(there, needed, "the blobs that are there and those needed");
    images
}

/// Unpacks an archive of a layout. Panics unless its names are sorted and its files are plain.
#[track_caller]
pub fn unpack(archive: &Path, folder: &Path) {
    fsio::create_dir_all(folder).expect("a folder to unpack into");
    let mut tar = tar::Archive::new(fsio::open(archive).expect("an archive"));
    let mut last = PathBuf::new();
    for entry in tar.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").into_owned();
        assert!(
            last < name,
            "`{}` before `{}`",
            last.display(),
            name.display()
        );
        let kind = entry.header().entry_type();
        assert!(
            kind.is_file() || kind.is_dir(),
            "{}: {kind:?}",
            name.display()
        );
        assert!(entry.unpack_in(folder).expect("an entry that unpacks"));
        last = name;
    }
}

#[track_caller]
fn image(folder: &Path, entry: &Value, needed: &mut BTreeSet<String>) -> Image {
    let manifest = json(&read_file(&blob(folder, entry, needed)));
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(manifest["mediaType"], entry["mediaType"]);
    let config = json(&read_file(&blob(folder, &manifest["config"], needed)));
    assert_eq!(config["rootfs"]["type"], "layers");
    let diff_ids = strings(&config["rootfs"]["diff_ids"]);
    let descriptors = manifest["layers"].as_array().expect("a list of layers");
    assert_eq!(descriptors.len(), diff_ids.len(), "layers and diff IDs");
    let layers: Vec<_> = descriptors
        .iter()
        .zip(diff_ids)
        .map(|(descriptor, diff_id)| LayerFile {
            path: blob(folder, descriptor, needed),
            media_type: text(&descriptor["mediaType"]),
            diff_id,
        })
        .collect();
    for layer in &layers {
        let (digest, _) = digest(layer.open());
        assert_eq!(digest, layer.diff_id, "of {}", layer.path.display());
    }
    let history = config["history"].as_array().expect("a history");
    let filled = history
        .iter()
        .filter(|entry| entry["empty_layer"] != true)
        .count();
    assert_eq!(filled, layers.len(), "history entries that made a layer");
    Image {
        digest: text(&entry["digest"]),
        id: text(&manifest["config"]["digest"]),
        entry: entry.clone(),
        manifest,
        config,
        layers,
    }
}

/// The file of a blob, after a check of its size and digest.
#[track_caller]
fn blob(folder: &Path, descriptor: &Value, needed: &mut BTreeSet<String>) -> PathBuf {
    let wanted = text(&descriptor["digest"]);
    let hex = wanted.strip_prefix("sha256:").expect("a sha256 digest");
    let path = folder.join("blobs/sha256").join(hex);
    let (digest, size) = digest(fsio::open(&path).expect("a blob"));
    assert_eq!(digest, wanted, "of {}", path.display());
    assert_eq!(Some(size), descriptor["size"].as_u64(), "{descriptor}");
    needed.insert(wanted);
    path
}

/// Digest and size of all that `input` gives.
#[track_caller]
pub fn digest(mut input: impl Read) -> (String, u64) {
    let mut hasher = Sha256::new();
    let size = io::copy(&mut input, &mut hasher).expect("bytes to digest");
    (format!("sha256:{:x}", hasher.finalize()), size)
}

#[track_caller]
fn read_file(path: &Path) -> Vec<u8> {
    fsio::read(path).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("a JSON document")
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// The strings of a list; none for a list that is not there.
#[track_caller]
pub fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(text).collect()
}
