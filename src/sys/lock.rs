//! Locks on byte ranges of an open file, owned by the open file description: threads exclude each other as processes do.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

/// The kernel's numbers in the width of the structure that carries them.
const READ_LOCK: libc::c_short = 0;
const WRITE_LOCK: libc::c_short = 1;
const FROM_THE_START: libc::c_short = 0;

/// Who else may lock the same byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Others who share it too.
    Shared,
    /// Nobody.
    Exclusive,
}

/// Locks one byte of a file, which has to be open for writing; the byte need not exist. The lock ends when the description
/// is closed, at the latest with the process. With `wait` it blocks until the byte is free; without, the answer says whether it was.
///
/// # Errors
/// What the kernel answers, interruption excepted.
pub fn lock_byte(
    file: BorrowedFd<'_>,
    offset: i64,
    sharing: Sharing,
    wait: bool,
) -> Result<bool, Errno> {
    let range = libc::flock {
        l_type: match sharing {
            Sharing::Shared => READ_LOCK,
            Sharing::Exclusive => WRITE_LOCK,
        },
        l_whence: FROM_THE_START,
        l_start: offset,
        l_len: 1,
        l_pid: 0,
    };
    let command = if wait {
        libc::F_OFD_SETLKW
    } else {
        libc::F_OFD_SETLK
    };
    loop {
        // SAFETY: needed because rustix locks whole files only. The descriptor is open for the length of the borrow, and
        // the kernel only reads `range`, which outlives the call.
        let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw const range) };
        if answer == 0 {
            return Ok(true);
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN | libc::EACCES) if !wait => return Ok(false),
            number => return Err(Errno::from_raw_os_error(number.unwrap_or(libc::EIO))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        assert_eq!(i32::from(READ_LOCK), libc::F_RDLCK);
        assert_eq!(i32::from(WRITE_LOCK), libc::F_WRLCK);
        assert_eq!(i32::from(FROM_THE_START), libc::SEEK_SET);
    }
}
