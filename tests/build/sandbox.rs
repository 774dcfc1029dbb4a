//! The native sandbox against the real kernel: each test runs a few commands of a static busybox in it.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests make and look at plain files, and say why they do not run"
)]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use builder::sandbox::{
    Cancel, Exit, FileContent, IdMap, IdMaps, LimitedResource, Mount, MountKind, NativeRunner,
    Network, OverlayView, RunOutcome, SandboxError, SandboxSpec, Security, StepRunner as _, Ulimit,
    UpperDirectories, User,
};
use builder::sys::probe;

const BUSYBOX: &str = "/bin/busybox";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether the machine can run a sandbox. Where it cannot, a test says why and returns; in CI it fails.
fn possible() -> bool {
    let obstacle = match probe::kernel().check() {
        Err(obstacle) => obstacle.to_string(),
        Ok(()) if !Path::new(BUSYBOX).exists() => format!("`{BUSYBOX}` is missing"),
        Ok(()) => return true,
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "cannot test the sandbox: {obstacle}"
    );
    println!("not tested: {obstacle}");
    false
}

/// A root file system with a shell, and room for the changes to it.
struct Step {
    folder: tempfile::TempDir,
    spec: SandboxSpec,
}

impl Step {
    fn new(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        for name in ["base/bin", "base/etc", "base/tmp", "upper", "work"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::copy(BUSYBOX, base.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "ls", "cat", "id", "stat", "sleep", "grep", "ip", "hostname", "mount", "wc",
        ] {
            symlink("busybox", base.join("bin").join(applet)).unwrap();
        }
        let rootfs = OverlayView {
            lower: vec![base],
            upper: folder.path().join("upper"),
            work: folder.path().join("work"),
        };
        let argv = ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
        let mut spec = SandboxSpec::new(rootfs, argv);
        spec.env = vec![("PATH".to_owned(), PATH.to_owned())].into();
        Self { folder, spec }
    }

    fn with_mount(mut self, target: &str, kind: MountKind) -> Self {
        self.spec.mounts.push(Mount {
            target: target.to_owned(),
            kind,
        });
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A directory of the host with one file in it.
    fn host_directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("file"), "content\n").unwrap();
        path
    }

    fn run(&self) -> (Result<RunOutcome, SandboxError>, String) {
        self.run_with(&Cancel::new())
    }

    fn run_with(&self, cancel: &Cancel) -> (Result<RunOutcome, SandboxError>, String) {
        let mut output = Vec::new();
        let result = runner().run(
            &self.spec,
            &mut |bytes| output.extend_from_slice(bytes),
            cancel,
        );
        (result, String::from_utf8(output).unwrap())
    }

    /// Runs a command that ends well; what it printed.
    fn output(&self) -> String {
        let (result, output) = self.run();
        assert_eq!(
            result.expect("the sandbox runs").exit,
            Exit::Code(0),
            "{output}"
        );
        output
    }

    fn failure(&self) -> SandboxError {
        self.run().0.expect_err("the sandbox does not run")
    }

    /// What the step changed, as paths, sorted.
    fn changed(&self) -> Vec<String> {
        fn walk(folder: &Path, below: &str, into: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), &path, into);
                }
                into.push(path);
            }
        }
        let mut paths = Vec::new();
        walk(&self.path("upper"), "", &mut paths);
        paths.sort();
        paths
    }
}

fn runner() -> NativeRunner {
    NativeRunner::with_executable(env!("CARGO_BIN_EXE_builder"))
}

#[test]
fn output_arrives_in_order_and_the_exit_code_is_exact() {
    if !possible() {
        return;
    }
    let (result, output) = Step::new("echo one; echo two >&2; echo three; exit 7").run();
    let outcome = result.unwrap();
    assert_eq!(
        (outcome.exit, output.as_str()),
        (Exit::Code(7), "one\ntwo\nthree\n")
    );
    assert!(outcome.resources.max_rss_bytes > 0);
    assert!(outcome.wall_time > Duration::ZERO);
}

#[test]
fn much_output_arrives_whole() {
    if !possible() {
        return;
    }
    let output =
        Step::new("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; busybox seq 1 200000")
            .output();
    assert_eq!(output.lines().count(), 203_000);
    assert!(output.ends_with("\n200000\n"));
}

