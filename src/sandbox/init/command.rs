//! The last process of the chain: takes on the user's credentials and becomes the command.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use rustix::{process as unix, thread};

use super::super::filter::Instruction;
use super::super::handshake::Report;
use super::super::setup::{Capabilities, Command};
use super::super::{ExecFailure, ExecProblem, LimitedResource, Operation, SetupFailure};
use super::failed;
use super::supervisor::send;
use crate::sys::binfmt::Emulation;
use crate::sys::process::{self, SingleThreaded};

/// What root may do in a sandbox: the set that images are used to from containers.
const DEFAULT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Becomes the command, or reports why it could not.
pub(super) fn run(
    evidence: &SingleThreaded,
    command: &Command,
    emulation: Option<&Emulation>,
    control: BorrowedFd<'_>,
) -> ! {
    let report = match become_user(evidence, command, emulation) {
        Ok(()) => Report::NotExecuted(execute(command)),
        Err(failure) => Report::Failed(failure),
    };
    // If the builder is gone, there is nobody to tell, and the end is near.
    let _unused = send(control, &report);
    process::exit_now(127)
}

fn become_user(
    evidence: &SingleThreaded,
    command: &Command,
    emulation: Option<&Emulation>,
) -> Result<(), SetupFailure> {
    let uid = command.user.uid;
    unix::setsid().map_err(failed(Operation::Detach, ""))?;
    process::close_on_exec_from(3).map_err(failed(Operation::CloseDescriptors, ""))?;
    // Whoever the user is may open /dev/stdout again. An id that the namespace does not have cannot own it, nor matter.
    let _unused = process::give_output_to(unix::Uid::from_raw(uid));
    for limit in &command.limits {
        let value = Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        };
        let name = format!("{:?}", limit.resource);
        unix::setrlimit(resource(limit.resource), value).map_err(failed(Operation::Limit, name))?;
    }
    // As root first: a user may run in a directory that only root can enter. As the user then: root may be the one who
    // is kept out (a network file system).
    let in_directory = enter(&command.cwd);
    if let Some(emulation) = emulation {
        // Gives all capabilities there, so before any of them are dropped.
        emulation
            .enter(evidence)
            .map_err(failed(Operation::EnterEmulation, ""))?;
    }
    drop_bounding_set(command.capabilities).map_err(failed(Operation::DropCapabilities, ""))?;
    // While there is the right to: without it no program could gain rights any more (`sudo` in a step). What follows is allowed.
    process::filter_calls(&filter_of(command)).map_err(failed(Operation::FilterCalls, ""))?;
    set_ids(command).map_err(failed(Operation::SetUser, uid.to_string()))?;
    set_capabilities(command).map_err(failed(Operation::DropCapabilities, ""))?;
    match in_directory {
        Err(Errno::ACCESS | Errno::PERM) => enter(&command.cwd),
        result => result,
    }
    .map_err(failed(Operation::ChangeDirectory, command.cwd.clone()))?;
    unix::umask(Mode::WGRP | Mode::WOTH);
    process::reset_signals();
    Ok(())
}

/// The filter in the kernel's form.
fn filter_of(command: &Command) -> Vec<process::FilterInstruction> {
    let form = |instruction: &Instruction| process::FilterInstruction {
        code: instruction.code,
        if_true: instruction.if_true,
        if_false: instruction.if_false,
        operand: instruction.operand,
    };
    command.filter.0.iter().map(form).collect()
}

/// Changes the directory, and refuses one outside of the root that some leftover descriptor would lead to.
fn enter(path: &str) -> Result<(), Errno> {
    unix::chdir(path)?;
    let current = unix::getcwd(Vec::new())?;
    if current.to_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Errno::NOENT)
    }
}

/// The capabilities that the command can have at most: what the builder lacks it cannot give.
fn allowed(capabilities: Capabilities) -> Result<CapabilitySet, Errno> {
    let own = thread::capabilities(None)?.permitted;
    Ok(match capabilities {
        Capabilities::Default => own.intersection(DEFAULT_CAPABILITIES),
        Capabilities::InChroot => {
            own.intersection(DEFAULT_CAPABILITIES) - CapabilitySet::SYS_CHROOT
        }
        Capabilities::All => own,
    })
}

fn drop_bounding_set(capabilities: Capabilities) -> Result<(), Errno> {
    let keep = match capabilities {
        Capabilities::Default => DEFAULT_CAPABILITIES,
        Capabilities::InChroot => DEFAULT_CAPABILITIES - CapabilitySet::SYS_CHROOT,
        Capabilities::All => return Ok(()),
    };
    for capability in each_capability().filter(|&capability| !keep.contains(capability)) {
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn each_capability() -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number))
}

fn set_ids(command: &Command) -> Result<(), Errno> {
    let user = &command.user;
    if command.capabilities == Capabilities::All {
        thread::set_keep_capabilities(true)?;
    }
    if command.set_groups {
        let groups: Vec<_> = user
            .groups
            .iter()
            .map(|&group| unix::Gid::from_raw(group))
            .collect();
        thread::set_thread_groups(&groups)?;
    }
    let gid = unix::Gid::from_raw(user.gid);
    thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = unix::Uid::from_raw(user.uid);
    thread::set_thread_res_uid(uid, uid, uid)
}

