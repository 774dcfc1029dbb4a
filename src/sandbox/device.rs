//! Devices that a step sees, as plain data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::spec::path_bytes;

/// A device file below `/dev`. It is made there, so it is never part of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where the step sees it: an absolute path below `/dev`.
    pub path: String,
    /// The machine's file of the same device: shown itself where none can be made.
    #[serde(with = "path_bytes")]
    pub source: PathBuf,
    /// What kind of file it is.
    pub kind: DeviceKind,
    /// Device class; of no meaning for a pipe.
    pub major: u32,
    /// Device number; of no meaning for a pipe.
    pub minor: u32,
    /// Permission bits, exactly these.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What kind of file a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Pipe,
}
