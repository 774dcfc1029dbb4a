//! The tables of kernel file systems, devices and paths that every sandbox has: what images expect of a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::{Attributes, Device, DeviceKind};
use super::{MountSource, SetupOp};

/// Paths that would tell about the machine or reach it.
pub(super) const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that may be read, but whose files set something for the whole machine.
pub(super) const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Folders that every root file system needs as mount points.
pub(in crate::sandbox) const SCAFFOLD_FOLDERS: [&str; 4] = ["dev", "etc", "proc", "sys"];

/// Files that every root file system needs as mount points.
pub(in crate::sandbox) const SCAFFOLD_FILES: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];

const DEVICES: [(&str, u32, u32); 6] = [
    ("full", 1, 7),
    ("null", 1, 3),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];

/// What an insecure step sees besides, where the machine has it.
const MORE_DEVICES: [(&str, u32, u32); 6] = [
    ("cuse", 10, 203),
    ("fuse", 10, 229),
    ("kmsg", 1, 11),
    ("kvm", 10, 232),
    ("loop-control", 10, 237),
    ("net/tun", 10, 200),
];

/// The class of block devices that files are mounted through, and how many of them an insecure step sees.
const LOOP_CLASS: u32 = 7;
const LOOP_DEVICES: u32 = 8;

const LINKS: [(&str, &str); 6] = [
    ("core", "/proc/kcore"),
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

/// The group that owns terminals.
const TERMINAL_GROUP: u32 = 5;

/// What distinguishes one sandbox's kernel file systems from another's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choices {
    pub(super) insecure: bool,
    pub(super) one_id: bool,
    pub(super) shm_size: u64,
}

/// The mounts of kernel file systems, each with what is made inside it; `devices` are made besides the standard ones or in
/// their place.
pub(super) fn mounts(
    choices: Choices,
    devices: BTreeMap<String, Device>,
) -> Vec<(&'static str, Vec<SetupOp>)> {
    let insecure = choices.insecure;
    let shm_size = choices.shm_size.to_string();
    let group = TERMINAL_GROUP.to_string();
    let mut terminals = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    if !choices.one_id {
        // A namespace of one group does not have this one.
        terminals.push(("gid", &group));
    }
    let terminal = Attributes {
        no_suid: true,
        no_execution: true,
        ..Attributes::NONE
    };
    let data = Attributes::DATA;
    let protected = data.with_read_only(!insecure);

    vec![
        ("/proc", vec![kernel("/proc", "proc", &[], data)]),
        ("/dev", device_folder(insecure, devices)),
        (
            "/dev/pts",
            vec![kernel("/dev/pts", "devpts", &terminals, terminal)],
        ),
        (
            "/dev/shm",
            vec![kernel(
                "/dev/shm",
                "tmpfs",
                &[("mode", "1777"), ("size", &shm_size)],
                data,
            )],
        ),
        (
            "/dev/mqueue",
            vec![kernel("/dev/mqueue", "mqueue", &[], data)],
        ),
        ("/sys", vec![kernel("/sys", "sysfs", &[], protected)]),
        (
            "/sys/fs/cgroup",
            vec![kernel("/sys/fs/cgroup", "cgroup2", &[], protected)],
        ),
    ]
}

/// `/dev`: memory, with the standard devices and links, and those of this step.
///
/// A confined step has the right to make devices, which images do, and which says nothing about opening them: the mount refuses that.
/// Each device that is to work is a mount of its own.
fn device_folder(insecure: bool, devices: BTreeMap<String, Device>) -> Vec<SetupOp> {
    let attributes = Attributes {
        no_suid: true,
        ..Attributes::NONE.with_devices(insecure)
    };
    let options = [("mode", "0755"), ("size", "64m")];
    let character = |&(name, major, minor): &(&str, u32, u32)| {
        standard(name, DeviceKind::Character, major, minor)
    };
    let mut nodes: BTreeMap<String, SetupOp> = BTreeMap::new();
    for device in DEVICES.iter().map(character) {
        nodes.insert(device.path.clone(), SetupOp::Node(device));
    }
    if insecure {
        let loops = (0..LOOP_DEVICES).map(|number| {
            let name = format!("loop{number}");
            standard(&name, DeviceKind::Block, LOOP_CLASS, number)
        });
        for device in MORE_DEVICES.iter().map(character).chain(loops) {
            nodes.insert(device.path.clone(), SetupOp::NodeOfMachine(device));
        }
    }
    for (path, device) in devices {
        nodes.insert(path, SetupOp::Node(device));
    }
    let links = LINKS.iter().map(|&(name, says)| SetupOp::Link {
        path: format!("/dev/{name}"),
        says: says.to_owned(),
    });
    let mut ops = vec![kernel("/dev", "tmpfs", &options, attributes)];
    ops.extend(nodes.into_values());
    ops.extend(links);
    ops
}

/// A device as it is on every machine, for everybody.
fn standard(name: &str, kind: DeviceKind, major: u32, minor: u32) -> Device {
    let path = format!("/dev/{name}");
    Device {
        source: PathBuf::from(&path),
        path,
        kind,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    }
}

fn kernel(target: &str, kind: &str, options: &[(&str, &str)], attributes: Attributes) -> SetupOp {
    let option = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
    SetupOp::Mount {
        target: target.to_owned(),
        source: MountSource::Kernel {
            kind: kind.to_owned(),
            options: options.iter().map(option).collect(),
        },
        attributes,
    }
}
