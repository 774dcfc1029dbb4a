//! Who a process is: its user namespace, the ids in it, and moving into another one.

use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::process::{self, Fork, SingleThreaded};

/// A run of ids of a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First id inside.
    pub inside: u32,
    /// The same in the namespace around it.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The ids of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<Extent>,
    /// Group ids.
    pub gids: Vec<Extent>,
}

/// All ids of a machine.
const EVERYBODY: Extent = Extent {
    inside: 0,
    outside: 0,
    count: u32::MAX,
};

impl IdMaps {
    /// Those of the namespace that this process is in.
    ///
    /// # Errors
    /// `/proc` does not say.
    pub fn of_this_process() -> Result<Self> {
        Ok(Self {
            uids: extents(&read("/proc/self/uid_map")?).ok_or(Errno::INVAL)?,
            gids: extents(&read("/proc/self/gid_map")?).ok_or(Errno::INVAL)?,
        })
    }

    /// One user and one group, as root.
    #[must_use]
    pub fn only(uid: u32, gid: u32) -> Self {
        let only = |outside| Extent {
            inside: 0,
            outside,
            count: 1,
        };
        Self {
            uids: vec![only(uid)],
            gids: vec![only(gid)],
        }
    }

    /// Whether these are the ids of a machine: then there is no user namespace, or one that hides nobody.
    #[must_use]
    pub fn are_the_machines(&self) -> bool {
        self.uids == [EVERYBODY] && self.gids == [EVERYBODY]
    }

    /// Whether there is one user, or one group.
    #[must_use]
    pub fn are_single(&self) -> bool {
        let single = |extents: &[Extent]| matches!(extents, [extent] if extent.count == 1);
        single(&self.uids) || single(&self.gids)
    }

    /// The same ids for a namespace inside this one.
    #[must_use]
    pub fn passed_on(&self) -> Self {
        let same = |extents: &[Extent]| {
            let extents = extents.iter().map(|extent| Extent {
                outside: extent.inside,
                ..*extent
            });
            extents.collect()
        };
        Self {
            uids: same(&self.uids),
            gids: same(&self.gids),
        }
    }

    /// Gives a process's new namespace these ids. Takes the right to set ids in the namespace around it.
    ///
    /// # Errors
    /// What the kernel answered: `PERM` without the right.
    pub fn write_for(&self, process: Pid) -> Result<()> {
        let pid = process.as_raw_nonzero();
        write(&format!("/proc/{pid}/gid_map"), &lines(&self.gids))?;
        write(&format!("/proc/{pid}/uid_map"), &lines(&self.uids))
    }
}

fn extents(text: &str) -> Option<Vec<Extent>> {
    let extent = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some(Extent {
            inside: numbers.next()??,
            outside: numbers.next()??,
            count: numbers.next()??,
        })
    };
    text.lines().map(extent).collect()
}

fn lines(extents: &[Extent]) -> String {
    let line = |extent: &Extent| format!("{} {} {}\n", extent.inside, extent.outside, extent.count);
    extents.iter().map(line).collect()
}

/// A process that does nothing but be in a user namespace of its own, until it is dropped.
#[derive(Debug)]
pub struct Holder {
    process: Pid,
    socket: Option<std::os::fd::OwnedFd>,
}

