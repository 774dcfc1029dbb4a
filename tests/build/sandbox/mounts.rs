//! What the command sees: declared mounts, kernel file systems, devices.

use super::*;

#[test]
fn hostile_links_do_not_lead_out() {
    require_capability!(Root, Program("busybox"));
    let outside = tempfile::tempdir().unwrap();
    let step = Step::new("cat /etc/resolv.conf; ls -l /run | wc -l; busybox pwd");
    let secret_place = outside.path().join("here");
    symlink("../run/systemd/stub", step.path("base/etc/resolv.conf")).unwrap();
    symlink(&secret_place, step.path("base/escape")).unwrap();
    symlink("/../../../../../../../../..", step.path("base/up")).unwrap();
    let target = format!("/up{}", outside.path().join("there").display());
    let mut step = step
        .with_mount(
            "/escape",
            MountKind::Tmpfs {
                size: None,
                mode: 0o755,
                read_only: false,
            },
        )
        .with_mount(
            &target,
            MountKind::Tmpfs {
                size: None,
                mode: 0o755,
                read_only: false,
            },
        );
    step.spec.resolv_conf = Some(b"nameserver 9.9.9.9\n".to_vec());
    step.spec.cwd = "/up/work".to_owned();
    assert_eq!(step.output(), "nameserver 9.9.9.9\n2\n/work\n");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    // The links were followed inside; what was made at their ends is gone, and /tmp, which is on the way, was copied up.
    let changed = step.changed();
    assert!(
        changed
            .iter()
            .all(|path| ["/work", "/etc", "/tmp"].contains(&path.as_str())),
        "{changed:?}"
    );
}

#[test]
fn secret_files_have_exact_mode_owner_and_content_and_are_read_only() {
    require_capability!(Root, Program("busybox"));
    let content = vec![b'x'; 500 * 1024];
    let kind = MountKind::File {
        content: FileContent(content),
        mode: 0o741,
        uid: 100,
        gid: 102,
    };
    let step = Step::new("stat -c '%u %g %f %s' /run/secrets/a; echo y > /run/secrets/a; grep ' /run/secrets/a ' /proc/mounts")
        .with_mount("/run/secrets/a", kind);
    let output = step.output();
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[0], "100 102 81e1 512000");
    assert!(lines[1].ends_with("Read-only file system"), "{output}");
    assert!(
        lines[2].starts_with("tmpfs ") && lines[2].contains(" ro,"),
        "{output}"
    );
}

#[test]
fn tmpfs_mounts_are_limited_and_forgotten() {
    require_capability!(Root, Program("busybox"));
    let command = "grep ' /t ' /proc/mounts | busybox cut -d' ' -f1,3; stat -c %a /t; busybox dd if=/dev/zero of=/t/x bs=1M count=2 2>/dev/null; stat -c %s /t/x";
    let step = Step::new(command).with_mount(
        "/t",
        MountKind::Tmpfs {
            size: Some(1 << 20),
            mode: 0o1777,
            read_only: false,
        },
    );
    assert_eq!(step.output(), "tmpfs tmpfs\n1777\n1048576\n");
    assert_eq!(step.changed(), [""; 0]);
    let step = Step::new("stat -c %a /t; busybox touch /t/x 2>&1 || true").with_mount(
        "/t",
        MountKind::Tmpfs {
            size: None,
            mode: 0o700,
            read_only: true,
        },
    );
    assert_eq!(step.output(), "700\ntouch: /t/x: Read-only file system\n");
}

#[test]
fn host_mounts_have_their_attributes() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new("cat /m/file; grep ' /m ' /proc/mounts | busybox cut -d' ' -f4");
    let attributes = Attributes {
        no_suid: true,
        no_devices: true,
        no_execution: true,
        read_only: true,
    };
    let source = step.host_directory("host");
    let output = step
        .with_mount("/m", MountKind::Host { source, attributes })
        .output();
    assert!(
        output.starts_with("content\nro,nosuid,nodev,noexec"),
        "{output}"
    );
}

