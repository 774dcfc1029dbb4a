//! The cgroups of one step: made with their limits, read when the step has ended, removed when they are dropped.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::super::limits::Limits;
use super::error::CgroupError;
use super::leftover::{self, PREFIX};
use super::place::Place;
use super::settings::{Controller, Setting, Version, settings};
use crate::fsio;

/// How often another name is tried when somebody took the folder for a leftover.
const ATTEMPTS: usize = 5;

/// The cgroups of a step.
#[derive(Debug)]
pub(in crate::sandbox) struct StepCgroup {
    pub(super) unified: Option<Made>,
    pub(super) legacy: Vec<(BTreeSet<Controller>, Made)>,
    pub(super) limits: Limits,
}

/// A cgroup that was made, and is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) folder: PathBuf,
    /// Says that it is in use.
    _lock: OwnedFd,
}

impl Drop for Made {
    fn drop(&mut self) {
        leftover::remove(&self.folder);
    }
}

/// How the folder of a cgroup is made.
pub(super) type Maker<'m> = &'m dyn Fn(&Path) -> Result<(), Errno>;

/// By the kernel, which puts its files there.
pub(super) fn by_kernel(folder: &Path) -> Result<(), Errno> {
    rustix::fs::mkdir(folder, Mode::from_raw_mode(0o755))
}

impl StepCgroup {
    /// Makes the cgroups and puts the limits in force.
    pub(super) fn make(
        place: Place,
        limits: &Limits,
        maker: Maker<'_>,
    ) -> Result<Self, CgroupError> {
        let mut made = Self {
            unified: None,
            legacy: Vec::new(),
            limits: limits.clone(),
        };
        if let Some((parent, controllers)) = place.unified {
            let cgroup = Made::new(&parent, maker)?;
            for controller in controllers {
                apply(&cgroup.folder, controller, Version::Two, limits)?;
            }
            made.unified = Some(cgroup);
        }
        for (parent, controllers) in place.legacy {
            let cgroup = Made::new(&parent, maker)?;
            for controller in &controllers {
                if *controller == Controller::Cpuset {
                    inherit(&parent, &cgroup.folder)?;
                }
                apply(&cgroup.folder, *controller, Version::One, limits)?;
            }
            made.legacy.push((controllers, cgroup));
        }
        Ok(made)
    }

    /// The cgroup of version 2, in which PID 1 is born.
    pub(in crate::sandbox) fn unified(&self) -> Option<&Path> {
        self.unified.as_ref().map(|made| made.folder.as_path())
    }

    /// Those of version 1, which PID 1 enters.
    pub(in crate::sandbox) fn legacy(&self) -> impl Iterator<Item = &Path> {
        self.legacy.iter().map(|(_, made)| made.folder.as_path())
    }
}

impl Made {
    fn new(parent: &Path, maker: Maker<'_>) -> Result<Self, CgroupError> {
        leftover::sweep(parent);
        let error = |folder: &Path, errno: Errno| {
            let source = std::io::Error::from(errno);
            CgroupError::Disk(fsio::Error {
                operation: "make the cgroup",
                path: folder.to_owned(),
                source,
            })
        };
        for attempt in 1.. {
            let folder = parent.join(format!("{PREFIX}{}", fsio::unique()));
            maker(&folder).map_err(|errno| error(&folder, errno))?;
            match leftover::lock(&folder) {
                Ok(lock) => {
                    return Ok(Self {
                        folder,
                        _lock: lock,
                    });
                }
                Err(Errno::NOENT | Errno::WOULDBLOCK) if attempt < ATTEMPTS => {}
                Err(errno) => {
                    leftover::remove(&folder);
                    return Err(error(&folder, errno));
                }
            }
        }
        unreachable!("the last attempt returns")
    }
}

fn apply(
    folder: &Path,
    controller: Controller,
    version: Version,
    limits: &Limits,
) -> Result<(), CgroupError> {
    for Setting { choices, optional } in settings(controller, version, limits, &numbers)? {
        let has = |(file, _): &&(&str, String)| fsio::metadata(folder.join(file)).is_ok();
        let Some((file, value)) = choices.iter().find(has) else {
            match (optional, choices.first()) {
                (false, Some((file, _))) => return Err(CgroupError::Unknown { file }),
                _ => continue,
            }
        };
        fsio::write_to(folder.join(file), value.as_bytes()).map_err(|source| {
            CgroupError::Refused {
                value: value.clone(),
                source,
            }
        })?;
    }
    Ok(())
}

/// A set of processors of version 1 is empty at first, and nobody can enter it until it is not.
fn inherit(parent: &Path, folder: &Path) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let all = fsio::read(parent.join(file))?;
        fsio::write_to(folder.join(file), all.trim_ascii())?;
    }
    Ok(())
}

/// The numbers of a block device.
fn numbers(path: &Path) -> Result<String, CgroupError> {
    let no_device = || CgroupError::NoDevice {
        path: path.display().to_string(),
    };
    let stat = rustix::fs::stat(path).map_err(|_absent| no_device())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(no_device());
    }
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    Ok(format!("{major}:{minor}"))
}
