//! What one RUN step needs, as plain data: the caller's side of the sandbox.
//!
//! Nothing here touches the system. Names are resolved before they come here (users are numbers, layers are
//! directories); how the pieces are mounted is decided in `setup`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Device, Emulator, Limits};

/// The host name that a step sees unless the build says otherwise; the same for everybody, so that it cannot leak the
/// machine's name into an image.
pub const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// Size of `/dev/shm` unless the build says otherwise.
pub const DEFAULT_SHM_SIZE: u64 = 64 * 1024 * 1024;

/// Everything one RUN step needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The root file system.
    pub rootfs: RootFs,
    /// The command; the first word is looked up in the `PATH` of `env` unless it has a slash.
    pub argv: Vec<String>,
    /// The whole environment of the command; nothing is added to it.
    pub env: Environment,
    /// Working directory, absolute; made (0755, root) when it is missing, and then part of the layer.
    pub cwd: String,
    /// Who runs the command.
    pub user: User,
    /// The host name inside.
    pub hostname: String,
    /// What network the command has.
    pub network: Network,
    /// How far the command is confined.
    pub security: Security,
    /// What runs the programs of the step, if the machine does not.
    pub emulator: Option<Emulator>,
    /// Mounts of the step, in the order they were declared.
    pub mounts: Vec<Mount>,
    /// Devices besides those that every step sees; of two with one path the later counts.
    pub devices: Vec<Device>,
    /// Content of `/etc/hosts`, mounted read-only; `None` leaves the image's.
    pub hosts: Option<Vec<u8>>,
    /// Content of `/etc/resolv.conf`, mounted read-only; `None` leaves the image's.
    pub resolv_conf: Option<Vec<u8>>,
    /// Bytes that `/dev/shm` may hold.
    pub shm_size: u64,
    /// Resource limits of each process that differ from the builder's own.
    pub ulimits: Vec<Ulimit>,
    /// Limits of all processes together.
    pub limits: Limits,
    /// How long the step may take.
    pub timeout: Option<Duration>,
}

impl SandboxSpec {
    /// A step as root, confined, on the host's network, with defaults for everything else.
    #[must_use]
    pub fn new(rootfs: impl Into<RootFs>, argv: Vec<String>) -> Self {
        Self {
            rootfs: rootfs.into(),
            argv,
            env: Environment::default(),
            cwd: "/".to_owned(),
            user: User::default(),
            hostname: DEFAULT_HOSTNAME.to_owned(),
            network: Network::Host,
            security: Security::Sandbox,
            emulator: None,
            mounts: Vec::new(),
            devices: Vec::new(),
            hosts: None,
            resolv_conf: None,
            shm_size: DEFAULT_SHM_SIZE,
            ulimits: Vec::new(),
            limits: Limits::default(),
            timeout: None,
        }
    }
}

/// What the root of a step is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootFs {
    /// Layer directories under a mount.
    Overlay(OverlayView),
    /// A directory that has all of it, and is written to itself.
    Tree(#[serde(with = "path_bytes")] PathBuf),
}

impl RootFs {
    /// The directory that has the changes afterwards.
    #[must_use]
    pub fn written(&self) -> &Path {
        match self {
            Self::Overlay(view) => &view.upper,
            Self::Tree(tree) => tree,
        }
    }
}

impl From<OverlayView> for RootFs {
    fn from(view: OverlayView) -> Self {
        Self::Overlay(view)
    }
}

/// A stack of layer directories, and where changes to it go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayView {
    /// Layer directories, topmost first; none for a stage `FROM scratch`.
    #[serde(with = "path_bytes::list")]
    pub lower: Vec<PathBuf>,
    /// Directory that receives the changes.
    #[serde(with = "path_bytes")]
    pub upper: PathBuf,
    /// Empty scratch directory on the file system of `upper`; of no use after the step.
    #[serde(with = "path_bytes")]
    pub work: PathBuf,
}

/// Variables with their values, in order. Values may be secrets, so the debug form shows names only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment(pub Vec<(String, String)>);

impl Environment {
    /// The value of a variable; the last one wins, as it does for a program that reads them all.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    }
}

impl From<Vec<(String, String)>> for Environment {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        formatter.debug_list().entries(names).finish()
    }
}

/// Content of a file that may be a secret: the debug form shows its size only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContent(pub Vec<u8>);

impl fmt::Debug for FileContent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<{} bytes>", self.0.len())
    }
}

/// Who runs the command, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids, exactly these.
    pub groups: Vec<u32>,
}

/// What network a command has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The network of the machine.
    Host,
    /// Loopback only.
    None,
    /// That of a namespace, by a path of the machine.
    Namespace(#[serde(with = "path_bytes")] PathBuf),
}

/// How far a command is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// The default capabilities, masked and read-only kernel paths.
    Sandbox,
    /// All capabilities, nothing masked, kernel file systems writable, more devices.
    Insecure,
}