#[test]
fn read_only_binds_refuse_writes_and_writable_ones_take_them() {
    require_capability!(Root, Program("busybox"));
    let command =
        "cat /ctx/file /rw/file /one; echo x > /ctx/new; echo x > /rw/new; echo x >> /one";
    let step = Step::new(command);
    let (read, write) = (step.host_directory("read"), step.host_directory("write"));
    let bind = |source: &Path, sub_path: &str, read_only| MountKind::Bind {
        source: source.to_owned(),
        sub_path: sub_path.to_owned(),
        read_only,
    };
    let step = step
        .with_mount("/ctx", bind(&read, "", true))
        .with_mount("/rw", bind(&write, "", false))
        .with_mount("/one", bind(&read, "/file", true));
    let (result, output) = step.run();
    assert_eq!(result.unwrap().exit, Exit::Code(1));
    assert_eq!(output.matches("content\n").count(), 3);
    assert_eq!(
        output.matches("Read-only file system").count(),
        2,
        "{output}"
    );
    assert_eq!(fs::read_to_string(write.join("new")).unwrap(), "x\n");
    assert!(!read.join("new").exists());
    assert_eq!(step.changed(), [""; 0]);
}

#[test]
fn the_part_of_a_bind_stays_inside_its_source() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new("cat /m/passwd");
    let source = step.host_directory("cache");
    symlink("/etc", source.join("sel")).unwrap();
    let kind = MountKind::Bind {
        source: source.clone(),
        sub_path: "sel".to_owned(),
        read_only: true,
    };
    let step = step.with_mount("/m", kind);
    let message = step.failure().to_string();
    assert_eq!(
        message,
        format!(
            "cannot set up the sandbox: cannot open the source `{}/sel`: no such file or directory",
            source.display()
        )
    );
}

#[test]
fn overlay_binds_show_a_part_and_drop_writes() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new(
        "ls /data; echo w > /data/w && cat /data/w; busybox rm /data/file; ls /data; ls /ro; echo > /ro/x",
    );
    let lower = step.host_directory("lower");
    fs::create_dir_all(lower.join("sub")).unwrap();
    fs::write(lower.join("sub/file"), "").unwrap();
    let (upper, work) = (step.path("view-upper"), step.path("view-work"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let writable = Some(UpperDirectories {
        upper: upper.clone(),
        work,
    });
    let view = |writable| MountKind::Overlay {
        lower: vec![lower.clone()],
        sub_path: "/sub".to_owned(),
        writable,
    };
    let step = step
        .with_mount("/data", view(writable))
        .with_mount("/ro", view(None));
    let (result, output) = step.run();
    assert_eq!(result.unwrap().exit, Exit::Code(1));
    assert!(output.starts_with("file\nw\nw\nfile\n"), "{output}");
    assert!(output.contains("Read-only file system"), "{output}");
    assert!(lower.join("sub/file").exists() && !lower.join("sub/w").exists());
    assert!(upper.join("sub/w").exists());
    assert_eq!(step.changed(), [""; 0]);
}

#[test]
fn mounts_nest_whatever_their_order() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new("ls /m; cat /m/d/file; ls /m/c");
    let (context, cache) = (step.host_directory("context"), step.host_directory("cache"));
    let bind = |source, read_only| MountKind::Bind {
        source,
        sub_path: String::new(),
        read_only,
    };
    let step = step
        .with_mount("/m/d", bind(context, true))
        .with_mount("/m/c", bind(cache, false))
        .with_mount(
            "/m",
            MountKind::Tmpfs {
                size: None,
                mode: 0o1777,
                read_only: false,
            },
        );
    assert_eq!(step.output(), "c\nd\ncontent\nfile\n");
    assert_eq!(step.changed(), [""; 0]);
}

#[test]
fn a_mount_point_that_cannot_be_made_is_named() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new("true");
    let context = step.host_directory("context");
    let step = step
        .with_mount(
            "/m",
            MountKind::Bind {
                source: context,
                sub_path: String::new(),
                read_only: true,
            },
        )
        .with_mount(
            "/m/gone",
            MountKind::Tmpfs {
                size: None,
                mode: 0o755,
                read_only: false,
            },
        );
    assert_eq!(
        step.failure().to_string(),
        "cannot set up the sandbox: cannot create the mount point `/m/gone`: read-only file system"
    );
}

