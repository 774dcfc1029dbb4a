//! Processes: fork, exec, namespaces, signals, what children used.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr;
use std::time::Duration;

use rustix::io::{Errno, Result};
use rustix::process::{Pid, Signal, Uid};
use rustix::thread::UnshareFlags;

/// Evidence that the process has one thread, which makes forking it safe. Stays where it was made.
#[derive(Debug)]
pub struct SingleThreaded(PhantomData<*const ()>);

impl SingleThreaded {
    /// Begins a process that has one thread and owns nothing yet: closes every descriptor but the standard three, whatever
    /// it was started with. Whoever holds the evidence starts no threads.
    ///
    /// # Errors
    /// `BUSY` if there are more threads, or if `/proc` does not say; `NOSYS` before Linux 5.9.
    pub fn begin() -> Result<Self> {
        let evidence = Self::so_far()?;
        close_range(3, 0)?;
        Ok(evidence)
    }

    /// Looks whether the process has one thread; what it has inherited stays open. Good until the first thread is started.
    ///
    /// # Errors
    /// `BUSY` if there are more threads, or if `/proc` does not say.
    pub fn so_far() -> Result<Self> {
        // A directory has two links and one for each directory in it: here one a thread.
        let tasks = rustix::fs::stat("/proc/self/task")?;
        if tasks.st_nlink != 3 {
            return Err(Errno::BUSY);
        }
        Ok(Self(PhantomData))
    }
}

/// Has a program killed when the thread that starts it ends, however that comes about.
pub fn dies_with_us(command: &mut Command) {
    let ask = || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(std::io::Error::from)
    };
    // SAFETY: needed because only the child itself can ask the kernel for that, between fork and exec. It holds because
    // the closure makes one system call: it takes no lock and no memory.
    unsafe { command.pre_exec(ask) };
}

/// Which of the two processes this is after a fork.
#[derive(Debug)]
pub enum Fork {
    /// The new one.
    Child,
    /// The old one, with the id of the new one.
    Parent(Pid),
}

/// Makes a copy of the process.
///
/// The child has to end with [`exit_now`] or [`execute`]: returning would run the parent's code a second time.
///
/// # Errors
/// When the kernel has no room for another process.
pub fn fork(_evidence: &SingleThreaded) -> Result<Fork> {
    // SAFETY: needed because no safe crate offers fork. It holds because the process has one thread: no lock can be held by a
    // thread that does not exist in the child, so the child may run any code.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        pid => match Pid::from_raw(pid) {
            Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Fork::Parent(pid)),
            _ => Err(last_errno()),
        },
    }
}

/// Makes a copy of the process in a cgroup of version 2, of which this is the folder: it is never anywhere else, and nobody
/// waits for all processors as for a process that moves. As for [`fork`] otherwise.
///
/// # Errors
/// When the kernel has no room, or does not let the process be there.
pub fn fork_into(_evidence: &SingleThreaded, cgroup: BorrowedFd<'_>) -> Result<Fork> {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    // The kernel's `struct clone_args`: flags, three places for ids, the signal of its end, stack, storage of the thread,
    // ids to choose, and the cgroup.
    let mut arguments = [0_u64; 11];
    arguments[0] = CLONE_INTO_CGROUP;
    arguments[4] = u64::from(libc::SIGCHLD.unsigned_abs());
    arguments[10] = u64::from(cgroup.as_raw_fd().unsigned_abs());
    // SAFETY: needed because no safe crate offers clone3. It holds because the structure is as large as is said, names an open
    // descriptor and no memory or stack, so that the child has copies of everything; and, as for `fork`, because the process
    // has one thread. The C library is not told: in the child it keeps the parent's number of the thread, which only mutexes
    // that check for errors look at, and there are none.
    let pid = unsafe {
        let size = size_of_val(&arguments);
        libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size)
    };
    match i32::try_from(pid) {
        Ok(0) => Ok(Fork::Child),
        Ok(pid) if pid > 0 => Pid::from_raw(pid).map(Fork::Parent).ok_or(Errno::INVAL),
        _ => Err(last_errno()),
    }
}

