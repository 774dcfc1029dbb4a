//! Cgroups of version 2 in a folder that stands for the kernel's, and in the kernel's own where the machine has it.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::super::limits::Limits;
use super::super::outcome::{OutOfMemory, Resources};
use super::hierarchy::{Hierarchies, Position};
use super::place::{self, Place};
use super::settings::Controller;
use super::step::StepCgroup;
use super::{CgroupError, leftover, step};
use crate::fsio;

/// A folder that stands for a mounted hierarchy of version 2.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// A cgroup that offers controllers and hands some of them on; all but the top have a type.
    fn cgroup(&self, below: &str, offers: &str, hands_on: &str, processes: &str) {
        let folder = self.path(below);
        fsio::create_dir_all(&folder).unwrap();
        let files = [
            ("cgroup.controllers", offers),
            ("cgroup.subtree_control", hands_on),
            ("cgroup.procs", processes),
        ];
        let kind = ("cgroup.type", "domain\n");
        let kind = (!below.is_empty()).then_some(kind);
        for (name, text) in files.into_iter().chain(kind) {
            write(&folder.join(name), text);
        }
    }

    fn seen_from(&self, below: &str) -> Hierarchies {
        let position = Position {
            mount: self.0.path().to_owned(),
            below: below.into(),
        };
        Hierarchies {
            unified: Some(position),
            ..Hierarchies::default()
        }
    }
}

fn write(path: &Path, text: &str) {
    fsio::write_atomic(path, text.as_bytes(), fsio::Durability::Cached).unwrap();
}

/// Makes a folder with the files that the kernel would put into it.
fn like_the_kernel(folder: &Path) -> Result<(), Errno> {
    step::by_kernel(folder)?;
    for name in ["memory.max", "memory.swap.max", "pids.max", "cpu.max"] {
        write(&folder.join(name), "max\n");
    }
    Ok(())
}

fn limits() -> Limits {
    Limits {
        memory: Some(8 << 20),
        pids: Some(9),
        ..Limits::default()
    }
}

const SCOPE: &str = "user.slice/session.scope";

#[test]
fn a_step_is_beside_the_builder_and_below_the_top() {
    let all = "cpu io memory pids\n";
    // (what, the builder's own, what the slice hands on, processes of the slice, where)
    let cases = [
        ("the slice hands on", SCOPE, all, "", Some("user.slice")),
        (
            "the slice can be made to",
            SCOPE,
            "cpu\n",
            "",
            Some("user.slice"),
        ),
        (
            "the slice has processes, the top may",
            SCOPE,
            all,
            "7\n",
            Some(""),
        ),
        ("the builder is at the top", "", all, "", Some("")),
    ];
    for (what, own, hands_on, processes, expected) in cases {
        let fake = Fake::new();
        fake.cgroup("", all, all, "1\n");
        fake.cgroup("user.slice", all, hands_on, processes);
        fake.cgroup(SCOPE, all, "", "99\n");
        let found = place::find(&fake.seen_from(own), &limits()).ok();
        let found = found.and_then(|place| place.unified);
        assert_eq!(
            found.map(|(folder, _)| folder),
            expected.map(|below| match below {
                "" => fake.0.path().to_owned(),
                below => fake.path(below),
            }),
            "{what}"
        );
    }
}

#[test]
fn controllers_that_share_a_hierarchy_share_a_cgroup() {
    let cgroup = "2:memory,pids:/own\n";
    let mounts = "35 31 0:32 / /cg rw - cgroup cgroup rw,memory,pids\n";
    let found = place::find(&Hierarchies::read(cgroup, mounts), &limits()).unwrap();
    let both = [Controller::Memory, Controller::Pids].into();
    assert_eq!(found.legacy, [(PathBuf::from("/cg/own"), both)].into());
    assert_eq!(found.unified, None);
}

#[test]
fn a_controller_that_nobody_offers_is_named() {
    let fake = Fake::new();
    fake.cgroup("", "cpu pids\n", "", "");
    let error = place::find(&fake.seen_from(""), &limits());
    // The kernel would refuse what the folder takes: without the controller it is never asked.
    let parent = Limits {
        cgroup_parent: Some("/missing".into()),
        ..limits()
    };
    let missing = place::find(&fake.seen_from(""), &parent).unwrap_err();
    assert!(matches!(missing, CgroupError::Parent { .. }), "{missing}");
    let none = place::find(&Hierarchies::default(), &limits()).unwrap_err();
    assert_eq!(
        none.to_string(),
        "memory cannot be limited here: there is no cgroup controller `memory`, and no cgroup hierarchy is mounted"
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("controller `memory` for this process"),
        "{error}"
    );
}

#[test]
fn limits_are_written_before_anybody_is_in_the_cgroup() {
    let fake = Fake::new();
    let place = Place {
        unified: Some((
            fake.0.path().to_owned(),
            [Controller::Memory, Controller::Pids].into(),
        )),
        ..Place::default()
    };
    let made = StepCgroup::make(place, &limits(), &like_the_kernel).unwrap();
    let folder = made.unified().unwrap().to_owned();
    // The kernel takes a value whole; a file keeps the end of a longer one that was there.
    let text = |name: &str| fsio::read_to_string(folder.join(name)).unwrap();
    assert_eq!(text("memory.max"), "8388608");
    assert_eq!(text("memory.swap.max"), "8388608");
    assert!(text("pids.max").starts_with('9'));

    write(&folder.join("memory.peak"), "8388608\n");
    write(&folder.join("memory.events"), "low 0\noom 2\noom_kill 1\n");
    write(&folder.join("pids.events"), "max 3\n");
    write(
        &folder.join("cpu.stat"),
        "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_throttled 6\n",
    );
    write(&folder.join("io.stat"), "8:0 rbytes=11 wbytes=12\n");
    let mut resources = Resources::default();
    made.account(&mut resources);
    assert_eq!(resources.peak_memory_bytes, Some(8 << 20));
    assert_eq!((resources.read_bytes, resources.written_bytes), (11, 12));
    assert_eq!(resources.user_time.as_micros(), 5);
    let met = made.met();
    let peak = Some(8 << 20);
    let killed = OutOfMemory::AtLimit {
        peak,
        limit: 8 << 20,
    };
    assert_eq!(met.out_of_memory, Some(killed));
    assert_eq!((met.refused_processes, met.throttled_periods), (Some(9), 6));
    write(&folder.join("memory.events"), "oom 0\noom_kill 1\n");
    assert_eq!(made.met().out_of_memory, Some(OutOfMemory::Above { peak }));
    // Nobody takes the files away here.
    fsio::remove_tree(&folder).unwrap();
}

#[test]
fn a_leftover_is_what_nobody_holds() {
    let fake = Fake::new();
    let place = || Place {
        unified: Some((fake.0.path().to_owned(), [].into())),
        ..Place::default()
    };
    let limits = Limits::default();
    let used = StepCgroup::make(place(), &limits, &step::by_kernel).unwrap();
    let left = fake.path(&format!("{}left", leftover::PREFIX));
    fsio::create_dir_all(left.join("inner")).unwrap();
    fsio::create_dir(fake.path("other")).unwrap();
    let next = StepCgroup::make(place(), &limits, &step::by_kernel).unwrap();
    let there = |made: &StepCgroup| made.unified().unwrap().is_dir();
    assert!(there(&used) && there(&next) && fake.path("other").is_dir());
    assert!(!left.exists());
    drop((used, next));
    assert_eq!(fsio::read_dir_sorted(fake.0.path()).unwrap(), ["other"]);
}