#[test]
fn death_by_a_signal_is_told_from_an_exit_code() {
    if !possible() {
        return;
    }
    assert_eq!(
        Step::new("kill -TERM $$").run().0.unwrap().exit,
        Exit::Signal(15)
    );
    assert_eq!(
        Step::new("(kill -9 $BASHPID; :); exit 143")
            .run()
            .0
            .unwrap()
            .exit,
        Exit::Code(143)
    );
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    if !possible() {
        return;
    }
    let mut step = Step::new("");
    step.spec.argv = ["busybox", "env"].map(str::to_owned).to_vec();
    let env = [("PATH", PATH), ("EMPTY", ""), ("SPACES", " a  b ")];
    step.spec.env = env
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
        .into();
    assert_eq!(
        step.output(),
        format!("PATH={PATH}\nEMPTY=\nSPACES= a  b \n")
    );
}

#[test]
fn standard_input_is_empty_and_signals_are_default() {
    if !possible() {
        return;
    }
    assert_eq!(Step::new("cat; echo end").output(), "end\n");
    // Without a shell, which ignores one itself.
    let mut step = Step::new("");
    step.spec.argv = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]
        .map(str::to_owned)
        .to_vec();
    let signals = step.output();
    assert_eq!(
        signals,
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

#[test]
fn the_host_name_is_the_given_one() {
    if !possible() {
        return;
    }
    let mut step = Step::new("hostname; cat /proc/sys/kernel/hostname");
    assert_eq!(step.output(), "buildkitsandbox\nbuildkitsandbox\n");
    step.spec.hostname = "other".to_owned();
    fs::remove_dir_all(step.path("work")).unwrap();
    fs::create_dir(step.path("work")).unwrap();
    assert_eq!(step.output(), "other\nother\n");
}

#[test]
fn a_missing_working_directory_is_made_and_kept() {
    if !possible() {
        return;
    }
    let mut step = Step::new("busybox pwd");
    step.spec.cwd = "/a/b".to_owned();
    assert_eq!(step.output(), "/a/b\n");
    assert_eq!(step.changed(), ["/a", "/a/b"]);
    assert_eq!(
        fs::metadata(step.path("upper/a/b")).unwrap().mode() & 0o7777,
        0o755
    );
}

#[test]
fn a_working_directory_that_is_a_file_is_named() {
    if !possible() {
        return;
    }
    let mut step = Step::new("true");
    step.spec.cwd = "/bin/busybox".to_owned();
    assert_eq!(
        step.failure().to_string(),
        "cannot set up the sandbox: cannot change the directory to `/bin/busybox`: not a directory"
    );
}

#[test]
fn user_group_and_supplementary_groups_are_set() {
    if !possible() {
        return;
    }
    let mut step = Step::new("id; umask; echo x > /tmp/x; echo seen > /dev/stdout");
    step.spec.user = User {
        uid: 1000,
        gid: 1001,
        groups: vec![5, 1001],
    };
    fs::set_permissions(step.path("base/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(
        step.output(),
        "uid=1000 gid=1001 groups=5,1001\n0022\nseen\n"
    );
    let made = fs::metadata(step.path("upper/tmp/x")).unwrap();
    assert_eq!(
        (made.uid(), made.gid(), made.mode() & 0o777),
        (1000, 1001, 0o644)
    );
    assert_eq!(Step::new("id").output(), "uid=0 gid=0\n");
}

#[test]
fn capabilities_are_the_default_ones() {
    if !possible() {
        return;
    }
    let command = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status";
    let sets = |inh: u64, prm: u64, eff: u64, bnd: u64, amb: u64| {
        format!(
            "CapInh:\t{inh:016x}\nCapPrm:\t{prm:016x}\nCapEff:\t{eff:016x}\nCapBnd:\t{bnd:016x}\nCapAmb:\t{amb:016x}\nNoNewPrivs:\t0\n"
        )
    };
    let default = 0xa804_25fb;
    let mut step = Step::new(command);
    assert_eq!(step.output(), sets(0, default, default, default, 0));
    let mut user = Step::new(command);
    user.spec.user.uid = 1000;
    assert_eq!(user.output(), sets(0, 0, 0, default, 0));

    step = Step::new(command);
    step.spec.security = Security::Insecure;
    let output = step.output();
    assert!(
        output.contains("CapEff:\t000001ffffffffff\n") || !output.contains("a80425fb"),
        "{output}"
    );
    step = Step::new(
        "busybox mount -t tmpfs none /tmp && test -w /proc/sys/kernel/hostname && test -c /dev/fuse",
    );
    step.spec.security = Security::Insecure;
    assert_eq!(step.output(), "");
    assert_ne!(
        Step::new("busybox mount -t tmpfs none /tmp 2>/dev/null")
            .run()
            .0
            .unwrap()
            .exit,
        Exit::Code(0)
    );
}

#[test]
fn mount_points_do_not_show_in_the_layer() {
    if !possible() {
        return;
    }
    for code in [0, 3] {
        let mut step = Step::new(&format!(
            "cat /etc/hosts /run/secrets/token; touch /made 2>&1; echo > /made; exit {code}"
        ));
        step.spec.hosts = Some(b"127.0.0.1 localhost\n".to_vec());
        step.spec.resolv_conf = Some(b"nameserver 1.1.1.1\n".to_vec());
        let step = step
            .with_mount("/run/secrets/token", secret(b"s3cret\n", 0o400))
            .with_mount(
                "/deep/er/dir",
                MountKind::Tmpfs {
                    size: None,
                    mode: 0o755,
                },
            );
        let etc = step.path("base/etc");
        let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(&etc)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        let (result, output) = step.run();
        assert_eq!(result.unwrap().exit, Exit::Code(code));
        assert!(
            output.starts_with("127.0.0.1 localhost\ns3cret\n"),
            "{output}"
        );
        // The folder was copied up; the difference to the layer below is none, times included.
        assert_eq!(step.changed(), ["/etc", "/made"]);
        assert_eq!(
            fs::metadata(step.path("upper/etc"))
                .unwrap()
                .modified()
                .unwrap(),
            long_ago
        );
    }
}

#[test]
fn mount_points_that_existed_or_were_used_stay() {
    if !possible() {
        return;
    }
    let step = Step::new("echo x > /run/other; cat /etc/hosts");
    fs::write(step.path("base/etc/hosts"), "").unwrap();
    let mut step = step.with_mount("/run/secrets/token", secret(b"x", 0o400));
    step.spec.hosts = Some(b"mounted\n".to_vec());
    assert_eq!(step.output(), "mounted\n");
    assert_eq!(step.changed(), ["/run", "/run/other"]);
    assert!(step.path("base/etc/hosts").exists());
}

#[test]
fn hostile_links_do_not_lead_out() {
    if !possible() {
        return;
    }
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
            },
        )
        .with_mount(
            &target,
            MountKind::Tmpfs {
                size: None,
                mode: 0o755,
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

fn secret(content: &[u8], mode: u32) -> MountKind {
    MountKind::File {
        content: FileContent(content.to_vec()),
        mode,
        uid: 0,
        gid: 0,
    }
}

#[test]
fn secret_files_have_exact_mode_owner_and_content_and_are_read_only() {
    if !possible() {
        return;
    }
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
    if !possible() {
        return;
    }
    let command = "grep ' /t ' /proc/mounts | busybox cut -d' ' -f1,3; stat -c %a /t; busybox dd if=/dev/zero of=/t/x bs=1M count=2 2>/dev/null; stat -c %s /t/x";
    let step = Step::new(command).with_mount(
        "/t",
        MountKind::Tmpfs {
            size: Some(1 << 20),
            mode: 0o1777,
        },
    );
    assert_eq!(step.output(), "tmpfs tmpfs\n1777\n1048576\n");
    assert_eq!(step.changed(), [""; 0]);
}

#[test]
fn read_only_binds_refuse_writes_and_writable_ones_take_them() {
    if !possible() {
        return;
    }
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
    if !possible() {
        return;
    }
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
    if !possible() {
        return;
    }
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
    if !possible() {
        return;
    }
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
            },
        );
    assert_eq!(step.output(), "c\nd\ncontent\nfile\n");
    assert_eq!(step.changed(), [""; 0]);
}

#[test]
fn a_mount_point_that_cannot_be_made_is_named() {
    if !possible() {
        return;
    }
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
            },
        );
    assert_eq!(
        step.failure().to_string(),
        "cannot set up the sandbox: cannot create the mount point `/m/gone`: read-only file system"
    );
}

