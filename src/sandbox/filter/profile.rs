//! What a step may not call. Everything else that was known when the table was written is allowed.
//!
//! The judgement is that of container engines, so that what builds in a container builds here: refused is what acts on the machine
//! beyond the step's namespaces, and what has been a way out of containers. Most of it the kernel would refuse for want of a
//! capability as well; the filter keeps those parts of the kernel from being reached at all.

use super::{Condition, Verdict};

/// Calls that are refused, by reason. `docs/sandbox.md` has the same table; a test compares them.
pub(super) const REFUSED: [(&str, &[&str]); 8] = [
    (
        "mounts and namespaces",
        &[
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "pivot_root",
            "setns",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    (
        "the machine: its kernel, clock, names, swap, accounting, log",
        &[
            "acct",
            "clock_settime",
            "clock_settime64",
            "create_module",
            "delete_module",
            "finit_module",
            "get_kernel_syms",
            "init_module",
            "kexec_file_load",
            "kexec_load",
            "query_module",
            "quotactl",
            "quotactl_fd",
            "reboot",
            "setdomainname",
            "sethostname",
            "settimeofday",
            "stime",
            "swapoff",
            "swapon",
            "syslog",
            "vhangup",
        ],
    ),
    (
        "programs and events of the kernel",
        &["bpf", "fanotify_init", "lookup_dcookie", "perf_event_open"],
    ),
    (
        "asynchronous calls, which pass by this filter",
        &["io_uring_enter", "io_uring_register", "io_uring_setup"],
    ),
    (
        "faults handled by programs, a tool of exploits",
        &["userfaultfd"],
    ),
    (
        "keys, which are not in a namespace",
        &["add_key", "keyctl", "request_key"],
    ),
    (
        "what is another's: files by handle, descriptors and memory of other processes",
        &[
            "get_mempolicy",
            "kcmp",
            "mbind",
            "migrate_pages",
            "move_pages",
            "open_by_handle_at",
            "pidfd_getfd",
            "process_madvise",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    ),
    (
        "ports, old processors and calls nobody needs",
        &[
            "_sysctl",
            "bdflush",
            "ioperm",
            "iopl",
            "nfsservctl",
            "sysfs",
            "uselib",
            "ustat",
            "vm86",
            "vm86old",
        ],
    ),
];

/// The bits of `clone` that make namespaces.
pub(super) const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// Personalities without a harmful part: Linux, of 32 bits, with 2.6 as its version, both; without random addresses, which
/// debuggers and some builds want (set-user-id programs do not inherit it); and the question for the present one.
const PERSONALITIES: &[u32] = &[0, 0x0008, 0x2_0000, 0x2_0008, 0x4_0000, 0xffff_ffff];

/// Sockets to the hypervisor, which know no network namespace.
pub(super) const AF_VSOCK: u32 = 40;

/// What becomes of a call.
pub(super) fn verdict(name: &str) -> Verdict {
    match name {
        // Its arguments are behind a pointer, where no filter sees them. C libraries take `clone` instead.
        "clone3" => Verdict::Unknown,
        "clone" => Verdict::Depends(Condition::NoneOf(NEW_NAMESPACES)),
        "personality" => Verdict::Depends(Condition::OneOf(PERSONALITIES)),
        "socket" => Verdict::Depends(Condition::Not(AF_VSOCK)),
        name if REFUSED.iter().any(|(_, names)| names.contains(&name)) => Verdict::Refuse,
        _ => Verdict::Allow,
    }
}
