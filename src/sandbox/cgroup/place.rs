//! Where the cgroup of a step is made: which folder of which hierarchy, so that the controllers that it takes are there.
//!
//! In version 2 a cgroup with processes cannot hand controllers on, unless it is the top. So the cgroup of a step is made below the
//! builder's own only at the top, and else beside it, in the nearest one above that hands the controllers on or can be made
//! to. No process that is not ours is moved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::limits::Limits;
use super::error::CgroupError;
use super::hierarchy::{Hierarchies, Position};
use super::settings::{Controller, Version};
use crate::fsio;

/// The folders in which a step's cgroups are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// In the hierarchy of version 2, with the controllers that are used there.
    pub(super) unified: Option<(PathBuf, BTreeSet<Controller>)>,
    /// In hierarchies of version 1, with the controllers that are used there: one hierarchy can have several.
    pub(super) legacy: BTreeMap<PathBuf, BTreeSet<Controller>>,
}

/// Finds the place for a step with these limits.
pub(super) fn find(hierarchies: &Hierarchies, limits: &Limits) -> Result<Place, CgroupError> {
    let needed: BTreeSet<Controller> = Controller::ALL
        .into_iter()
        .filter(|controller| controller.is_needed(limits))
        .collect();
    let parent = limits.cgroup_parent.as_deref();
    let mut place = Place::default();
    let mut in_unified = needed;
    in_unified.retain(|controller| {
        let legacy = hierarchies.legacy.get(controller.name(Version::One));
        if let Some(position) = legacy {
            let folder = folder(position, parent);
            place.legacy.entry(folder).or_default().insert(*controller);
        }
        legacy.is_none()
    });
    if let Some(parent) = parent {
        for folder in place.legacy.keys() {
            is_there(folder, parent)?;
        }
    }
    match &hierarchies.unified {
        // Where version 1 has all the controllers, that of version 2 has nothing to say.
        Some(position)
            if !in_unified.is_empty() || (parent.is_some() && place.legacy.is_empty()) =>
        {
            let folder = match parent {
                Some(parent) => given(position, parent, &in_unified)?,
                None => nearest(position, &in_unified)?,
            };
            place.unified = Some((folder, in_unified));
        }
        _ => {
            if let Some(missing) = in_unified.first() {
                return Err(CgroupError::NoController {
                    controller: missing.name(Version::Two),
                    visible: !hierarchies.legacy.is_empty(),
                });
            }
        }
    }
    match (parent, &place.unified, place.legacy.is_empty()) {
        (Some(_), None, true) => Err(CgroupError::NoPlace {
            controllers: String::new(),
            reason: "no cgroup hierarchy is mounted".to_owned(),
        }),
        _ => Ok(place),
    }
}

/// The builder's own folder, or the one that was given.
fn folder(position: &Position, parent: Option<&str>) -> PathBuf {
    match parent {
        Some(parent) => position.mount.join(parent.trim_start_matches('/')),
        None => position.folder(),
    }
}

fn is_there(folder: &Path, parent: &str) -> Result<(), CgroupError> {
    // A folder that is no cgroup does not have it.
    let looked = fsio::metadata(folder.join("cgroup.procs"));
    looked.map(drop).map_err(|source| CgroupError::Parent {
        parent: parent.to_owned(),
        source,
    })
}

fn given(
    position: &Position,
    parent: &str,
    needed: &BTreeSet<Controller>,
) -> Result<PathBuf, CgroupError> {
    let folder = folder(position, Some(parent));
    is_there(&folder, parent)?;
    let own = position.folder();
    let mut shared = folder.ancestors().filter(|above| own.starts_with(above));
    let entered = shared.next().map_or(Ok(()), may_be_entered);
    entered
        .and_then(|()| hand_on(&folder, needed))
        .map_err(|reason| no_place(needed, reason))?;
    Ok(folder)
}

/// The nearest cgroup from our own upwards in which one with these controllers can be made.
fn nearest(position: &Position, needed: &BTreeSet<Controller>) -> Result<PathBuf, CgroupError> {
    let own = position.folder();
    let mut reason = String::new();
    let mut offered = BTreeSet::new();
    for folder in own.ancestors() {
        if !folder.starts_with(&position.mount) {
            break;
        }
        let here = words(folder, "cgroup.controllers");
        let has = |controller: &Controller| here.contains(controller.name(Version::Two));
        let has_all = needed.iter().all(has);
        offered.extend(here);
        if !has_all {
            continue;
        }
        match may_be_used(folder).and_then(|()| hand_on(folder, needed)) {
            Ok(()) => return Ok(folder.to_owned()),
            Err(why) => reason = why,
        }
    }
    let missing = needed
        .iter()
        .map(|controller| controller.name(Version::Two))
        .find(|name| !offered.contains(*name));
    Err(match missing {
        Some(controller) => CgroupError::NoController {
            controller,
            visible: true,
        },
        None => no_place(needed, reason),
    })
}

fn no_place(needed: &BTreeSet<Controller>, reason: String) -> CgroupError {
    let names = needed
        .iter()
        .map(|controller| format!("`{}`", controller.name(Version::Two)));
    let names = names.collect::<Vec<_>>().join(", ");
    CgroupError::NoPlace {
        controllers: match names.is_empty() {
            true => String::new(),
            false => format!(" with the controllers {names}"),
        },
        reason,
    }
}

/// Whether cgroups may be made in a folder at all: only the top can have processes beside them.
fn may_be_used(folder: &Path) -> Result<(), String> {
    may_be_entered(folder)?;
    may_be_written(folder)?;
    let is_top = fsio::symlink_metadata(folder.join("cgroup.type")).is_err();
    match is_top || words(folder, "cgroup.procs").is_empty() {
        true => Ok(()),
        false => Err(format!("`{}` has processes", folder.display())),
    }
}

/// Whether processes that are ours may move between cgroups in this one: the kernel asks for the right to write to the list of
/// the lowest that holds both.
fn may_be_entered(folder: &Path) -> Result<(), String> {
    may_be_written(&folder.join("cgroup.procs"))
}

fn may_be_written(path: &Path) -> Result<(), String> {
    let writable = rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
    writable.map_err(|errno| format!("`{}`: {}", path.display(), std::io::Error::from(errno)))
}

/// Makes a cgroup hand controllers on to those in it.
fn hand_on(folder: &Path, needed: &BTreeSet<Controller>) -> Result<(), String> {
    let enabled = words(folder, "cgroup.subtree_control");
    for controller in needed {
        let name = controller.name(Version::Two);
        if !enabled.contains(name) {
            let switch = folder.join("cgroup.subtree_control");
            fsio::write_to(&switch, format!("+{name}").as_bytes())
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The words in a file of a cgroup; none if it cannot be read.
fn words(folder: &Path, file: &str) -> BTreeSet<String> {
    let text = fsio::read_to_string(folder.join(file)).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}