/// Ends the process at once: no destructors, no buffers written.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: needed because a forked child must not run its parent's exit handlers. It holds because `_exit` has no
    // preconditions.
    unsafe { libc::_exit(code) }
}

/// Replaces the program of this process; returns only when that failed.
#[must_use]
pub fn execute(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| {
        let strings = strings.iter().map(|string| string.as_ptr());
        strings.chain([ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: needed because no safe crate offers exec with an explicit environment. It holds because all three are
    // NUL-terminated strings and NULL-terminated arrays that outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last_errno()
}

/// Whether this machine's processor and kernel run programs of 32 bits beside those of 64: some of ARM do.
#[must_use]
pub fn has_small_programs() -> bool {
    const PER_LINUX32: libc::c_ulong = 8;
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: needed because no safe crate offers this call. It holds because it has no memory to point to, and changes nothing
    // but what this thread tells programs of its machine, which is set back at once.
    unsafe {
        let before = libc::personality(ASK);
        let Ok(before) = libc::c_ulong::try_from(before) else {
            return false;
        };
        let can = libc::personality(PER_LINUX32) >= 0;
        libc::personality(before);
        can
    }
}

/// One of the three descriptors that every program starts with.
#[derive(Clone, Copy, Debug)]
pub enum Standard {
    /// Standard input.
    Input = 0,
    /// Standard output.
    Output = 1,
    /// Standard error.
    Error = 2,
}

/// Makes a standard descriptor mean what `source` means.
///
/// # Errors
/// What the kernel answered.
pub fn redirect(source: BorrowedFd<'_>, standard: Standard) -> Result<()> {
    // SAFETY: needed because the three standard descriptors have no owner that could be borrowed mutably. It holds because the
    // number stays open throughout: dup2 replaces it in one step.
    if unsafe { libc::dup2(source.as_raw_fd(), standard as RawFd) } < 0 {
        return Err(last_errno());
    }
    Ok(())
}

/// Makes a user the owner of whatever standard output is: a pipe can be opened again (`/dev/stdout`) by its owner only.
///
/// # Errors
/// What the kernel answered: `INVAL` for a user that the namespace does not have.
pub fn give_output_to(user: Uid) -> Result<()> {
    // SAFETY: needed because standard output has no owner to borrow from. It holds because a program's first three descriptors
    // stay open to its end: they are replaced (`redirect`), never closed.
    let output = unsafe { BorrowedFd::borrow_raw(Standard::Output as RawFd) };
    rustix::fs::fchown(output, Some(user), None)
}

/// Marks all descriptors from `first` on as not for the next program.
///
/// # Errors
/// `INVAL` before Linux 5.11.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: RawFd, flags: libc::c_uint) -> Result<()> {
    let first = u32::try_from(first).map_err(|_negative| Errno::INVAL)?;
    // SAFETY: needed because no safe crate offers close_range. It holds because both callers keep ownership intact: one only
    // marks descriptors, the other runs when none has an owner yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Moves the process (or, for process ids, its future children) into new namespaces.
///
/// # Errors
/// `PERM` without the right, `NOSPC` at the limit of namespaces, `INVAL` for a kind that the kernel does not know.
pub fn unshare_namespaces(namespaces: UnshareFlags) -> Result<()> {
    let namespaces = namespaces - UnshareFlags::FILES;
    // SAFETY: needed because unsharing the descriptor table can take descriptors away from other threads. It holds because that
    // flag was just taken out.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }
}

/// Gives every signal its default action and unblocks all.
///
/// A Rust program ignores `SIGPIPE`, and ignored signals stay ignored in the next program; so does what the builder itself
/// was started with (`nohup`).
pub fn reset_signals() {
    // The kernel's `struct sigaction`: handler, flags, restorer, mask, all zero for the default action.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: needed because no safe crate sets signal actions, and the C library refuses the two signals that it keeps for
        // itself. It holds because no handler is installed, only the default, from a structure that is as large as the
        // kernel's; the two signals that may not be changed (KILL, STOP) are refused without effect.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null::<u64>(),
                8_usize,
            )
        };
    }
    // SAFETY: needed because a zeroed set is handed to the C library. It holds because `sigset_t` is plain bits that
    // `sigemptyset` initialises, and the old mask is not asked for.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// An instruction of a filter of system calls: the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FilterInstruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub if_true: u8,
    /// How many to skip if it does not.
    pub if_false: u8,
    /// The operand.
    pub operand: u32,
}