/// A file tree that one step sees at `target`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the root file system; made when it is missing, and removed again after the step.
    pub target: String,
    /// What is there.
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MountKind {
    /// A directory, file or socket of the host.
    Bind {
        /// The host path; links in it are followed as usual, it is the builder's own choice.
        #[serde(with = "path_bytes")]
        source: PathBuf,
        /// Path below `source`, resolved as if `source` were the root: no link leads out of it. Empty for all of it.
        sub_path: String,
        /// Whether writes are refused.
        read_only: bool,
    },
    /// A directory or file of the host as somebody else describes it, with all that is mounted below it.
    Host {
        /// The host path.
        #[serde(with = "path_bytes")]
        source: PathBuf,
        /// What it does not allow.
        attributes: Attributes,
    },
    /// A stack of layer directories.
    Overlay {
        /// Layer directories, topmost first.
        #[serde(with = "path_bytes::list")]
        lower: Vec<PathBuf>,
        /// Path below the root of the stack, resolved inside it. Empty for all of it.
        sub_path: String,
        /// Where writes go; `None` refuses them. The caller drops both directories after the step.
        writable: Option<UpperDirectories>,
    },
    /// Memory, empty at first.
    Tmpfs {
        /// Bytes it may hold; `None` for the kernel's default.
        size: Option<u64>,
        /// Mode of its root.
        mode: u32,
        /// Whether writes are refused.
        read_only: bool,
    },
    /// One read-only file whose content exists in memory only.
    File {
        /// The bytes.
        content: FileContent,
        /// Permission bits, exactly these.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// What a mount does not allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Writes.
    pub read_only: bool,
    /// Set-user-id programs that take effect.
    pub no_suid: bool,
    /// Devices.
    pub no_devices: bool,
    /// Programs.
    pub no_execution: bool,
}

impl Attributes {
    /// Everything allowed.
    pub(super) const NONE: Self = Self {
        read_only: false,
        no_suid: false,
        no_devices: false,
        no_execution: false,
    };
    /// Data only: no programs, no devices.
    pub(super) const DATA: Self = Self {
        read_only: false,
        no_suid: true,
        no_devices: true,
        no_execution: true,
    };

    pub(super) const fn with_devices(self, allowed: bool) -> Self {
        Self {
            no_devices: !allowed,
            ..self
        }
    }

    pub(super) const fn with_read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }
}

/// The two directories that make an overlay writable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpperDirectories {
    /// Directory that receives the changes.
    #[serde(with = "path_bytes")]
    pub upper: PathBuf,
    /// Empty scratch directory on the file system of `upper`.
    #[serde(with = "path_bytes")]
    pub work: PathBuf,
}

/// A limit on one resource of each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Which resource.
    pub resource: LimitedResource,
    /// The limit in force; `None` is unlimited.
    pub soft: Option<u64>,
    /// What the process may raise it to; `None` is unlimited.
    pub hard: Option<u64>,
}

macro_rules! limited_resources {
    ($($name:ident = $word:literal: $meaning:literal,)*) => {
        /// A resource that a limit can be set on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum LimitedResource {
            $(#[doc = $meaning] $name,)*
        }

        impl LimitedResource {
            /// The resource of a name as in `--ulimit nofile=1024`.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($word => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

limited_resources! {
    AddressSpace = "as": "Bytes of address space.",
    Core = "core": "Bytes of a core dump.",
    Cpu = "cpu": "Seconds of processor time.",
    Data = "data": "Bytes of data segment.",
    FileSize = "fsize": "Bytes of a written file.",
    Locks = "locks": "File locks.",
    LockedMemory = "memlock": "Bytes of locked memory.",
    MessageQueue = "msgqueue": "Bytes in message queues.",
    Nice = "nice": "Ceiling of the nice value.",
    OpenFiles = "nofile": "Open files.",
    Processes = "nproc": "Processes of the user.",
    ResidentSet = "rss": "Bytes of resident memory.",
    RealtimePriority = "rtprio": "Real-time priority.",
    RealtimeTime = "rttime": "Microseconds of real-time processor time between blocking calls.",
    PendingSignals = "sigpending": "Queued signals.",
    Stack = "stack": "Bytes of stack.",
}

/// Paths travel as bytes: they need not be UTF-8.
pub(super) mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(in crate::sandbox) fn serialize<S: Serializer>(
        path: &Path,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(to)
    }

    pub(in crate::sandbox) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<PathBuf, D::Error> {
        let bytes = Vec::<u8>::deserialize(from)?;
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }

    /// Lists of paths.
    pub(in crate::sandbox) mod list {
        use std::ffi::OsString;
        use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
        use std::path::PathBuf;

        use serde::{Deserialize as _, Deserializer, Serializer};

        pub(in crate::sandbox) fn serialize<S: Serializer>(
            paths: &[PathBuf],
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_seq(paths.iter().map(|path| path.as_os_str().as_bytes()))
        }

        pub(in crate::sandbox) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Vec<PathBuf>, D::Error> {
            let list = Vec::<Vec<u8>>::deserialize(from)?;
            let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
            Ok(list.into_iter().map(path).collect())
        }
    }
}
