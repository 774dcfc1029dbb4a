//! Devices: a step may make them, as images do, and find them in its image, but not open them.

use std::fs;
use std::path::Path;

use builder::sandbox::{MountKind, Security, UpperDirectories};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::sandbox::Step;
use crate::support::require_capability;

/// The machine's own `/dev/zero`, made by the test.
fn make_zero(path: &Path) {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 5)).unwrap();
}

/// A step with every kind of mount that can be written.
fn step(command: &str) -> Step {
    let step = Step::new(command);
    let [cache, below, upper, work] =
        ["cache", "below", "view-upper", "view-work"].map(|name| step.host_directory(name));
    fs::remove_file(work.join("file")).unwrap();
    for folder in [&cache, &below, &step.path("base/etc")] {
        make_zero(&folder.join("zero"));
    }
    step.with_mount(
        "/cache",
        MountKind::Bind {
            source: cache,
            sub_path: String::new(),
            read_only: false,
        },
    )
    .with_mount(
        "/view",
        MountKind::Overlay {
            lower: vec![below],
            sub_path: String::new(),
            writable: Some(UpperDirectories { upper, work }),
        },
    )
    .with_mount(
        "/memory",
        MountKind::Tmpfs {
            size: None,
            mode: 0o1777,
            read_only: false,
        },
    )
}

const OPEN_ALL: &str = "for d in / /tmp /dev /dev/shm /dev/mqueue /cache /view /memory; do \
    cd $d; busybox mknod made c 1 5 2>/dev/null; busybox mknod disk b NUMBER 2>/dev/null; \
    for f in made disk zero; do [ ! -e $f ] || [ $d/$f = /dev/zero ] || echo $d/$f $(busybox head -c 1 $f 2>/dev/null | wc -c); done; \
    done; [ ! -e /etc/zero ] || echo /etc/zero $(busybox head -c 1 /etc/zero 2>/dev/null | wc -c)";

/// The number of a disk of this machine, as `mknod` takes it.
fn a_disk() -> String {
    let disks = fs::read_to_string("/proc/partitions").unwrap();
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = (words.next()?, words.next()?);
        major.parse::<u32>().ok()?;
        Some(format!("{major} {minor}"))
    };
    disks.lines().find_map(of).unwrap_or("8 0".to_owned())
}

#[test]
fn no_device_that_a_step_makes_or_finds_can_be_opened() {
    require_capability!(Root, Program("busybox"));
    let output = step(&OPEN_ALL.replace("NUMBER", &a_disk())).output();
    for place in [
        "//made",
        "//disk",
        "/dev/made",
        "/dev/disk",
        "/cache/made",
        "/memory/disk",
    ] {
        assert!(output.contains(place), "{place} was not made:\n{output}");
    }
    for found in ["/etc/zero", "/cache/zero", "/view/zero"] {
        assert!(output.contains(found), "{found} is not there:\n{output}");
    }
    assert!(output.lines().all(|line| line.ends_with(" 0")), "{output}");
}

#[test]
fn an_insecure_step_opens_what_it_makes() {
    require_capability!(Root, Program("busybox"));
    let mut step = step(&OPEN_ALL.replace("NUMBER", "253 253"));
    step.spec.security = Security::Insecure;
    let output = step.output();
    for place in [
        "//made 1",
        "/dev/made 1",
        "/cache/made 1",
        "/view/zero 1",
        "/memory/made 1",
        "/etc/zero 1",
    ] {
        assert!(output.contains(place), "{place}:\n{output}");
    }
}

#[test]
fn the_standard_devices_work_for_everybody_and_cannot_be_taken_away() {
    require_capability!(Root, Program("busybox"));
    let command = "busybox rm -f /dev/null 2>/dev/null; echo x > /dev/null; busybox head -c 3 /dev/urandom | wc -c; \
        busybox head -c 3 /dev/zero | wc -c; stat -c %a /dev/null; (echo x > /dev/full) 2>/dev/null || echo full";
    assert_eq!(Step::new(command).output(), "3\n3\n666\nfull\n");
    assert_eq!(
        super::as_user(Step::new(command)).output(),
        "3\n3\n666\nfull\n"
    );
}