#[test]
fn background_processes_end_with_the_command() {
    if !possible() {
        return;
    }
    let marker = "97531";
    let step = Step::new(&format!(
        "(sleep {marker}; echo late > /late) & (busybox setsid sleep {marker} &) ; echo started"
    ));
    assert_eq!(step.output(), "started\n");
    assert_eq!(processes_with(marker), 0);
    assert_eq!(step.changed(), [""; 0]);
}

/// How many processes of the machine have this word among their arguments.
fn processes_with(word: &str) -> usize {
    let of = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let commands = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| of(entry.unwrap()));
    commands
        .filter(|command| {
            command
                .split(|&byte| byte == 0)
                .any(|argument| argument == word.as_bytes())
        })
        .count()
}

/// Waits until something is so; the limit is only there for the test to end.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("never: {what}");
}

#[test]
fn a_cancel_kills_everything() {
    if !possible() {
        return;
    }
    let marker = "97532";
    let step = Step::new(&format!(
        "busybox trap '' TERM INT; sleep {marker} & sleep {marker}"
    ));
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let running = scope.spawn(|| step.run_with(&cancel).0);
        eventually("the command runs", || processes_with(marker) == 2);
        cancel.cancel();
        assert!(matches!(
            running.join().unwrap(),
            Err(SandboxError::Cancelled)
        ));
    });
    assert_eq!(processes_with(marker), 0);
    assert_eq!(step.changed(), [""; 0]);
    assert!(matches!(
        step.run_with(&cancel).0,
        Err(SandboxError::Cancelled)
    ));
}