#[test]
fn kernel_paths_are_masked_or_read_only() {
    require_capability!(Root, Program("busybox"));
    let command = "for f in keys timer_list kcore; do [ ! -e /proc/$f ] || [ -c /proc/$f ] || echo $f; done; \
        for d in /sys/firmware /proc/acpi /proc/scsi; do [ ! -e $d ] || ls -A $d; done; \
        for d in /proc/bus /proc/fs /proc/irq /proc/sys /sys /sys/fs/cgroup; do \
        [ ! -e $d ] || grep -q \" $d [a-z0-9]* ro,\" /proc/mounts || echo $d; done; \
        (echo 1 > /proc/sys/kernel/hostname) 2>/dev/null && echo written; true";
    assert_eq!(Step::new(command).output(), "");
}

#[test]
fn devices_are_the_standard_ones() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new(
        "ls /dev | busybox tr '\\n' ' '; echo x > /dev/null; busybox head -c 3 /dev/zero | wc -c; touch /dev/shm/x; \
        stat -c %a /dev/shm; test -c /dev/ptmx && test -d /dev/mqueue && echo ok; busybox touch /dev/y && busybox mkdir /dev/z",
    );
    assert_eq!(
        step.output(),
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 3\n1777\nok\n"
    );
    assert_eq!(step.changed(), [""; 0]);
}

fn device(path: &str, kind: DeviceKind, number: (u32, u32)) -> Device {
    Device {
        path: path.to_owned(),
        source: "/dev/null".into(),
        kind,
        major: number.0,
        minor: number.1,
        mode: 0o640,
        uid: 7,
        gid: 8,
    }
}

#[test]
fn further_devices_have_their_kind_number_mode_and_owner() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new(
        "cd /dev; stat -c '%n %F %t:%T %a %u %g' test0 sub/test1 pipe full; echo x > test0; \
        busybox head -c 2 zero | wc -c",
    );
    step.spec.devices = vec![
        device("/dev/test0", DeviceKind::Character, (9, 9)),
        device("/dev//./test0", DeviceKind::Character, (1, 3)),
        device("/dev/sub/test1", DeviceKind::Block, (7, 0)),
        device("/dev/pipe", DeviceKind::Pipe, (0, 0)),
        // In the place of a standard one.
        device("/dev/full", DeviceKind::Character, (1, 5)),
    ];
    assert_eq!(
        step.output(),
        "test0 character special file 1:3 640 7 8\nsub/test1 block special file 7:0 640 7 8\n\
        pipe fifo 0:0 640 7 8\nfull character special file 1:5 640 7 8\n2\n"
    );
    assert_eq!(step.changed(), [""; 0]);
    step.spec.devices = vec![device("/srv/x", DeviceKind::Character, (1, 3))];
    assert_eq!(
        step.failure().to_string(),
        "the specification of the sandbox is wrong: the device `/srv/x` is not below `/dev`"
    );
}

#[test]
fn an_insecure_step_sees_the_machine_writable_and_its_devices() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new(
        "cd /dev; for d in cuse fuse kmsg kvm loop-control net/tun loop*[0-9]; do \
        [ ! -e $d ] || stat -c '%n %F %t:%T' $d; done; \
        for m in /sys /sys/fs/cgroup /proc; do grep -q \" $m [a-z0-9]* rw,\" /proc/mounts || echo $m; done; \
        for f in /proc/keys /proc/timer_list /sys/firmware; do ! grep -q \" $f \" /proc/mounts || echo $f; done; \
        busybox mkdir /sys/fs/cgroup/made && busybox rmdir /sys/fs/cgroup/made; \
        busybox cat /proc/sys/kernel/printk > /proc/sys/kernel/printk",
    );
    step.spec.security = Security::Insecure;
    let mut expected = String::new();
    let loops: Vec<_> = (0..8).map(|number| format!("loop{number}")).collect();
    let names = ["cuse", "fuse", "kmsg", "kvm", "loop-control", "net/tun"];
    for name in names.into_iter().chain(loops.iter().map(String::as_str)) {
        if let Ok(found) = fs::metadata(Path::new("/dev").join(name)) {
            let kind = if found.file_type().is_block_device() {
                "block"
            } else {
                "character"
            };
            let number = found.rdev();
            let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
            expected += &format!("{name} {kind} special file {major:x}:{minor:x}\n");
        }
    }
    assert_eq!(step.output(), expected);
}