/// Has the kernel run a program before each system call of this process and of those that come of it; an empty one changes
/// nothing. It cannot be taken away again.
///
/// # Errors
/// `ACCES` without the right to administer the user namespace; `INVAL` for a malformed program, or a kernel without filters.
pub fn filter_calls(program: &[FilterInstruction]) -> Result<()> {
    if program.is_empty() {
        return Ok(());
    }
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_long| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: needed because no safe crate offers seccomp(2) with a program. It holds because the header points to as many
    // instructions in the kernel's form as it says, all alive during the call, and the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const header,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Gives the process an empty session keyring, so that it cannot read the keys of whoever started the build.
///
/// # Errors
/// `NOSYS` for a kernel without keys; `PERM` in a container that forbids them; `DQUOT` when there are too many.
pub fn join_new_session_keyring() -> Result<()> {
    let name: *const libc::c_char = ptr::null();
    // SAFETY: needed because no safe crate offers keyctl. It holds because a null name is documented for an anonymous keyring.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) };
    if result >= 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Kills every process that this one may kill, except itself. In PID 1 of a namespace: all others of the namespace.
///
/// Anywhere else it does nothing, for it would take the machine down.
pub fn kill_all_others() {
    if rustix::process::getpid() != Pid::INIT {
        return;
    }
    // SAFETY: needed because no safe crate takes the process id -1. It holds because this is PID 1, whose "all" is its own
    // namespace. It fails only when there is nobody to kill.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// What the children that were waited for, and theirs, used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time in the programs.
    pub user_time: Duration,
    /// Processor time in the kernel for them.
    pub system_time: Duration,
    /// Resident memory of the largest at its peak.
    pub max_rss_bytes: u64,
    /// Bytes that were read from block devices.
    pub read_bytes: u64,
    /// Bytes that are to be written to block devices.
    pub written_bytes: u64,
}

/// What the children that were waited for, and theirs, used.
#[must_use]
pub fn usage_of_children() -> Usage {
    // SAFETY: needed because no safe crate offers getrusage. It holds because `rusage` is plain numbers, for which zero is valid,
    // and the pointer is to a live one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) != 0 {
            return Usage::default();
        }
        usage
    };
    let time = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros))
    };
    // The kernel counts blocks of this size, whatever those of the device are.
    let blocks = |count: libc::c_long| u64::try_from(count).unwrap_or(0).saturating_mul(512);
    Usage {
        read_bytes: blocks(usage.ru_inblock),
        written_bytes: blocks(usage.ru_oublock),
        user_time: time(usage.ru_utime),
        system_time: time(usage.ru_stime),
        max_rss_bytes: u64::try_from(usage.ru_maxrss)
            .unwrap_or(0)
            .saturating_mul(1024),
    }
}

fn last_errno() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_more_threads_gets_no_evidence() {
        // The test harness runs each test on a thread of its own beside the main one.
        assert_eq!(SingleThreaded::begin().unwrap_err(), Errno::BUSY);
    }

    #[test]
    fn a_program_that_is_not_there_is_reported() {
        let path = CString::new("/no/such/program").unwrap();
        assert_eq!(execute(&path, &[], &[]), Errno::NOENT);
    }
}
