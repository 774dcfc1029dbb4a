//! Names of images in the local store.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, record};
use crate::fsio::{self, Durability};
use crate::oci::{Descriptor, Digest, Platform};

/// What a name in the local store stands for: the images that one build made, one a platform. A name moves as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Full reference: `docker.io/library/app:latest`.
    pub name: String,
    /// The images, in the order in which their platforms were asked for.
    pub images: Vec<StoredImage>,
    /// When the name was given, RFC 3339.
    pub tagged: String,
}

/// An image in the local store. Its config is a blob; its layers are named by diff ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// What it is for.
    pub platform: Platform,
    /// The config blob; its digest is the image ID.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<ImageLayer>,
}

impl ImageRecord {
    /// The image for a platform: the exact one, or the best that runs there.
    #[must_use]
    pub fn select(&self, wanted: &Platform) -> Option<&StoredImage> {
        wanted.fallbacks().iter().find_map(|candidate| {
            let mut images = self.images.iter();
            images.find(|image| image.platform.satisfies(candidate))
        })
    }

    /// The image, if there is one for a single platform.
    #[must_use]
    pub fn only(&self) -> Option<&StoredImage> {
        match self.images.as_slice() {
            [image] => Some(image),
            _ => None,
        }
    }
}

/// One layer of a named image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// The layer's identity.
    pub diff_id: Digest,
    /// For a layer that was pulled: its original blob, exported as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Descriptor>,
    /// Bytes of file content; 0 where unknown.
    pub bytes: u64,
}

impl Store {
    /// The image of a name (full reference).
    #[must_use]
    pub fn image(&self, name: &str) -> Option<ImageRecord> {
        record::read(&self.paths.image(name)).filter(|found: &ImageRecord| found.name == name)
    }

    /// Every named image, sorted by name. Damaged records are left out.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let folder = self.paths.images();
        let names = fsio::read_dir_sorted(&folder)?;
        let mut images: Vec<ImageRecord> = names
            .iter()
            // What a crash left beside a record begins with a dot; no escaped name does.
            .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
            .filter_map(|name| record::read(&folder.join(name)))
            .collect();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// Gives an image its name; a name that was taken moves. One that is this image's already stays as it is.
    ///
    /// # Errors
    /// The disk.
    pub fn put_image(&self, image: &ImageRecord) -> Result<(), StoreError> {
        // A name protects what it stands for from the moment it is given: nobody removes anything meanwhile.
        let _names = self.lock_names()?;
        let there = self.image(&image.name);
        if there.is_some_and(|there| there.images == image.images) {
            return Ok(());
        }
        Ok(record::write(
            &self.paths.image(&image.name),
            image,
            Durability::Synced,
        )?)
    }

    /// Takes a name away; whether there was one.
    ///
    /// # Errors
    /// The disk.
    pub fn remove_image(&self, name: &str) -> Result<bool, StoreError> {
        let _names = self.lock_names()?;
        let there = self.image(name).is_some();
        fsio::remove_file_if_there(self.paths.image(name))?;
        Ok(there)
    }
}
