//! From a reference to an image for one platform.

use crate::oci::{BaseImage, Descriptor};

/// A manifest or index as a registry stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its media type, digest (verified) and size.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a reference means for a platform.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The image; its layers can be read from the registry when someone needs them. If the reference leads to a single
    /// manifest, that image is given whatever its platform is: compare `image.config.platform()` with what was wanted.
    pub image: BaseImage,
    /// What the name itself leads to, to pin it: the index if there is one, else the manifest.
    pub root: Descriptor,
    /// The image's manifest.
    pub manifest: Fetched,
}
