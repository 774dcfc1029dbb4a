//! Where everything lives below the root. The only place that names folders of the store.
//!
//! ```text
//! ROOT/
//!   CACHEDIR.TAG                      keeps backup programs out
//!   v1/
//!     blobs/sha256/abcd…                compressed layers, configs, manifests, by digest of their bytes
//!     layers/abcd…/                     one layer, by diff ID
//!       toc | toc~<boot>                its table of contents; the layer exists when this does (`layers.rs`)
//!       dir/                            as an overlay lower directory (optional)
//!       dir-<chain>/                    the same where implied directories took their metadata from below (optional)
//!       tar                             as an uncompressed tar (optional)
//!       blob-<compression>              record: descriptor of its compressed blob (optional)
//!     steps/abcd…                       record: step key → layer, facts, ingredients
//!     aliases/abcd…                     record: quick key → step key
//!     places/abcd…                      record: what was last built where in one Dockerfile
//!     builds/abcd…                      record: how the last build of one Dockerfile went
//!     listings/abcd…                    the files that a digest of files stands for
//!     evicted/abcd…                     empty; its time says when the layer of that diff ID was evicted
//!     fetched/abcd…                     record: URL, commit or archive → layer
//!     resolved/abcd…                    record: reference and platform → manifest and config; branch or tag → commit
//!     images/<escaped name>           record: image name → config and layers
//!     contexts/abcd…                  stat index of one context root
//!     mounts/<escaped id>/            `RUN --mount=type=cache` directories
//!     mounted/<escaped id>            its time says when the directory was used last; bytes, where they are counted
//!     owners                            record: ids of the user namespace that the store was made in; none for root
//!     space                             record: bytes of the whole store, where there is a ceiling
//!     scaffold/                         mount points below every RUN's root file system
//!     locks/<kind>                      locked by the byte while a thing is being made, or is in use
//!     gone/                             what was taken out and is not deleted yet
//!     tmp/<pid>-<random>/                  work of a running process; `lock` in it is held while the process lives
//! ```

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::fsio;
use crate::oci::Digest;

/// Version of the layout; another one lives beside it and never reads it.
pub(super) const LAYOUT_VERSION: &str = "v1";

/// Folders of a store.
const FOLDERS: [&str; 17] = [
    "blobs/sha256",
    "layers",
    "steps",
    "aliases",
    "places",
    "builds",
    "listings",
    "evicted",
    "fetched",
    "resolved",
    "images",
    "contexts",
    "mounts",
    "mounted",
    "locks",
    "gone",
    "tmp",
];

/// Those that hold records.
const RECORDS: [&str; 11] = [
    "steps", "aliases", "places", "builds", "listings", "evicted", "fetched", "resolved", "images",
    "contexts", "mounted",
];

/// Kinds of locks that everything else may have to wait for.
const LOCKS: [&str; 6] = [
    "use-layer",
    "use-blob",
    "use-mount",
    "names",
    "prune",
    "space",
];