#[test]
fn a_time_limit_kills_everything() {
    if !possible() {
        return;
    }
    let marker = "97533";
    let mut step = Step::new(&format!("echo before; sleep {marker}"));
    step.spec.timeout = Some(Duration::from_millis(300));
    let (result, output) = step.run();
    assert_eq!(
        result.unwrap_err().to_string(),
        "stopped after 0.3 s, its time limit"
    );
    assert_eq!(output, "before\n");
    assert_eq!(processes_with(marker), 0);
}

#[test]
fn a_deletion_leaves_a_whiteout() {
    if !possible() {
        return;
    }
    let step = Step::new("busybox rm /etc/gone; busybox mv /etc/dir /etc/moved");
    fs::write(step.path("base/etc/gone"), "x").unwrap();
    fs::create_dir(step.path("base/etc/dir")).unwrap();
    fs::write(step.path("base/etc/dir/inside"), "x").unwrap();
    step.output();
    assert_eq!(
        step.changed(),
        [
            "/etc",
            "/etc/dir",
            "/etc/gone",
            "/etc/moved",
            "/etc/moved/inside"
        ]
    );
    let gone = fs::symlink_metadata(step.path("upper/etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
}

#[test]
fn two_hundred_layers_are_one_file_system() {
    if !possible() {
        return;
    }
    let mut step =
        Step::new("ls /many | wc -l; cat /top; busybox cut -c1-40 /proc/mounts | grep ' / '");
    let layers: Vec<_> = (0..400)
        .map(|number| step.path(&format!("a-rather-long-name-of-a-layer-directory/{number}")))
        .collect();
    for (number, layer) in layers.iter().enumerate() {
        fs::create_dir_all(layer.join("many")).unwrap();
        fs::write(layer.join(format!("many/{number}")), "").unwrap();
        fs::write(layer.join("top"), format!("{number}\n")).unwrap();
    }
    step.spec.rootfs.lower.splice(0..0, layers);
    let output = step.output();
    assert!(output.starts_with("400\n0\noverlay / overlay"), "{output}");
}

#[test]
fn a_stage_from_scratch_has_no_layers() {
    if !possible() {
        return;
    }
    let mut step = Step::new("");
    step.spec.rootfs.lower.clear();
    let source = PathBuf::from(BUSYBOX);
    let mut step = step.with_mount(
        "/busybox",
        MountKind::Bind {
            source,
            sub_path: String::new(),
            read_only: true,
        },
    );
    step.spec.argv = ["/busybox", "touch", "/made"].map(str::to_owned).to_vec();
    step.output();
    assert_eq!(step.changed(), ["/made"]);
}

#[test]
fn a_command_that_cannot_start_is_told_like_a_runtime_would() {
    if !possible() {
        return;
    }
    let step = Step::new("");
    fs::write(step.path("base/etc/script"), "#!/no/interpreter\n").unwrap();
    fs::write(step.path("base/etc/text"), "echo\n").unwrap();
    fs::set_permissions(
        step.path("base/etc/script"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    fs::write(step.path("base/etc/binary"), [0x7f, b'E', b'L', b'F', 9]).unwrap();
    fs::set_permissions(
        step.path("base/etc/binary"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let cases = [
        (
            "no-such-tool",
            127,
            "exec: \"no-such-tool\": executable file not found in $PATH",
        ),
        (
            "/no/such/tool",
            127,
            "exec: \"/no/such/tool\": stat /no/such/tool: no such file or directory",
        ),
        (
            "/etc/script",
            127,
            "exec /etc/script: no such file or directory",
        ),
        ("/etc/text", 126, "exec: \"/etc/text\": permission denied"),
        ("/etc", 126, "exec: \"/etc\": is a directory"),
        ("/etc/binary", 126, "exec /etc/binary: exec format error"),
    ];
    let mut step = step;
    for (name, code, text) in cases {
        step.spec.argv = vec![name.to_owned(), "argument".to_owned()];
        for folder in ["upper", "work"] {
            fs::remove_dir_all(step.path(folder)).unwrap();
            fs::create_dir(step.path(folder)).unwrap();
        }
        let error = step.failure();
        assert_eq!(
            (error.to_string().as_str(), error.exit_code()),
            (text, Some(code))
        );
    }
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    if !possible() {
        return;
    }
    let mut step = Step::new("true");
    step.spec.rootfs.lower.push("/no/such/layer".into());
    assert_eq!(
        step.failure().to_string(),
        "cannot set up the sandbox: cannot open the source `/no/such/layer`: no such file or directory"
    );
}

#[test]
fn kernel_paths_are_masked_or_read_only() {
    if !possible() {
        return;
    }
    let command = "for f in keys timer_list kcore; do [ ! -e /proc/$f ] || [ -c /proc/$f ] || echo $f; done; \
        for d in /sys/firmware /proc/acpi /proc/scsi; do [ ! -e $d ] || ls -A $d; done; \
        for d in /proc/bus /proc/fs /proc/irq /proc/sys /sys /sys/fs/cgroup; do \
        [ ! -e $d ] || grep -q \" $d [a-z0-9]* ro,\" /proc/mounts || echo $d; done; \
        (echo 1 > /proc/sys/kernel/hostname) 2>/dev/null && echo written; true";
    assert_eq!(Step::new(command).output(), "");
}

#[test]
fn devices_are_the_standard_ones() {
    if !possible() {
        return;
    }
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

#[test]
fn without_network_there_is_only_loopback_and_it_is_up() {
    if !possible() {
        return;
    }
    let mut step = Step::new(
        "ls /sys/class/net; cat /proc/net/route | wc -l; ip addr show lo | grep -o -e LOOPBACK,UP -e 'inet 127.0.0.1/8'",
    );
    step.spec.network = Network::None;
    assert_eq!(step.output(), "lo\n1\nLOOPBACK,UP\ninet 127.0.0.1/8\n");
}

#[test]
fn limits_are_set() {
    if !possible() {
        return;
    }
    let mut step = Step::new("ulimit -Sn; ulimit -Hn; ulimit -c");
    let limit = |resource, soft, hard| Ulimit {
        resource,
        soft: Some(soft),
        hard: Some(hard),
    };
    step.spec.ulimits = vec![
        limit(LimitedResource::OpenFiles, 100, 200),
        limit(LimitedResource::Core, 0, 0),
    ];
    assert_eq!(step.output(), "100\n200\n0\n");
}

#[test]
fn the_command_has_three_descriptors_and_sees_no_processes_of_the_machine() {
    if !possible() {
        return;
    }
    // The fourth is that of `ls` itself. The processes: our PID 1, the shell, `ls` and `wc`.
    let step = Step::new(
        "ls /proc/self/fd | wc -l; ls -d /proc/[0-9]* | wc -l; cat /proc/1/cmdline; cat /proc/1/environ; ls /proc/1/cwd/",
    );
    let (result, output) = step.run();
    assert_ne!(result.unwrap().exit, Exit::Code(0));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[0], "4");
    assert_eq!(lines[1], "4", "{output}");
    assert_eq!(output.matches("Permission denied").count(), 2, "{output}");
}

#[test]
fn the_builders_executable_cannot_be_written_through_the_sandbox() {
    if !possible() {
        return;
    }
    // A privileged step sees the file that PID 1 runs. That it is busy protects it only until PID 1 ends; its mount does
    // for good.
    let mut step = Step::new("busybox chmod 755 /proc/1/exe");
    step.spec.security = Security::Insecure;
    let (_, output) = step.run();
    assert_eq!(output, "chmod: /proc/1/exe: Read-only file system\n");
}

/// Not a test: the process that `a_killed_builder_takes_everything_with_it` kills.
#[test]
#[ignore = "runs until it is killed; started by another test"]
fn a_builder_to_be_killed() {
    let step = Step::new(&format!(
        "sleep {KILL_MARKER} & (busybox setsid sleep {KILL_MARKER} &); sleep {KILL_MARKER}"
    ));
    let (result, _) = step.run();
    panic!("it should have been killed: {result:?}");
}

const KILL_MARKER: &str = "97534";

#[test]
fn a_killed_builder_takes_everything_with_it() {
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut builder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "sandbox::a_builder_to_be_killed"])
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the command runs", || processes_with(KILL_MARKER) == 3);
    builder.kill().unwrap();
    builder.wait().unwrap();
    eventually("everything is gone", || processes_with(KILL_MARKER) == 0);
}

#[test]
fn two_steps_run_at_the_same_time() {
    if !possible() {
        return;
    }
    let steps: Vec<_> = (0..4)
        .map(|number| Step::new(&format!("echo {number} > /n; sleep 0.2; cat /n")))
        .collect();
    let runner = runner();
    thread::scope(|scope| {
        for (number, step) in steps.iter().enumerate() {
            let runner = &runner;
            scope.spawn(move || {
                let mut output = Vec::new();
                let outcome = runner.run(
                    &step.spec,
                    &mut |bytes| output.extend_from_slice(bytes),
                    &Cancel::new(),
                );
                assert_eq!(outcome.unwrap().exit, Exit::Code(0));
                assert_eq!(output, format!("{number}\n").into_bytes());
            });
        }
    });
}

#[test]
fn nothing_is_left_in_the_machines_mounts() {
    if !possible() {
        return;
    }
    let step = Step::new("true");
    step.output();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(step.folder.path().to_str().unwrap()),
        "{mounts}"
    );
    fs::remove_dir_all(step.path("work")).unwrap();
}

#[test]
fn a_scaffold_saves_making_mount_points() {
    if !possible() {
        return;
    }
    let mut step = Step::new("cat /etc/hosts; echo x > /etc/made; ls / | busybox tr '\\n' ' '");
    step.spec.hosts = Some(b"127.0.0.1 localhost\n".to_vec());
    let scaffold = step.path("scaffold");
    let runner = runner().with_scaffold(&scaffold).unwrap();
    let mut output = Vec::new();
    let outcome = runner.run(
        &step.spec,
        &mut |bytes| output.extend_from_slice(bytes),
        &Cancel::new(),
    );
    assert_eq!(outcome.unwrap().exit, Exit::Code(0));
    assert_eq!(output, b"127.0.0.1 localhost\nbin dev etc proc sys tmp ");
    assert_eq!(step.changed(), ["/etc", "/etc/made"]);
    assert_eq!(fs::read(scaffold.join("etc/hosts")).unwrap(), b"");
}

#[test]
fn a_user_namespace_of_one_user_runs_a_step() {
    if !possible() {
        return;
    }
    let command = "id -u; cat /proc/self/uid_map | busybox awk '{print $1, $3}'; echo x > /dev/null; test -c /dev/zero; \
        ls /sys/class/net > /dev/null; hostname; cat /run/secrets/token; echo made > /made; busybox rm /etc/gone";
    let step = Step::new(command).with_mount("/run/secrets/token", secret(b"s3cret\n", 0o400));
    fs::write(step.path("base/etc/gone"), "").unwrap();
    let mut step = step;
    let id = |outside| IdMap {
        inside: 0,
        outside,
        count: 1,
    };
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    step.spec.id_maps = Some(IdMaps {
        uids: vec![id(uid)],
        gids: vec![id(gid)],
    });
    assert_eq!(step.output(), "0\n0 1\nbuildkitsandbox\ns3cret\n");
    assert_eq!(step.changed(), ["/etc", "/etc/gone", "/made"]);
}
