//! The tables of kernel file systems, devices and paths that every sandbox has: what images expect of a container.

use super::{Attributes, MountSource, SetupOp};

/// Paths that would tell about the machine or reach it.
pub(super) const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
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

const MORE_DEVICES: [(&str, u32, u32); 14] = [
    ("cuse", 10, 203),
    ("fuse", 10, 229),
    ("kmsg", 1, 11),
    ("kvm", 10, 232),
    ("loop-control", 10, 237),
    ("loop0", 7, 0),
    ("loop1", 7, 1),
    ("loop2", 7, 2),
    ("loop3", 7, 3),
    ("loop4", 7, 4),
    ("loop5", 7, 5),
    ("loop6", 7, 6),
    ("loop7", 7, 7),
    ("net/tun", 10, 200),
];

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
    pub(super) user_namespace: bool,
    pub(super) shm_size: u64,
}

/// The mounts of kernel file systems, each with what is made inside it.
pub(super) fn mounts(choices: Choices) -> Vec<(&'static str, Vec<SetupOp>)> {
    let insecure = choices.insecure;
    let shm_size = choices.shm_size.to_string();
    let group = TERMINAL_GROUP.to_string();
    let mut terminals = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    if !choices.user_namespace {
        // A namespace of one group does not have this one.
        terminals.push(("gid", &group));
    }
    let devices = Attributes {
        no_suid: true,
        ..Attributes::NONE
    };
    let terminal = Attributes {
        no_suid: true,
        no_execution: true,
        ..Attributes::NONE
    };
    let data = Attributes::DATA;
    let protected = data.with_read_only(!insecure);

    let mut dev = vec![kernel(
        "/dev",
        "tmpfs",
        &[("mode", "0755"), ("size", "64m")],
        devices,
    )];
    let more: &[_] = if insecure { &MORE_DEVICES } else { &[] };
    dev.extend(
        DEVICES
            .iter()
            .chain(more)
            .map(|&(name, major, minor)| SetupOp::Node {
                path: format!("/dev/{name}"),
                major,
                minor,
            }),
    );
    dev.extend(LINKS.iter().map(|&(name, says)| SetupOp::Link {
        path: format!("/dev/{name}"),
        says: says.to_owned(),
    }));
    vec![
        ("/proc", vec![kernel("/proc", "proc", &[], data)]),
        ("/dev", dev),
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