impl Holder {
    /// Starts one. Nobody is mapped in its namespace yet.
    ///
    /// # Errors
    /// That of the kernel when it was asked for the namespace: `PERM` where it is forbidden, `NOSPC` at the limit.
    pub fn start(evidence: &SingleThreaded) -> Result<Self> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let process = match process::fork(evidence)? {
            Fork::Child => {
                drop(ours);
                hold(&theirs)
            }
            Fork::Parent(process) => process,
        };
        drop(theirs);
        let holder = Self {
            process,
            socket: Some(ours),
        };
        let mut answer = [0_u8; 4];
        let socket = holder.socket.as_ref().ok_or(Errno::BADF)?;
        let (length, _) =
            retry_on_intr(|| rustix::net::recv(socket, &mut answer[..], RecvFlags::WAITALL))?;
        match (length, i32::from_le_bytes(answer)) {
            (4, 0) => Ok(holder),
            (4, errno) => Err(Errno::from_raw_os_error(errno)),
            _ => Err(Errno::SRCH),
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> Pid {
        self.process
    }

    /// Moves this process into the namespace, as root of it, with mounts of its own. The process remembers who it was.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn join(&self, _evidence: &SingleThreaded) -> Result<()> {
        let own = OwnIds {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let path = format!("/proc/{}/ns/user", self.process.as_raw_nonzero());
        let namespace =
            rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::thread::move_into_link_name_space(
            namespace.as_fd(),
            Some(LinkNameSpaceType::User),
        )?;
        let _first = BEFORE.set(own);
        process::unshare_namespaces(UnshareFlags::NEWNS)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The end of the socket is the end of the process.
        drop(self.socket.take());
        let wait = || rustix::process::waitpid(Some(self.process), WaitOptions::empty());
        let _reaped = retry_on_intr(wait);
    }
}

/// The life of a holder.
fn hold(socket: &std::os::fd::OwnedFd) -> ! {
    let _tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let answer = match process::unshare_namespaces(UnshareFlags::NEWUSER) {
        Ok(()) => 0,
        Err(errno) => errno.raw_os_error(),
    };
    let told = rustix::net::send(socket, &answer.to_le_bytes(), SendFlags::NOSIGNAL);
    if told.is_ok() {
        let mut nothing = [0_u8; 1];
        let _end =
            retry_on_intr(|| rustix::net::recv(socket, &mut nothing[..], RecvFlags::empty()));
    }
    process::exit_now(0)
}

#[derive(Clone, Copy, Debug)]
struct OwnIds {
    uid: u32,
    gid: u32,
}

/// Who this process was before it moved into a namespace where it is root.
static BEFORE: OnceLock<OwnIds> = OnceLock::new();

/// Starts a program as the user that this process was before it became root of a namespace: programs ask who they are, and look
/// for that user's keys and settings. Nothing changes for a process that was always in its namespace.
pub fn as_ourselves(command: &mut Command) {
    let Some(own) = BEFORE.get() else {
        return;
    };
    let uid = format!("{} 0 1\n", own.uid).into_bytes();
    let gid = format!("{} 0 1\n", own.gid).into_bytes();
    let become_ourselves = move || {
        process::unshare_namespaces(UnshareFlags::NEWUSER)?;
        write_bytes(c"/proc/self/setgroups", b"deny")?;
        write_bytes(c"/proc/self/uid_map", &uid)?;
        write_bytes(c"/proc/self/gid_map", &gid)?;
        Ok(())
    };
    // SAFETY: needed because only the child itself can move into a namespace, between fork and exec. It holds because the
    // closure makes system calls only: it takes no lock and no memory.
    unsafe { command.pre_exec(become_ourselves) };
}

fn write_bytes(path: &std::ffi::CStr, bytes: &[u8]) -> Result<()> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, bytes).map(drop)
}

fn write(path: &str, text: &str) -> Result<()> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes()).map(drop)
}

/// Gives up groups in a process's new namespace, which an ordinary user has to before mapping the own one.
///
/// # Errors
/// What the kernel answered.
pub fn deny_groups(process: Pid) -> Result<()> {
    let pid = process.as_raw_nonzero();
    write(&format!("/proc/{pid}/setgroups"), "deny")
}

fn read(path: &str) -> Result<String> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = retry_on_intr(|| rustix::io::read(&file, &mut buffer))?;
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_foreign| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_the_kernel_writes_them() {
        let text = "         0       1000          1\n         1     100000      65536\n";
        let found = extents(text).unwrap();
        assert_eq!(lines(&found), "0 1000 1\n1 100000 65536\n");
        assert_eq!(extents("0 1\n"), None);
        let whole = extents("         0          0 4294967295\n").unwrap();
        assert_eq!(whole, [EVERYBODY]);
    }

    #[test]
    fn maps_know_what_they_are() {
        let whole = IdMaps {
            uids: vec![EVERYBODY],
            gids: vec![EVERYBODY],
        };
        assert!(whole.are_the_machines() && !whole.are_single());
        let one = IdMaps::only(1000, 100);
        assert!(one.are_single() && !one.are_the_machines());
        assert_eq!(one.passed_on(), IdMaps::only(0, 0));
        assert!(!IdMaps::of_this_process().unwrap().uids.is_empty());
    }
}
