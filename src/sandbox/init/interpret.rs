//! Carries out the set-up, one operation after the other, in PID 1.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, makedev, mknodat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags};

use super::super::setup::{MountSource, Overlay, SetupOp};
use super::super::{Attributes, Device, FileContent, Operation, SetupFailure};
use super::failed;
use super::stage::{Stage, directories_of, file_type, is_directory};
use super::stubs::{Recorder, Stubs};
use super::target::{self, Kind};
use crate::sys::{mount, network};

type Result<T> = std::result::Result<T, SetupFailure>;

/// The file tree in the making.
#[derive(Debug)]
pub(super) struct Setup {
    tree: Option<Tree>,
    recorder: Recorder,
}

/// What exists from [`SetupOp::Root`] on.
#[derive(Debug)]
struct Tree {
    root: OwnedFd,
    stage: Stage,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self {
            tree: None,
            recorder: Recorder::default(),
        }
    }

    /// Does what the list says, up to the first failure.
    pub(super) fn carry_out(&mut self, ops: Vec<SetupOp>) -> Result<()> {
        for op in ops {
            self.step(op)?;
        }
        Ok(())
    }

    /// What was made and has to go again. Closes everything: no descriptor of the outside is left for the command.
    pub(super) fn into_stubs(self) -> Stubs {
        self.recorder.finish()
    }

    fn step(&mut self, op: SetupOp) -> Result<()> {
        match op {
            SetupOp::PrivateMounts => {
                let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                rustix::mount::mount_change("/", flags).map_err(failed(Operation::MakePrivate, ""))
            }
            SetupOp::Hostname(name) => match rustix::system::sethostname(name.as_bytes()) {
                // A container's filter of calls (podman's) forbids it even in a namespace of one's own: then the step sees the
                // container's name.
                Err(Errno::PERM) => Ok(()),
                result => result.map_err(failed(Operation::SetHostname, name)),
            },
            SetupOp::RaiseLoopback => {
                network::raise_loopback().map_err(failed(Operation::RaiseLoopback, ""))
            }
            SetupOp::Root(overlay) => self.make_root(&overlay),
            SetupOp::RootTree(tree) => self.show_tree(&tree),
            SetupOp::NoDevices => {
                let flags = MountAttrFlags::MOUNT_ATTR_NODEV;
                self.tree()
                    .and_then(|tree| mount::add_attributes(tree.root.as_fd(), flags, false))
                    .map_err(failed(Operation::MountOverlay, "/"))
            }
            SetupOp::Mount {
                target,
                source,
                attributes,
            } => self.mount(&target, source, attributes),
            SetupOp::NodeOfMachine(device) if !machine_has(&device) => Ok(()),
            SetupOp::Node(device) | SetupOp::NodeOfMachine(device) => self
                .show_device(&device)
                .map_err(failed(Operation::MakeNode, device.path)),
            SetupOp::Link { path, says } => {
                let (folder, name) = self
                    .open_parent(&path)
                    .map_err(failed(Operation::Link, &*path))?;
                symlinkat(&*says, &folder, name).map_err(failed(Operation::Link, &*path))
            }
            SetupOp::Mask { path } => self.mask(&path).map_err(failed(Operation::Mask, path)),
            SetupOp::ReadOnly { path } => self
                .make_read_only(&path)
                .map_err(failed(Operation::MakeReadOnly, path)),
            SetupOp::Directory { path } => {
                let make = |tree: &Tree| {
                    target::open_or_make(tree.root.as_fd(), &path, Kind::Directory, None)
                };
                self.tree()
                    .and_then(make)
                    .map(drop)
                    .map_err(failed(Operation::CreateDirectory, path))
            }
            SetupOp::Bundle {
                config,
                hide_cgroups,
            } => self
                .bundle(&config, hide_cgroups)
                .map_err(failed(Operation::WriteFile, "config.json")),
            SetupOp::Pivot => self.pivot().map_err(failed(Operation::Pivot, "/")),
        }
    }

    /// The tree; the list has its root before everything that needs it.
    fn tree(&self) -> rustix::io::Result<&Tree> {
        self.tree.as_ref().ok_or(Errno::INVAL)
    }

    fn make_root(&mut self, overlay: &Overlay) -> Result<()> {
        let mut directories = directories_of(overlay)?;
        let mut make = || {
            let mut stage = Stage::new(directories.work().ok_or(Errno::INVAL)?)?;
            let root = stage.overlay(&mut directories, overlay.user_namespace)?;
            Ok(Tree { root, stage })
        };
        self.tree = Some(make().map_err(failed(Operation::MountOverlay, "/"))?);
        Ok(())
    }

    /// The stage covers the directory itself, which is reached through its mount elsewhere from then on.
    fn show_tree(&mut self, path: &Path) -> Result<()> {
        let make = || {
            let place = mount::path_descriptor(path)?;
            let tree = mount::clone_of(place.as_fd(), false)?;
            let mut stage = Stage::new(place.as_fd())?;
            let root = stage.show(tree)?;
            Ok(Tree { root, stage })
        };
        self.tree = Some(make().map_err(failed(Operation::Mount, "/"))?);
        Ok(())
    }

    fn mount(&mut self, target: &str, source: MountSource, attributes: Attributes) -> Result<()> {
        let prepared = self.prepare(target, source, attributes)?;
        let tree = self
            .tree
            .as_ref()
            .ok_or(Errno::INVAL)
            .map_err(failed(Operation::Mount, target))?;
        let kind = match is_directory(&prepared).map_err(failed(Operation::Mount, target))? {
            true => Kind::Directory,
            false => Kind::File,
        };
        let place = target::open_or_make(tree.root.as_fd(), target, kind, Some(&mut self.recorder))
            .map_err(failed(Operation::CreateTarget, target))?;
        mount::attach(prepared.as_fd(), place.as_fd()).map_err(failed(Operation::Mount, target))
    }

    /// A detached mount of the source, with its attributes.
    fn prepare(
        &mut self,
        target: &str,
        source: MountSource,
        attributes: Attributes,
    ) -> Result<OwnedFd> {
        let flags = flags_of(attributes);
        let stage = match &mut self.tree {
            Some(tree) => &mut tree.stage,
            None => return Err(failed(Operation::Mount, target)(Errno::INVAL)),
        };
        let shown = match source {
            MountSource::Kernel { kind, options } => {
                return make_kernel_file_system(&kind, &options, flags)
                    .map_err(failed(Operation::Mount, target));
            }
            MountSource::Bind { source, sub_path } => {
                let name = source
                    .join(sub_path.trim_start_matches('/'))
                    .display()
                    .to_string();
                let source = mount::path_descriptor(&source);
                part_of(source, &sub_path).map_err(failed(Operation::OpenSource, name))?
            }
            MountSource::View { overlay, sub_path } => {
                let mut directories = directories_of(&overlay)?;
                let view = stage
                    .overlay(&mut directories, overlay.user_namespace)
                    .map_err(failed(Operation::MountOverlay, target))?;
                part_of(Ok(view), &sub_path).map_err(failed(Operation::OpenSource, sub_path))?
            }
            MountSource::File {
                content,
                mode,
                uid,
                gid,
            } => stage
                .file(&content, mode, (uid, gid))
                .map_err(failed(Operation::WriteFile, target))?,
        };
        clone_with(shown.as_fd(), flags).map_err(failed(Operation::Mount, target))
    }

    /// Shows a device of the stage at its path: what is in the folder itself cannot be opened as a device.
    fn show_device(&mut self, device: &Device) -> rustix::io::Result<()> {
        let (folder, name) = self.open_parent(&device.path)?;
        let stage = &mut self.tree.as_mut().ok_or(Errno::INVAL)?.stage;
        let source = match stage.device(device) {
            // A user namespace may not make devices, but may show the machine's.
            Err(Errno::PERM) => mount::path_descriptor(&device.source)?,
            result => result?,
        };
        mknodat(&folder, name, FileType::RegularFile, Mode::empty(), 0)?;
        let place = target::open_without_links(folder.as_fd(), name)?;
        let clone = mount::clone_of(source.as_fd(), false)?;
        mount::attach(clone.as_fd(), place.as_fd())
    }

    /// The folder that holds `path`, made if it is missing, and the name in it. Inside a mount of our own: nothing is noted.
    fn open_parent<'a>(&self, path: &'a str) -> rustix::io::Result<(OwnedFd, &'a str)> {
        let (folder, name) = path.rsplit_once('/').ok_or(Errno::INVAL)?;
        let folder =
            target::open_or_make(self.tree()?.root.as_fd(), folder, Kind::Directory, None)?;
        Ok((folder, name))
    }

    fn mask(&self, path: &str) -> rustix::io::Result<()> {
        let tree = self.tree()?;
        let Some(hidden) = open_if_there(tree.root.as_fd(), path)? else {
            return Ok(());
        };
        let cover = if is_directory(&hidden)? {
            tree.stage.empty()?
        } else {
            mount::path_descriptor(Path::new("/dev/null"))?
        };
        let cover = clone_with(cover.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        mount::attach(cover.as_fd(), hidden.as_fd())
    }

    fn make_read_only(&self, path: &str) -> rustix::io::Result<()> {
        let Some(writable) = open_if_there(self.tree()?.root.as_fd(), path)? else {
            return Ok(());
        };
        let flags = MountAttrFlags::MOUNT_ATTR_RDONLY;
        let cover = clone_with(writable.as_fd(), flags)?;
        mount::attach(cover.as_fd(), writable.as_fd())
    }

    fn bundle(&mut self, config: &FileContent, without_cgroups: bool) -> rustix::io::Result<()> {
        let tree = self.tree.as_mut().ok_or(Errno::INVAL)?;
        let shown = mount::clone_of(tree.root.as_fd(), true)?;
        let place = tree.stage.bundle(config)?;
        mount::attach(shown.as_fd(), place.as_fd())?;
        let processes = mount::create("proc", &[], MountAttrFlags::empty())?;
        let place = mount::path_descriptor(Path::new("/proc"))?;
        mount::attach(processes.as_fd(), place.as_fd())?;
        protect_cgroups(without_cgroups)
    }

    fn pivot(&self) -> rustix::io::Result<()> {
        rustix::process::fchdir(&self.tree()?.root)?;
        // The old root lands on top of the new one, from where it is taken away with all that is below it.
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    }
}

