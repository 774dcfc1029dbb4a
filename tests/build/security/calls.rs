//! System calls: what the kernel answers to those that the filter refuses, with arguments that it would not refuse itself.

use rustix::io::Errno;

use super::{as_user, perl};
use crate::support::require_capability;

/// What each call with these arguments answers: 0 or the error number.
fn answers(calls: &[(i64, &str)], user: bool) -> Vec<i32> {
    let one = |(number, arguments): &(i64, &str)| {
        format!(
            "$! = 0; $r = syscall({number}, {arguments}); print(($r == -1 ? $! + 0 : 0), qq(\\n));"
        )
    };
    let program: String = calls.iter().map(one).collect();
    let step = perl(&program);
    let step = if user { as_user(step) } else { step };
    let output = step.output();
    output.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn calls_on_the_machine_are_refused() {
    require_capability!(Root, Program("busybox"), Program("perl"));
    const NOTHING: &str = "0, 0, 0, 0, 0, 0";
    let refused = [
        (libc::SYS_bpf, NOTHING),
        (libc::SYS_perf_event_open, NOTHING),
        (libc::SYS_userfaultfd, NOTHING),
        (libc::SYS_io_uring_setup, NOTHING),
        (libc::SYS_keyctl, NOTHING),
        (libc::SYS_add_key, NOTHING),
        (libc::SYS_request_key, NOTHING),
        (libc::SYS_open_by_handle_at, NOTHING),
        (libc::SYS_mount, NOTHING),
        (libc::SYS_umount2, NOTHING),
        (libc::SYS_fsopen, NOTHING),
        (libc::SYS_open_tree, NOTHING),
        (libc::SYS_move_mount, NOTHING),
        (libc::SYS_pivot_root, NOTHING),
        (libc::SYS_setns, NOTHING),
        (libc::SYS_unshare, NOTHING),
        (libc::SYS_init_module, NOTHING),
        (libc::SYS_kexec_load, NOTHING),
        (libc::SYS_reboot, NOTHING),
        (libc::SYS_syslog, NOTHING),
        (libc::SYS_sethostname, NOTHING),
        (libc::SYS_settimeofday, NOTHING),
        (libc::SYS_swapon, NOTHING),
        (libc::SYS_acct, NOTHING),
        (libc::SYS_pidfd_getfd, NOTHING),
        // A user namespace, a foreign personality, a socket to the hypervisor.
        (libc::SYS_clone, "0x10000011, 0, 0, 0, 0"),
        (libc::SYS_personality, "0x400000"),
        (libc::SYS_socket, "40, 1, 0"),
    ];
    for user in [false, true] {
        for (call, answer) in refused.iter().zip(answers(&refused, user)) {
            assert_eq!(answer, Errno::PERM.raw_os_error(), "{call:?}, {user}");
        }
    }
}

#[test]
fn unknown_calls_are_not_there_and_the_others_work() {
    require_capability!(Root, Program("busybox"), Program("perl"));
    let unknown = [
        (libc::SYS_clone3, "0, 0"),
        (0x0fff, "0, 0"),
        // Of another form of the processor's programs: x32 where there is that.
        (0x4000_0000 + libc::SYS_getpid, "0"),
    ];
    for (call, answer) in unknown.iter().zip(answers(&unknown, false)) {
        assert_eq!(answer, Errno::NOSYS.raw_os_error(), "{call:?}");
    }
    let allowed = [
        (libc::SYS_getpid, "0"),
        (libc::SYS_personality, "0xffffffff"),
        (libc::SYS_personality, "0x40000"),
        (libc::SYS_socket, "1, 1, 0"),
        // A debugger's child asks to be traced.
        (libc::SYS_ptrace, "0, 0, 0, 0"),
    ];
    assert_eq!(answers(&allowed, true), [0; 5]);
}

#[test]
fn the_first_process_can_be_neither_traced_nor_read() {
    require_capability!(Root, Program("busybox"), Program("perl"));
    let calls = [
        (libc::SYS_ptrace, "16, 1, 0, 0"),
        // PTRACE_SEIZE.
        (libc::SYS_ptrace, "0x4206, 1, 0, 0"),
        (libc::SYS_process_vm_readv, "1, 0, 0, 0, 0, 0"),
    ];
    for user in [false, true] {
        let found = answers(&calls, user);
        assert_eq!(found[..2], [Errno::PERM.raw_os_error(); 2], "{user}");
    }
    let read = "$b = 'x' x 8; $l = pack('PQ', $b, 8); $a = pack('QQ', 0x400000, 8); \
        syscall(NUMBER, 1, $l, 1, $a, 1, 0); print $! + 0";
    let read = read.replace("NUMBER", &libc::SYS_process_vm_readv.to_string());
    assert_eq!(perl(&read).output(), Errno::PERM.raw_os_error().to_string());
}