/// Sets all sets explicitly: nothing that the builder was started with is left.
fn set_capabilities(command: &Command) -> Result<(), Errno> {
    let allowed = allowed(command.capabilities)?;
    let all = command.capabilities == Capabilities::All;
    let in_force = if all || command.user.uid == 0 {
        allowed
    } else {
        CapabilitySet::empty()
    };
    let inheritable = if all { allowed } else { CapabilitySet::empty() };
    thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets {
        effective: in_force,
        permitted: in_force,
        inheritable,
    };
    thread::set_capabilities(None, sets)?;
    if all {
        for capability in each_capability().filter(|&capability| allowed.contains(capability)) {
            thread::configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}

/// Executes the command; returns only with the reason why that failed.
fn execute(command: &Command) -> ExecFailure {
    let name = command.argv.first().map_or("", String::as_str);
    let path = match look_up(name, command.env.get("PATH").unwrap_or_default()) {
        Ok(path) => path,
        Err(problem) => {
            return ExecFailure {
                name: name.to_owned(),
                problem,
            };
        }
    };
    let argv: Vec<_> = command
        .argv
        .iter()
        .map(|word| c_string(word.clone()))
        .collect();
    let pairs = command.env.0.iter();
    let env: Vec<_> = pairs
        .map(|(name, value)| c_string(format!("{name}={value}")))
        .collect();
    let errno = process::execute(&c_string(path.clone()), &argv, &env);
    ExecFailure {
        name: path,
        problem: ExecProblem::Exec(errno.raw_os_error()),
    }
}

/// The builder refused strings with NUL bytes already.
fn c_string(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}

/// Finds the file of a command as the user who will run it: as written if it has a slash, else in the folders of `PATH`.
fn look_up(name: &str, search_path: &str) -> Result<String, ExecProblem> {
    if name.contains('/') {
        return check_executable(name).map(|()| name.to_owned());
    }
    let folders = search_path.split(':').filter(|folder| !folder.is_empty());
    let candidates = folders.map(|folder| format!("{}/{name}", folder.trim_end_matches('/')));
    let mut found = candidates.filter(|path| !name.is_empty() && check_executable(path).is_ok());
    found.next().ok_or(ExecProblem::NotInPath)
}

fn check_executable(path: &str) -> Result<(), ExecProblem> {
    let stat = rustix::fs::stat(path).map_err(|errno| ExecProblem::Stat(errno.raw_os_error()))?;
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(ExecProblem::IsDirectory);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::empty())
        .map_err(|_refused| ExecProblem::Denied)
}

fn resource(limited: LimitedResource) -> Resource {
    match limited {
        LimitedResource::AddressSpace => Resource::As,
        LimitedResource::Core => Resource::Core,
        LimitedResource::Cpu => Resource::Cpu,
        LimitedResource::Data => Resource::Data,
        LimitedResource::FileSize => Resource::Fsize,
        LimitedResource::Locks => Resource::Locks,
        LimitedResource::LockedMemory => Resource::Memlock,
        LimitedResource::MessageQueue => Resource::Msgqueue,
        LimitedResource::Nice => Resource::Nice,
        LimitedResource::OpenFiles => Resource::Nofile,
        LimitedResource::Processes => Resource::Nproc,
        LimitedResource::ResidentSet => Resource::Rss,
        LimitedResource::RealtimePriority => Resource::Rtprio,
        LimitedResource::RealtimeTime => Resource::Rttime,
        LimitedResource::PendingSignals => Resource::Sigpending,
        LimitedResource::Stack => Resource::Stack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_that_of_containers() {
        assert_eq!(DEFAULT_CAPABILITIES.bits(), 0x0000_0000_a804_25fb);
    }

    #[test]
    fn commands_are_found_as_a_shell_would() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().to_str().unwrap().to_owned();
        for (name, mode) in [("tool", 0o755), ("plain", 0o644)] {
            crate::fsio::create(format!("{folder}/{name}")).unwrap();
            crate::fsio::set_mode(format!("{folder}/{name}"), mode).unwrap();
        }
        let tool = format!("{folder}/tool");
        let plain = format!("{folder}/plain");
        let search = format!(":/nowhere:{folder}/");
        assert_eq!(look_up("tool", &search), Ok(tool.clone()));
        assert_eq!(look_up(&tool, ""), Ok(tool.clone()));
        for name in ["plain", "gone", "", "."] {
            assert_eq!(
                look_up(name, &search),
                Err(ExecProblem::NotInPath),
                "{name}"
            );
        }
        assert_eq!(look_up(&plain, ""), Err(ExecProblem::Denied));
        assert_eq!(look_up(&folder, ""), Err(ExecProblem::IsDirectory));
        let gone = ExecProblem::Stat(Errno::NOENT.raw_os_error());
        assert_eq!(look_up("/no/such", &search), Err(gone));
    }
}
