//! What the sandbox's child is told to do: a list of operations, computed from the spec.
//!
//! Pure: nothing here touches the system, so that a set-up can be printed, compared and tested. The child (`init`) interprets
//! the list in order and decides nothing.

mod bare;
mod bundle;
mod compile;
mod kernel_paths;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::spec::path_bytes;
use super::{
    Attributes, Device, Emulator, Environment, FileContent, Network, OverlayView, Ulimit,
    UpperDirectories, User,
};

pub(super) use bare::{BareOp, BareProgram, compile_bare};
pub(super) use bundle::{compile_for_runtime, opens_devices};
pub(super) use compile::compile;
pub(super) use kernel_paths::{SCAFFOLD_FILES, SCAFFOLD_FOLDERS};

/// What the child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// A step in namespaces.
    InNamespaces(Box<Program>),
    /// A step in a changed root.
    Bare(Box<BareProgram>),
}

/// The bundle's folder on the stage.
pub(super) const BUNDLE: &str = "bundle";

/// Everything the child is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Program {
    /// The cgroups that PID 1 enters before it makes namespaces; none without limits.
    pub(super) cgroups: Option<StepCgroups>,
    /// What the command's programs are run by, if not by the machine; it lives in a user namespace of its own then.
    pub(super) emulator: Option<Emulator>,
    /// The namespaces that PID 1 lives in.
    pub(super) namespaces: Namespaces,
    /// Where changes land; mount points that were made for the set-up are removed from here.
    #[serde(with = "path_bytes")]
    pub(super) upper: PathBuf,
    /// What PID 1 does, in order.
    pub(super) setup: Vec<SetupOp>,
    /// What is executed, as whom.
    pub(super) command: Command,
}

/// The folders of a step's cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepCgroups {
    /// Of version 2: PID 1 is born in it.
    pub(super) unified: Option<PathBuf>,
    /// Of version 1: PID 1 enters them.
    pub(super) legacy: Vec<PathBuf>,
}

/// Which namespaces to make; mount, process, host name, IPC and cgroup namespaces always.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Namespaces {
    /// The network.
    pub(super) network: Network,
}

/// The command and the credentials that it gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Command {
    pub(super) argv: Vec<String>,
    pub(super) env: Environment,
    pub(super) cwd: String,
    pub(super) user: User,
    /// Whether supplementary groups can be set: not in a namespace of one group.
    pub(super) set_groups: bool,
    pub(super) capabilities: Capabilities,
    /// Which system calls it may make; empty for all of them.
    pub(super) filter: Filter,
    pub(super) limits: Vec<Ulimit>,
}

/// Which capabilities a command can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Capabilities {
    /// The default set, for root; none in force for others, who can gain these through set-user-id programs.
    Default,
    /// The default set without the right to change the root: with it, root walks out of a changed root.
    InChroot,
    /// All that the builder has, for everybody.
    All,
}

/// One operation of the set-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SetupOp {
    /// Cut the mounts off from the machine's: nothing that follows is seen outside.
    PrivateMounts,
    /// Name the host.
    Hostname(String),
    /// Bring up the loopback interface.
    RaiseLoopback,
    /// Mount the root file system, and a stage beside it: memory for files and views in the making.
    Root(Overlay),
    /// The same, with a directory as the root file system.
    RootTree(#[serde(with = "path_bytes")] PathBuf),
    /// Let no device be opened on the root file system, wherever it came from: a layer, or `mknod`.
    NoDevices,
    /// Mount something at a path of the new root, making the mount point if it is missing.
    Mount {
        target: String,
        source: MountSource,
        attributes: Attributes,
    },
    /// Show a device.
    Node(Device),
    /// Show a device if the machine has it.
    NodeOfMachine(Device),
    /// Make a symbolic link.
    Link { path: String, says: String },
    /// Hide a path of a kernel file system, if it exists.
    Mask { path: String },
    /// Make a path of a kernel file system read-only, if it exists.
    ReadOnly { path: String },
    /// Make a directory, with those on the way, if it is missing. It stays in the layer.
    Directory { path: String },
    /// Make the new root the root, and drop the machine's mounts.
    Pivot,
    /// In place of that: make a bundle for an OCI runtime on the stage, and a view of the machine in which the runtime sees its own
    /// processes, and cgroups that it cannot change, or none.
    Bundle {
        config: FileContent,
        hide_cgroups: bool,
    },
}

/// An overlay, and whether it is mounted inside a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Overlay {
    #[serde(with = "path_bytes::list")]
    pub(super) lower: Vec<PathBuf>,
    pub(super) writable: Option<UpperDirectories>,
    pub(super) user_namespace: bool,
}

impl Overlay {
    fn of_root(view: &OverlayView, scaffold: Option<&Path>, user_namespace: bool) -> Self {
        let (upper, work) = (view.upper.clone(), view.work.clone());
        let mut lower = view.lower.clone();
        lower.extend(scaffold.map(Path::to_owned));
        Self {
            lower,
            writable: Some(UpperDirectories { upper, work }),
            user_namespace,
        }
    }
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum MountSource {
    /// A path of the machine, and a path inside it.
    Bind {
        #[serde(with = "path_bytes")]
        source: PathBuf,
        sub_path: String,
    },
    /// A path inside an overlay.
    View { overlay: Overlay, sub_path: String },
    /// One file in memory.
    File {
        content: FileContent,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// A file system that the kernel makes: kind and options.
    Kernel {
        kind: String,
        options: Vec<(String, String)>,
    },
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for op in &self.setup {
            writeln!(formatter, "{op:?}")?;
        }
        writeln!(formatter, "{:?}", self.command)
    }
}
