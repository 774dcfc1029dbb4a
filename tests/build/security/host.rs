//! The machine: its files, processes, sockets, mounts and settings from inside a step.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};

use builder::sandbox::{MountKind, Network, Security};

use super::{as_user, perl};
use crate::sandbox::Step;
use crate::support::bases::{self, Base};
use crate::support::{TestEnv, require_capability};

#[test]
fn the_first_process_shows_nothing() {
    require_capability!(Root, Program("busybox"));
    let command = "for f in cwd root exe; do ls /proc/1/$f/ 2>/dev/null && echo $f; done; for n in 0 1 2 3; do busybox readlink /proc/1/fd/$n && echo $n; done; for f in environ maps mem auxv stack io; do busybox head -c 1 /proc/1/$f 2>/dev/null && echo $f; done; \
        for n in mnt pid net; do busybox readlink /proc/1/ns/$n && echo $n; done; true";
    assert_eq!(Step::new(command).output(), "");
    assert_eq!(as_user(Step::new(command)).output(), "");
}

#[test]
fn settings_of_the_machine_cannot_be_written() {
    require_capability!(Root, Program("busybox"));
    let command = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/sysrq /proc/sysrq-trigger \
        /proc/sys/kernel/hotplug /proc/sys/fs/binfmt_misc/register /proc/sys/vm/drop_caches /proc/sys/vm/panic_on_oom \
        /sys/kernel/uevent_helper /sys/power/state /sys/kernel/mm/ksm/run /sys/fs/cgroup/cgroup.procs /proc/irq/0/smp_affinity \
        /sys/kernel/security/apparmor/.load /proc/1/attr/current /proc/1/setgroups /proc/1/uid_map; do \
        [ -e $f ] && (echo 0 > $f) 2>/dev/null && echo $f; done; \
        for f in /proc/kcore /proc/kmsg /proc/interrupts /proc/keys /proc/timer_list /dev/core; do \
        [ -e $f ] && busybox timeout 1 busybox head -c 1 $f 2>/dev/null | grep -q . && echo $f; done; true";
    assert_eq!(Step::new(command).output(), "");
    assert_eq!(as_user(Step::new(command)).output(), "");
}

#[test]
fn processes_of_the_machine_are_out_of_reach() {
    require_capability!(Root, Program("busybox"));
    let mut bystander = Command::new("sleep").arg("97551").spawn().unwrap();
    let pid = bystander.id();
    let step = Step::new(&format!(
        "kill -9 {pid} 2>/dev/null && echo killed; ls -d /proc/{pid} 2>/dev/null; grep -l 97551 /proc/[0-9]*/cmdline 2>/dev/null | grep -v -e /$$/ -e self; true"
    ));
    let output = step.output();
    let alive = bystander.try_wait().unwrap().is_none();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert!(alive);
    assert!(
        !output.contains("killed") && !output.contains(&format!("/proc/{pid}\n")),
        "{output}"
    );
}

#[test]
fn without_network_abstract_sockets_of_the_machine_are_unseen() {
    require_capability!(Root, Program("busybox"), Program("perl"));
    let name = format!("builder-test-{}", std::process::id());
    let _listener =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let connect = format!(
        "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) or die; \
        print connect(S, pack('S a*', AF_UNIX, qq(\\0{name}))) ? 'reached' : $! + 0"
    );
    let mut step = perl(&connect);
    step.spec.network = Network::None;
    let refused = rustix::io::Errno::CONNREFUSED.raw_os_error();
    assert_eq!(step.output(), refused.to_string());
}

#[test]
fn mounts_are_refused_and_those_of_an_insecure_step_are_not_seen_outside() {
    require_capability!(Root, Program("busybox"));
    let command = "mount -t tmpfs none /m && echo mounted; busybox touch /m/inside && ls /m";
    let shared = |secure: bool| {
        let mut step = Step::new(command);
        if !secure {
            step.spec.security = Security::Insecure;
        }
        let source = step.host_directory("shared");
        step.with_mount(
            "/m",
            MountKind::Bind {
                source,
                sub_path: String::new(),
                read_only: false,
            },
        )
    };
    let step = shared(false);
    assert_eq!(step.output(), "mounted\ninside\n");
    assert!(!step.path("shared/inside").exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(step.path("shared").to_str().unwrap()));
    let step = shared(true);
    assert!(!step.output().contains("mounted"));
    assert!(step.path("shared/inside").exists());
}

#[test]
fn descriptors_and_the_environment_of_the_builder_do_not_reach_a_step() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    env.write(
        "context/Dockerfile",
        "FROM base\nRUN ls /proc/self/fd | wc -l; env; cat /proc/self/environ | tr '\\0' '\\n'\n",
    );
    let mut command = env.command("build", ["--progress", "plain"]);
    command
        .args(bases::build_context("base", Base::Busybox))
        .arg("context");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec 7</etc/passwd 9>left-open; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(env.path("."))
        .env("WHAT_A_STEP_SHALL_NOT_SEE", "97552")
        .stdin(Stdio::null());
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    // The fourth is that of `ls`.
    assert!(text.lines().any(|line| line.ends_with(" 4")), "{text}");
    assert!(!text.contains("97552"), "{text}");
}
