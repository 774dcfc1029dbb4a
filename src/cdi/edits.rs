//! What a step needs to use devices, checked and completed from the machine's own files.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

use super::CdiError;
use super::spec::{ContainerEdits, MountEntry, NodeEntry};
use crate::fsio;

/// What a step needs to use some devices, in the order of the specs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Variables; later ones replace earlier ones and those of the image.
    pub env: Vec<(String, String)>,
    /// Device files.
    pub nodes: Vec<Node>,
    /// Files and folders of the machine.
    pub mounts: Vec<HostMount>,
    /// Groups that the user is in besides.
    pub groups: Vec<u32>,
}

/// A device file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where the step sees it.
    pub path: String,
    /// The machine's file.
    pub source: PathBuf,
    /// What kind of file it is.
    pub kind: NodeKind,
    /// Device class.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// Permission bits; what runtimes take where none are given.
    pub mode: u32,
    /// Owner; the step's user if absent.
    pub uid: Option<u32>,
    /// Group; that of the step's user if absent.
    pub gid: Option<u32>,
}

/// What kind of file a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Pipe,
}

/// A file or folder of the machine that a step sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMount {
    /// On the machine.
    pub source: PathBuf,
    /// Where the step sees it.
    pub target: String,
    /// Writes are refused.
    pub read_only: bool,
    /// Set-user-id programs have no effect.
    pub no_suid: bool,
    /// Devices have no effect.
    pub no_devices: bool,
    /// Programs cannot be started.
    pub no_execution: bool,
}

impl Edits {
    /// Adds what a spec or a device of it wants; `name` is the device.
    pub(super) fn add(&mut self, name: &str, wanted: &ContainerEdits) -> Result<(), CdiError> {
        let refuse = |what: String| {
            let name = name.to_owned();
            Err(CdiError::Unsupported { name, what })
        };
        if let Some(hook) = wanted.hooks.first() {
            return refuse(format!(
                "a hook (`{}`) that runs a program of the machine",
                hook.hook_name
            ));
        }
        if wanted.intel_rdt.is_some() {
            return refuse("a class of processor caches (`intelRdt`)".to_owned());
        }
        if !wanted.net_devices.is_empty() {
            return refuse("a network interface of the machine (`netDevices`)".to_owned());
        }
        for variable in &wanted.env {
            match variable.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    self.env.push((key.to_owned(), value.to_owned()));
                }
                _ => return refuse(format!("a variable without a name (`{variable}`)")),
            }
        }
        for node in &wanted.device_nodes {
            self.nodes.push(complete(name, node)?);
        }
        for mount in &wanted.mounts {
            match host_mount(mount) {
                Ok(mount) => self.mounts.push(mount),
                Err(what) => return refuse(what),
            }
        }
        // Group 0 is what a specification without a value looks like.
        let groups = wanted.additional_gids.iter().filter(|&&group| group != 0);
        self.groups.extend(groups);
        Ok(())
    }
}

/// A device file with what the spec leaves to the machine.
fn complete(name: &str, node: &NodeEntry) -> Result<Node, CdiError> {
    let source = match &node.host_path {
        Some(path) => path.clone(),
        None => PathBuf::from(&node.path),
    };
    let stated = match node.kind.as_deref() {
        Some("b") => Some(NodeKind::Block),
        Some("c" | "u") => Some(NodeKind::Character),
        Some("p") => Some(NodeKind::Pipe),
        None | Some("") => None,
        Some(other) => {
            return Err(CdiError::Unsupported {
                name: name.to_owned(),
                what: format!("a device file of the type `{other}`"),
            });
        }
    };
    let (kind, major, minor) = match (stated, node.major) {
        (Some(NodeKind::Pipe), _) => (NodeKind::Pipe, 0, 0),
        (Some(kind), Some(major)) if major != 0 => (kind, major, node.minor.unwrap_or(0)),
        _ => {
            let found = fsio::metadata(&source)?;
            let kind = match found.file_type() {
                kind if kind.is_char_device() => NodeKind::Character,
                kind if kind.is_block_device() => NodeKind::Block,
                _ => {
                    return Err(CdiError::NoDevice {
                        name: name.to_owned(),
                        path: source,
                    });
                }
            };
            let number = found.rdev();
            (kind, rustix::fs::major(number), rustix::fs::minor(number))
        }
    };
    Ok(Node {
        path: node.path.clone(),
        source,
        kind,
        major,
        minor,
        mode: node.file_mode.unwrap_or(0o666) & 0o7777,
        uid: node.uid,
        gid: node.gid,
    })
}

/// A mount, if it is one of those that a step can have.
fn host_mount(mount: &MountEntry) -> Result<HostMount, String> {
    match mount.kind.as_deref() {
        None | Some("" | "bind" | "none") => {}
        Some(other) => return Err(format!("a mount of the type `{other}`")),
    }
    let mut made = HostMount {
        source: mount.host_path.clone(),
        target: mount.container_path.clone(),
        read_only: false,
        no_suid: false,
        no_devices: false,
        no_execution: false,
    };
    for option in &mount.options {
        match option.as_str() {
            "ro" => made.read_only = true,
            "rw" => made.read_only = false,
            "nosuid" => made.no_suid = true,
            "nodev" => made.no_devices = true,
            "noexec" => made.no_execution = true,
            // Every mount of a step has what is mounted below it, and is cut off from the machine.
            "bind" | "rbind" | "private" | "rprivate" | "slave" | "rslave" => {}
            other => return Err(format!("a mount with the option `{other}`")),
        }
    }
    Ok(made)
}
