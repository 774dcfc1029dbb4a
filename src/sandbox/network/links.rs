//! Links, addresses and routes as messages to the kernel. Pure.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::netlink::{Attributes, CHANGE, CREATE, EXCLUSIVE, Message};

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NAME: u16 = 3;
const MTU: u16 = 4;
const LINK_INFO: u16 = 18;
const NAMESPACE: u16 = 28;
const INET: u8 = 2;
const UP: u32 = 1;

/// The largest packet, as on the way out: what carries packets there does not listen when told that one was too large.
const LARGEST: u32 = 65_520;

/// One end of a pair of links.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    /// Its number in its namespace; chosen here, so that nobody has to ask.
    pub(super) index: u32,
    /// Its name in its namespace.
    pub(super) name: &'a str,
}

/// Makes a pair of links: one here, which is up, and one in another namespace.
pub(super) fn pair(here: End<'_>, there: End<'_>, namespace: BorrowedFd<'_>) -> Message {
    let peer = Attributes::after(&link(there.index, 0))
        .with_text(NAME, there.name)
        .with(MTU, &LARGEST.to_ne_bytes())
        .with(NAMESPACE, &namespace.as_raw_fd().to_ne_bytes());
    let data = Attributes::default().with_all(1, peer.bytes());
    let info = Attributes::default()
        .with_text(1, "veth")
        .with_all(2, data.bytes());
    Message::new(NEW_LINK, CREATE | EXCLUSIVE, &link(here.index, UP))
        .with_text(NAME, here.name)
        .with(MTU, &LARGEST.to_ne_bytes())
        .with_all(LINK_INFO, info.bytes())
}

/// Brings a link up.
pub(super) fn raise(index: u32) -> Message {
    Message::new(NEW_LINK, CHANGE, &link(index, UP))
}

fn link(index: u32, flags: u32) -> Vec<u8> {
    let (zero, flags) = ([0; 4], flags.to_ne_bytes());
    [zero, index.to_ne_bytes(), flags, flags].concat()
}

/// Gives a link its address, which comes with a route to its neighbours.
pub(super) fn address(index: u32, address: Ipv4Addr, prefix: u8) -> Message {
    let fixed = [&[INET, prefix, 0, 0][..], &index.to_ne_bytes()].concat();
    Message::new(NEW_ADDRESS, CREATE | EXCLUSIVE, &fixed)
        .with(2, &address.octets())
        .with(1, &address.octets())
}

/// Sends everything else to a neighbour.
pub(super) fn default_route(gateway: Ipv4Addr) -> Message {
    const MAIN_TABLE: u8 = 254;
    const STATIC: u8 = 4;
    const UNICAST: u8 = 1;
    let fixed = [INET, 0, 0, 0, MAIN_TABLE, STATIC, 0, UNICAST, 0, 0, 0, 0];
    Message::new(NEW_ROUTE, CREATE | EXCLUSIVE, &fixed).with(5, &gateway.octets())
}
