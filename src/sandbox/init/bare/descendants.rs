//! Ends every process that a command left behind, where no process namespace does it: all of them are descendants of this process,
//! which orphans come back to.

use std::collections::BTreeSet;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::fsio;

/// Returns when there is none left.
pub(super) fn end_all() {
    // Stopped first: who is stopped makes no new ones while others are looked for.
    for pid in descendants() {
        signal(pid, Signal::STOP);
    }
    loop {
        for pid in descendants() {
            signal(pid, Signal::KILL);
        }
        loop {
            match retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG)) {
                Ok(Some(_reaped)) => {}
                Ok(None) => break,
                Err(Errno::CHILD) => return,
                Err(_unknown) => return,
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A process and its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: i32,
    parent: i32,
}

/// All processes that descend from this one.
fn descendants() -> Vec<Process> {
    let names = fsio::read_dir_sorted("/proc").unwrap_or_default();
    let pids = names.iter().filter_map(|name| name.to_str()?.parse().ok());
    let all: Vec<Process> = pids.filter_map(look).collect();
    let mut found = Vec::new();
    let mut known = BTreeSet::from([rustix::process::getpid().as_raw_pid()]);
    loop {
        let before = found.len();
        for process in &all {
            if known.contains(&process.parent) && known.insert(process.pid) {
                found.push(*process);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn look(pid: i32) -> Option<Process> {
    let stat = fsio::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have anything in it; state and parent come after it.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Process { pid, parent })
}

/// Signals a process, if it is still the one that was found: with its parent, or an orphan that has come here.
fn signal(process: Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else {
        return;
    };
    let own = rustix::process::getpid().as_raw_pid();
    let is_same = |now: Process| now.parent == process.parent || now.parent == own;
    if let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        && look(process.pid).is_some_and(is_same)
    {
        // Fails only when it is gone.
        let _unused = rustix::process::pidfd_send_signal(&handle, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_parent_whatever_its_name() {
        let own = rustix::process::getpid();
        let parent = rustix::process::getppid().map(Pid::as_raw_pid);
        assert_eq!(look(own.as_raw_pid()).map(|found| found.parent), parent);
        let mut child = std::process::Command::new("sleep")
            .arg("9")
            .spawn()
            .unwrap();
        let id = i32::try_from(child.id()).unwrap();
        assert!(descendants().iter().any(|process| process.pid == id));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
