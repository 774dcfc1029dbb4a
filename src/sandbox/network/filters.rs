//! The packet filter of a network as messages to the kernel's nf_tables. Pure.

use super::netlink::{APPEND, Attributes, CREATE, Message, SILENT};

const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = NEW_TABLE | 3;
const NEW_RULE: u16 = NEW_TABLE | 6;
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const IPV4: [u8; 4] = [2, 0, 0, 0];

const ACCEPT: u32 = 1;
const DROP: u32 = 0;

/// The name of the tables that builders make.
const TABLE: &str = "builder";

/// What a chain of rules is for.
#[derive(Clone, Copy)]
struct Chain {
    name: &'static str,
    kind: &'static str,
    hook: u32,
    priority: i32,
    policy: u32,
}

const FORWARD: Chain = Chain {
    name: "forward",
    kind: "filter",
    hook: 2,
    priority: 0,
    policy: DROP,
};
const ARRIVING: Chain = Chain {
    name: "arriving",
    kind: "filter",
    hook: 1,
    priority: 0,
    policy: ACCEPT,
};
const LEAVING: Chain = Chain {
    name: "leaving",
    kind: "nat",
    hook: 4,
    priority: 100,
    policy: ACCEPT,
};

/// A test of the link that a packet comes from or goes to.
#[derive(Clone, Copy)]
enum Link {
    From = 6,
    To = 7,
}

/// A router between steps and the outside: steps do not reach each other, and what leaves has the router's address.
pub(super) fn router(uplink: &str) -> Vec<Message> {
    let table = Message::new(NEW_TABLE, CREATE, &IPV4).with_text(1, TABLE);
    vec![
        bracket(BEGIN),
        table,
        chain(FORWARD),
        rule(FORWARD, &[matching(Link::From, uplink), verdict(ACCEPT)]),
        rule(FORWARD, &[matching(Link::To, uplink), verdict(ACCEPT)]),
        // Nothing is for the router itself. What connection tracking does not recognise would be, and the router would reset the
        // step's connection: some versions of `pasta` update windows in packets without a flag.
        chain(ARRIVING),
        rule(ARRIVING, &[matching(Link::From, uplink), verdict(DROP)]),
        chain(LEAVING),
        rule(LEAVING, &[matching(Link::To, uplink), vec![masquerade()]]),
        bracket(END),
    ]
}

fn bracket(kind: u16) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, SILENT, &[0, 0, high, low])
}

fn chain(chain: Chain) -> Message {
    let hook = Attributes::default()
        .with(1, &chain.hook.to_be_bytes())
        .with(2, &chain.priority.to_be_bytes());
    Message::new(NEW_CHAIN, CREATE, &IPV4)
        .with_text(1, TABLE)
        .with_text(3, chain.name)
        .with_all(4, hook.bytes())
        .with(5, &chain.policy.to_be_bytes())
        .with_text(7, chain.kind)
}

/// A rule: its expressions in order, each with its name.
fn rule(chain: Chain, expressions: &[Vec<Attributes>]) -> Message {
    let list = expressions.iter().flatten();
    let list = list.fold(Attributes::default(), |list, expression| {
        list.with_all(1, expression.bytes())
    });
    Message::new(NEW_RULE, CREATE | APPEND, &IPV4)
        .with_text(1, TABLE)
        .with_text(2, chain.name)
        .with_all(4, list.bytes())
}

fn expression(name: &str, attributes: &Attributes) -> Attributes {
    Attributes::default()
        .with_text(1, name)
        .with_all(2, attributes.bytes())
}

/// Loads the name of a link, and goes on only if it is this one.
fn matching(link: Link, name: &str) -> Vec<Attributes> {
    const REGISTER: [u8; 4] = 1_u32.to_be_bytes();
    let load = Attributes::default()
        .with(1, &REGISTER)
        .with(2, &(link as u32).to_be_bytes());
    let mut padded = name.as_bytes().to_vec();
    padded.resize(16, 0);
    let value = Attributes::default().with(1, &padded);
    let compare = Attributes::default()
        .with(1, &REGISTER)
        .with(2, &0_u32.to_be_bytes())
        .with_all(3, value.bytes());
    vec![expression("meta", &load), expression("cmp", &compare)]
}

fn masquerade() -> Attributes {
    expression("masq", &Attributes::default())
}

fn verdict(code: u32) -> Vec<Attributes> {
    let code = Attributes::default().with(1, &code.to_be_bytes());
    let data = Attributes::default().with_all(2, code.bytes());
    let immediate = Attributes::default()
        .with(1, &0_u32.to_be_bytes())
        .with_all(2, data.bytes());
    vec![expression("immediate", &immediate)]
}