/// Names the places of a store.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.join(LAYOUT_VERSION),
        }
    }

    pub(super) fn cachedir_tag(&self) -> PathBuf {
        self.root.with_file_name("CACHEDIR.TAG")
    }

    /// Whether everything is there that has to be there from the start.
    pub(super) fn is_complete(&self) -> bool {
        let there = |path: PathBuf| fsio::symlink_metadata(path).is_ok();
        FOLDERS.iter().all(|name| there(self.root.join(name)))
            && LOCKS.iter().all(|kind| there(self.lock(kind)))
    }

    /// Makes what has to be there from the start: later nothing is needed of a full disk for what frees space on it.
    pub(super) fn make(&self) -> fsio::Result<()> {
        for name in FOLDERS {
            fsio::create_dir_all(self.root.join(name))?;
        }
        LOCKS
            .iter()
            .try_for_each(|kind| super::lock::open(&self.lock(kind)).map(drop))
    }

    /// Keeps other users of the machine out. Layers hold set-user-id programs and files of users who are somebody else here; what an
    /// image made of them is not to be started or read on the machine.
    pub(super) fn seclude(&self) {
        if fsio::symlink_metadata(&self.root).is_ok_and(|found| found.mode() & 0o077 != 0) {
            // Not ours: then it is for its owner to do.
            let _unused = fsio::set_mode(&self.root, 0o700);
        }
    }

    /// Folders that hold records, one file each.
    pub(super) fn record_folders(&self) -> Vec<PathBuf> {
        RECORDS.map(|name| self.root.join(name)).to_vec()
    }

    /// A path of the store relative to its version.
    pub(super) fn below(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        below.to_string_lossy().into_owned()
    }

    /// The path that [`Self::below`] was told of.
    pub(super) fn above(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    fn named(&self, kind: &str, digest: Digest) -> PathBuf {
        self.root.join(kind).join(digest.hex())
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        self.named("blobs/sha256", digest)
    }

    pub(super) fn owners(&self) -> PathBuf {
        self.root.join("owners")
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(super) fn layer(&self, diff_id: Digest) -> PathBuf {
        self.named("layers", diff_id)
    }

    pub(super) fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }

    pub(super) fn step(&self, key: Digest) -> PathBuf {
        self.named("steps", key)
    }

    pub(super) fn alias(&self, quick: Digest) -> PathBuf {
        self.named("aliases", quick)
    }

    pub(super) fn place(&self, place: Digest) -> PathBuf {
        self.named("places", place)
    }

    pub(super) fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    pub(super) fn build(&self, place: Digest) -> PathBuf {
        self.named("builds", place)
    }

    pub(super) fn listing(&self, of: Digest) -> PathBuf {
        self.named("listings", of)
    }

    pub(super) fn evictions(&self) -> PathBuf {
        self.root.join("evicted")
    }

    pub(super) fn evicted(&self, diff_id: Digest) -> PathBuf {
        self.named("evicted", diff_id)
    }

    pub(super) fn fetched(&self, key: Digest) -> PathBuf {
        self.named("fetched", key)
    }

    pub(super) fn resolved(&self, key: Digest) -> PathBuf {
        self.named("resolved", key)
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn image(&self, name: &str) -> PathBuf {
        self.images().join(escape(name))
    }

    pub(super) fn contexts(&self) -> PathBuf {
        self.root.join("contexts")
    }

    pub(super) fn context_index(&self, identity: &str) -> PathBuf {
        self.root.join("contexts").join(escape(identity))
    }

    pub(super) fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }

    pub(super) fn cache_mount(&self, id: &str) -> PathBuf {
        self.mounts().join(escape(id))
    }

    pub(super) fn mounted(&self) -> PathBuf {
        self.root.join("mounted")
    }

    /// Its time says when a cache mount, named as its folder is, was used last.
    pub(super) fn mount_used(&self, escaped: &str) -> PathBuf {
        self.mounted().join(escaped)
    }

    pub(super) fn scaffold(&self) -> PathBuf {
        self.root.join("scaffold")
    }

    /// What the store takes.
    pub(super) fn space(&self) -> PathBuf {
        self.root.join("space")
    }

    pub(super) fn lock(&self, kind: &str) -> PathBuf {
        self.root.join("locks").join(kind)
    }

    /// What was taken out and is not deleted yet.
    pub(super) fn gone(&self) -> PathBuf {
        self.root.join("gone")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

/// A name as one file name: letters, digits and `.-_` stay, everything else becomes `%XX`. Names longer than a
/// file name may be are cut and get their digest, so that two names never share a file.
pub(super) fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (position, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => escaped.push(char::from(byte)),
            b'.' if position > 0 => escaped.push('.'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    if escaped.len() > 180 {
        escaped.truncate(100);
        escaped.push_str("%-");
        escaped.push_str(&Digest::of(name).hex());
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_name_is_one_component_and_two_names_are_two_files() {
        let long = "x/".repeat(300);
        let names = [
            "a",
            ".",
            "..",
            "a/b",
            "a%2Fb",
            "../../etc",
            "",
            "docker.io/library/a:1",
            &long,
        ];
        let escaped: std::collections::BTreeSet<_> = names.iter().map(|n| escape(n)).collect();
        assert_eq!(escaped.len(), names.len());
        assert!(
            escaped
                .iter()
                .all(|e| !e.contains('/') && e != "." && e != ".." && e.len() < 255)
        );
    }
}