/// Whether the machine has this very device where it is expected.
fn machine_has(device: &Device) -> bool {
    rustix::fs::stat(&device.source).is_ok_and(|found| {
        FileType::from_raw_mode(found.st_mode) == file_type(device.kind)
            && found.st_rdev == makedev(device.major, device.minor)
    })
}

/// What `sub_path` is inside `whole`, whatever links in `whole` say.
fn part_of(whole: rustix::io::Result<OwnedFd>, sub_path: &str) -> rustix::io::Result<OwnedFd> {
    let whole = whole?;
    if sub_path.is_empty() {
        Ok(whole)
    } else {
        target::open(whole.as_fd(), sub_path)
    }
}

/// What `path` is; `None` if it is not there, or behind a link, which no kernel file system has in its place.
fn open_if_there(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    match target::open_without_links(root, path) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn clone_with(source: BorrowedFd<'_>, flags: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let clone = mount::clone_of(source, true)?;
    if !flags.is_empty() {
        mount::add_attributes(clone.as_fd(), flags, true)?;
    }
    Ok(clone)
}

fn make_kernel_file_system(
    kind: &str,
    options: &[(String, String)],
    flags: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let options: Vec<_> = options
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    match mount::create(kind, &options, flags) {
        // A user namespace may not mount these where it sees less of them (a container's `/proc` has parts covered), or uses
        // the machine's network, but may show what it sees.
        Err(Errno::PERM) if kind == "sysfs" || kind == "proc" => {
            let seen = if kind == "proc" { "/proc" } else { "/sys" };
            let seen = mount::path_descriptor(Path::new(seen))?;
            clone_with(seen.as_fd(), flags)
        }
        result => result,
    }
}

/// Has a runtime change no cgroups: limits are ours. `hide` shows it none at all.
fn protect_cgroups(hide: bool) -> rustix::io::Result<()> {
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let Ok(cgroups) = mount::path_descriptor(Path::new("/sys/fs/cgroup")) else {
        return Ok(());
    };
    let cover = match hide {
        true => mount::create("tmpfs", &[], read_only)?,
        false => clone_with(cgroups.as_fd(), read_only)?,
    };
    mount::attach(cover.as_fd(), cgroups.as_fd())
}

fn flags_of(attributes: Attributes) -> MountAttrFlags {
    let table = [
        (attributes.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (attributes.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (attributes.no_devices, MountAttrFlags::MOUNT_ATTR_NODEV),
        (attributes.no_execution, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ];
    table
        .iter()
        .filter(|(wanted, _)| *wanted)
        .map(|(_, flag)| *flag)
        .collect()
}
