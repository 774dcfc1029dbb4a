//! Programs that carry packets between a network namespace and the machine's sockets, without any right on the machine's
//! network: `pasta` and `slirp4netns`.
//!
//! A program may give up the rights it was started with, and with them what ties its life to ours. So a *keeper* (`init::keeper`)
//! starts it and ends it when its own standard input, a pipe from the builder, is closed: at the latest by the builder's death.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::super::init::{ARGV0, KEEP};
use super::range::Range;
use super::router::{UPLINK, path_of};
use super::{Cancel, NetworkError, namespace};
use crate::fsio;

/// How long a program may take to get ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What programs take as the namespace that the keeper opened for them: their standard input.
const NAMESPACE: &str = "/proc/self/fd/0";

/// A program that there is.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    kind: Kind,
    path: PathBuf,
    /// Whether it is started as root of the machine, where it would become somebody who may not open the namespace.
    root: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Pasta,
    Slirp,
}

impl Carrier {
    /// The programs that are in the folders of a search path, best first.
    pub(super) fn all(search: &[PathBuf], root: bool) -> impl Iterator<Item = Self> {
        let kinds = [(Kind::Pasta, "pasta"), (Kind::Slirp, "slirp4netns")];
        kinds.into_iter().filter_map(move |(kind, name)| {
            let mut paths = search.iter().map(|folder| folder.join(name));
            let path = paths.find(|path| {
                path.is_absolute() && fsio::metadata(path).is_ok_and(|m| m.is_file())
            })?;
            Some(Self { kind, path, root })
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Pasta => "pasta",
            Kind::Slirp => "slirp4netns",
        }
    }

    /// Its arguments: nothing of the machine's loopback, no ports, IPv4.
    fn arguments(&self, range: Range) -> Vec<OsString> {
        let (gateway, own) = range.outside();
        let mut words: Vec<String> = Vec::new();
        let mut add = |text: &str| words.extend(text.split(' ').map(str::to_owned));
        match self.kind {
            Kind::Pasta => {
                add(&format!(
                    "--foreground --netns {NAMESPACE} --netns-only --no-netns-quit"
                ));
                add(&format!("--ipv4-only --config-net --ns-ifname {UPLINK}"));
                add(&format!("--address {own} --netmask 30 --gateway {gateway}"));
                add("--no-map-gw --dns none --tcp-ports none --udp-ports none");
                add("--tcp-ns none --udp-ns none");
                if self.root {
                    add("--runas 0:0");
                }
            }
            Kind::Slirp => {
                // It gives the namespace the hundredth address of its range.
                let [a, b, ..] = gateway.octets();
                // It reads packets of strangers: not with the machine's files in sight, and not with every system call.
                add("--enable-sandbox --enable-seccomp");
                add(&format!(
                    "--configure --mtu=65520 --disable-host-loopback --cidr={a}.{b}.0.0/24"
                ));
                add(&format!("--netns-type=path {NAMESPACE} {UPLINK}"));
            }
        }
        words.into_iter().map(OsString::from).collect()
    }
}

/// A program at work, with its keeper. Dropping it ends both.
#[derive(Debug)]
pub(super) struct Helper {
    keeper: Child,
    /// Readable when the keeper is gone, which it is as soon as the program is.
    end: OwnedFd,
}

impl Helper {
    /// Starts a program from the network of the calling thread, and waits until the namespace has a way out.
    pub(super) fn start(
        carrier: &Carrier,
        namespace: &OwnedFd,
        range: Range,
        cancel: &Cancel,
    ) -> Result<Self, NetworkError> {
        let said = rustix::fs::memfd_create("words", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(NetworkError::kernel("make a file in memory"))?;
        let theirs = said
            .try_clone()
            .map_err(|error| failed(carrier, error.to_string()))?;
        let mut keeper = Command::new("/proc/self/exe")
            .arg0(ARGV0)
            .arg(KEEP)
            .arg(path_of(namespace))
            .arg(&carrier.path)
            .args(carrier.arguments(range))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::from(theirs))
            .spawn()
            .map_err(|error| failed(carrier, error.to_string()))?;
        let id = i32::try_from(keeper.id()).ok().and_then(Pid::from_raw);
        let end = id.ok_or(Errno::SRCH);
        let end = match end.and_then(|id| pidfd_open(id, PidfdFlags::empty())) {
            Ok(end) => end,
            Err(errno) => {
                end_of(&mut keeper);
                return Err(NetworkError::kernel("watch a program")(errno));
            }
        };
        let helper = Self { keeper, end };
        namespace::within(namespace, || helper.wait_for_way_out(cancel))?
            .map_err(|why| failed(carrier, format!("{why}{}", words(&said))))?;
        Ok(helper)
    }

    /// Waits until the namespace of the calling thread has a way out; else why not.
    fn wait_for_way_out(&self, cancel: &Cancel) -> Result<(), &'static str> {
        let begun = Instant::now();
        while !has_way_out() {
            if self.has_ended() || cancel.is_cancelled() {
                return Err("");
            }
            if begun.elapsed() > PATIENCE {
                return Err("not ready in time; ");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Whether there is no program any more.
    pub(super) fn has_ended(&self) -> bool {
        let mut events = [PollFd::new(&self.end, PollFlags::IN)];
        let at_once = Timespec::default();
        retry_on_intr(|| poll(&mut events, Some(&at_once))).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        end_of(&mut self.keeper);
    }
}

/// Has a keeper end, and waits for that.
fn end_of(keeper: &mut Child) {
    // The end of the pipe is what it waits for.
    drop(keeper.stdin.take());
    // There is nobody to tell.
    let _unused = keeper.wait();
}

/// Whether there is a route to everywhere in the namespace of the calling thread.
fn has_way_out() -> bool {
    let routes = fsio::read("/proc/thread-self/net/route").unwrap_or_default();
    let routes = String::from_utf8_lossy(&routes);
    let mut lines = routes.lines().map(|line| line.split_whitespace().take(2));
    lines.any(|line| line.eq([UPLINK, "00000000"]))
}

fn failed(carrier: &Carrier, words: String) -> NetworkError {
    let program = carrier.name();
    NetworkError::Helper { program, words }
}

/// What a program said last, in one line.
fn words(said: &OwnedFd) -> String {
    let text = fsio::read(format!("/proc/self/fd/{}", said.as_raw_fd())).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // It complains of every log that it does not have.
    let mut lines = text.lines().rev().filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.ends_with("syslog")
    });
    lines.next().unwrap_or("it said nothing").trim().to_owned()
}
