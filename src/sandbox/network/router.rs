//! The router of one builder: a network namespace between the steps, which hang on it by a link each, and one way out.
//!
//! Steps do not see each other, whatever they do to their own network. All there is ends with the builder: namespaces and links
//! when the last descriptor is closed, a program that carries packets with its keeper (`helper`).

use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::helper::{Carrier, Helper};
use super::links::{self, End};
use super::netlink::Socket;
use super::range::Range;
use super::{Cancel, NetworkError, filters, namespace};
use crate::fsio;

/// The router's link to the outside.
pub(super) const UPLINK: &str = "uplink";

/// The first number of a link to a step; those below are of the way out.
const FIRST_LINK: u32 = 1000;

/// The link of a step, in its own namespace.
const OF_STEP: End<'static> = End {
    index: 2,
    name: "eth0",
};

/// A router that works.
#[derive(Debug)]
pub(super) struct Router {
    links: Socket,
    range: Range,
    made: AtomicU32,
    /// Ended before the namespace is let go.
    outside: Helper,
    _namespace: OwnedFd,
}

impl Router {
    /// Makes a router whose way out is a program that carries packets.
    pub(super) fn start(
        carrier: &Carrier,
        range: Range,
        cancel: &Cancel,
    ) -> Result<Self, NetworkError> {
        let (namespace, links) = namespace::make(|_| {
            fsio::write_to("/proc/sys/net/ipv4/ip_forward", b"1")?;
            // A packet comes from where an answer would go to. Else a step could write the address of another on what it sends,
            // and whoever answers outside would be let through to that one.
            fsio::write_to("/proc/sys/net/ipv4/conf/all/rp_filter", b"1")?;
            let filters = Socket::filters()
                .and_then(|socket| socket.carry_out_together(filters::router(UPLINK)));
            filters.map_err(NetworkError::kernel("make a packet filter"))?;
            Socket::routes().map_err(NetworkError::kernel("reach the routes"))
        })?;
        // Started here, where the machine's network is.
        let outside = Helper::start(carrier, &namespace, range, cancel)?;
        Ok(Self {
            links,
            range,
            made: AtomicU32::new(0),
            outside,
            _namespace: namespace,
        })
    }

    /// Whether the program that was its way out has ended.
    pub(super) fn is_cut_off(&self) -> bool {
        self.outside.has_ended()
    }

    /// Makes the network of one step.
    pub(super) fn connect(&self) -> Result<OwnedFd, NetworkError> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let (gateway, address) = self.range.link(number);
        let (namespace, ()) = namespace::make(|namespace| {
            let name = format!("step{number}");
            let here = End {
                index: FIRST_LINK.saturating_add(number),
                name: &name,
            };
            let inside = Socket::routes();
            let wired = inside.and_then(|inside| {
                self.links.carry_out([
                    links::pair(here, OF_STEP, namespace.as_fd()),
                    links::address(here.index, gateway, Range::LINK_PREFIX),
                ])?;
                inside.carry_out([
                    links::raise(OF_STEP.index),
                    links::address(OF_STEP.index, address, Range::LINK_PREFIX),
                    links::default_route(gateway),
                ])
            });
            wired.map_err(NetworkError::kernel("link a network namespace"))
        })?;
        Ok(namespace)
    }
}

/// A path by which our own children can open a namespace, for as long as the descriptor is open.
pub(super) fn path_of(namespace: &OwnedFd) -> PathBuf {
    let process = rustix::process::getpid().as_raw_nonzero();
    PathBuf::from(format!("/proc/{process}/fd/{}", namespace.as_raw_fd()))
}

/// The address by which the machine is reached from outside of it, also by its own steps; `None` if it has but a loopback.
pub(super) fn machine_address() -> Option<Ipv4Addr> {
    // Sends nothing: it has the kernel look for a route.
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(1, 1, 1, 1), 53)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    }
}
