//! What can be wrong with devices and their specs.

use std::path::PathBuf;

use crate::fsio;

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    /// A text that cannot name a device.
    #[error("invalid device \"{0}\"")]
    Name(String),
    /// A file that cannot be read.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// A spec that is none.
    #[error("the device spec `{}` cannot be used: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Two specs of one folder describe one device.
    #[error("the device `{name}` is described twice, in `{}` and `{}`", paths.0.display(), paths.1.display())]
    Twice {
        /// The device.
        name: String,
        /// The specs.
        paths: (PathBuf, PathBuf),
    },
    /// A device that wants what a step is not given.
    #[error("the device `{name}` wants {what}, which is not supported")]
    Unsupported {
        /// The device.
        name: String,
        /// What it wants.
        what: String,
    },
    /// A device whose file is something else.
    #[error("`{}` of the device `{name}` is no device file", path.display())]
    NoDevice {
        /// The device.
        name: String,
        /// The file.
        path: PathBuf,
    },
}
