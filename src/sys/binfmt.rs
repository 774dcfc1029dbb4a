//! Tells the kernel of an emulator, for the processes of one user namespace only (Linux 6.7).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::mount::MountAttrFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{WaitOptions, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::identity::{Holder, IdMaps};
use super::mount;
use super::process::{self, Fork, SingleThreaded};

/// What is registered.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// The emulator.
    pub program: &'a Path,
    /// How programs that it runs start.
    pub magic: &'a [u8],
    /// Which bits of that count.
    pub mask: &'a [u8],
}

/// A user namespace with all ids of the one around it, whose processes have an emulator. It is in no file system: it lasts as
/// long as somebody has this.
#[derive(Debug)]
pub struct Emulation {
    namespace: OwnedFd,
    /// The kernel forgets what was registered with the last descriptor of this.
    _registry: OwnedFd,
}

impl Emulation {
    /// Makes one. The process itself stays where it is; its process ids have to be those of its `/proc`.
    ///
    /// # Errors
    /// What the kernel answered: `PERM` before Linux 6.7, or where user namespaces are forbidden.
    pub fn begin(evidence: &SingleThreaded, registration: Registration<'_>) -> Result<Self> {
        let holder = Holder::start(evidence)?;
        IdMaps::of_this_process()?
            .passed_on()
            .write_for(holder.process())?;
        let path = format!("/proc/{}/ns/user", holder.process().as_raw_nonzero());
        let namespace = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let inside = match process::fork(evidence)? {
            Fork::Child => {
                drop(ours);
                let made = holder.join(evidence).and_then(|()| register(registration));
                let code = send(&theirs, made).is_err();
                process::exit_now(i32::from(code))
            }
            Fork::Parent(inside) => inside,
        };
        drop(theirs);
        let registry = receive(&ours);
        retry_on_intr(|| waitpid(Some(inside), WaitOptions::empty()))?;
        Ok(Self {
            namespace,
            _registry: registry?,
        })
    }

    /// Moves this process there: what it executes may be for the other processor. Its mounts, network and the rest stay, and
    /// are no longer its own: it has no rights on them.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn enter(&self, _evidence: &SingleThreaded) -> Result<()> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::User))
    }
}

/// Makes the registry of the namespace that this process is in, with one entry.
fn register(registration: Registration<'_>) -> Result<OwnedFd> {
    let registry = mount::create("binfmt_misc", &[], MountAttrFlags::empty())?;
    // By descriptor: the line has no place for long paths and for colons.
    let program = mount::path_descriptor(registration.program)?;
    let escaped = |bytes: &[u8]| -> String {
        let bytes = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
        bytes.collect()
    };
    // O: the emulator gets the program open, not by name. C: set-user-id programs are that. F: the emulator is opened now, in
    // the machine's file system. P: the program learns by which name it was called.
    let line = format!(
        ":emulator:M::{}:{}:/proc/self/fd/{}:OCFP",
        escaped(registration.magic),
        escaped(registration.mask),
        program.as_raw_fd()
    );
    let register = openat(
        &registry,
        "register",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::io::write(&register, line.as_bytes())?;
    Ok(registry)
}

/// Sends a descriptor, or why there is none.
fn send(socket: &OwnedFd, made: Result<OwnedFd>) -> Result<()> {
    let errno = made.as_ref().err().map_or(0, |errno| errno.raw_os_error());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = made.iter().map(|made| made.as_fd()).collect();
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::NOBUFS);
    }
    let bytes = errno.to_le_bytes();
    let parts = [IoSlice::new(&bytes)];
    let sent = rustix::net::sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL);
    sent.map(drop)
}

fn receive(socket: &OwnedFd) -> Result<OwnedFd> {
    let mut bytes = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = descriptors.next().and_then(|mut found| found.next());
    match (message.bytes, i32::from_le_bytes(bytes), descriptor) {
        (4, 0, Some(descriptor)) => Ok(descriptor),
        (4, errno, _) if errno != 0 => Err(Errno::from_raw_os_error(errno)),
        _ => Err(Errno::SRCH),
    }
}
