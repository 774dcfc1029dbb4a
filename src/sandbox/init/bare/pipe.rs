//! A secret as a named pipe: a process of its own hands the content to whoever opens it. No disk ever has it.
//!
//! Each reader gets a pipe for itself: as soon as one has opened it, another takes its name. So it can be read as often as one likes,
//! from beginning to end; what wants to know its size, or to go back in it, has to be told by a variable instead.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, chmodat, chownat, fstat, mknodat, openat, renameat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Gid, Signal, Uid};

use super::super::super::FileContent;
use crate::sys::process::{self, Fork, SingleThreaded};

/// The look of a pipe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Makes the pipe `name` in `folder`, which has no such name, and starts its server. `aside` is a folder of the same file system,
/// where `number` names nothing yet.
pub(super) fn serve(
    evidence: &SingleThreaded,
    (folder, name): (&OwnedFd, &[u8]),
    (aside, number): (&OwnedFd, &str),
    content: &FileContent,
    look: Look,
) -> Result<(), Errno> {
    make(aside.as_fd(), number, look)?;
    renameat(aside, number, folder, name)?;
    match process::fork(evidence)? {
        Fork::Parent(_server) => Ok(()),
        Fork::Child => {
            let _gone = serve_all((folder, name), (aside, number), content, look);
            process::exit_now(0)
        }
    }
}

fn make(folder: BorrowedFd<'_>, name: &str, look: Look) -> Result<(), Errno> {
    mknodat(folder, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let owner = (Some(Uid::from_raw(look.uid)), Some(Gid::from_raw(look.gid)));
    chownat(folder, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(look.mode & 0o7777);
    chmodat(folder, name, mode, AtFlags::empty())
}

/// Serves until the pipe, or this process, is taken away.
fn serve_all(
    (folder, name): (&OwnedFd, &[u8]),
    (aside, number): (&OwnedFd, &str),
    content: &FileContent,
    look: Look,
) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    loop {
        // Waits for somebody who reads.
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let reader = retry_on_intr(|| openat(folder, name, flags, Mode::empty()))?;
        if !FileType::from_raw_mode(fstat(&reader)?.st_mode).is_fifo() {
            // The command has put a file there, which would keep the secret.
            return Err(Errno::STALE);
        }
        make(aside.as_fd(), number, look)?;
        renameat(aside, number, folder, name)?;
        let mut rest = content.0.as_slice();
        while !rest.is_empty() {
            match retry_on_intr(|| rustix::io::write(&reader, rest)) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                // It has read enough.
                Err(_closed) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsio;

    #[test]
    fn a_file_in_the_place_of_the_pipe_gets_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("token");
        fsio::create(&file).unwrap();
        std::fs::hard_link(&file, scratch.path().join("kept")).unwrap();
        let folder = OwnedFd::from(std::fs::File::open(scratch.path()).unwrap());
        let look = Look {
            mode: 0o400,
            uid: 0,
            gid: 0,
        };
        let content = FileContent(b"hush".to_vec());
        let served = serve_all((&folder, b"token"), (&folder, "next"), &content, look);
        assert_eq!(served, Err(Errno::STALE));
        let kept = fsio::read(scratch.path().join("kept")).unwrap();
        assert!(kept.is_empty());
    }
}
