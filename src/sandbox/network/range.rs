//! The addresses of a router and its steps: a range of 65 536 that no route of the machine is about. Pure.

use std::net::Ipv4Addr;

/// A range of addresses, by its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range(u32);

/// Ranges to choose from: that of benchmarks, which no network uses, then private ones that few use.
const CHOICES: [Ipv4Addr; 5] = [
    Ipv4Addr::new(198, 18, 0, 0),
    Ipv4Addr::new(198, 19, 0, 0),
    Ipv4Addr::new(10, 217, 0, 0),
    Ipv4Addr::new(172, 29, 0, 0),
    Ipv4Addr::new(10, 142, 0, 0),
];

const SIZE_PREFIX: u32 = 16;

/// Links from this one on are of steps; the first is the router's to the outside.
const FIRST_OF_STEPS: u32 = 64;

/// How many links have an address of their own before the first is used again.
const LINKS: u32 = (1 << 14) - FIRST_OF_STEPS;

impl Range {
    /// A link has four addresses: two of its ends.
    pub(super) const LINK_PREFIX: u8 = 30;

    /// The first choice that no route in the text of `/proc/net/route` is about.
    pub(super) fn choose(routes: &str) -> Option<Self> {
        let mut choices = CHOICES.iter().map(|first| u32::from(*first));
        choices
            .find(|first| !routes.lines().filter_map(route).any(|r| r.meets(*first)))
            .map(Self)
    }

    /// The two addresses of the router's link to the outside: the far end, and its own.
    pub(super) fn outside(self) -> (Ipv4Addr, Ipv4Addr) {
        self.ends(0)
    }

    /// The two addresses of the link to a step: the router's end, and the step's.
    pub(super) fn link(self, number: u32) -> (Ipv4Addr, Ipv4Addr) {
        self.ends(FIRST_OF_STEPS + number % LINKS)
    }

    fn ends(self, link: u32) -> (Ipv4Addr, Ipv4Addr) {
        let first = self.0 + link * 4;
        (Ipv4Addr::from(first + 1), Ipv4Addr::from(first + 2))
    }
}

/// A route to a part of all addresses.
#[derive(Clone, Copy)]
struct Route {
    destination: u32,
    mask: u32,
}

impl Route {
    /// Whether a range and the destinations of the route have an address in common.
    fn meets(self, range: u32) -> bool {
        let mask = self.mask & (u32::MAX << (32 - SIZE_PREFIX));
        self.destination & mask == range & mask
    }
}

/// A line of `/proc/net/route`; `None` for the heading and for the way to everywhere.
fn route(line: &str) -> Option<Route> {
    let mut words = line.split_whitespace();
    let mut number = |skipped: usize| {
        let word = words.nth(skipped)?;
        // The kernel prints what is in memory, which is in the order of the network.
        u32::from_str_radix(word, 16).ok().map(u32::to_be)
    };
    let route = Route {
        destination: number(1)?,
        mask: number(5)?,
    };
    (route.mask != 0).then_some(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn routes(list: &[(&str, &str)]) -> String {
        let number = |address: &str| {
            let address: Ipv4Addr = address.parse().unwrap();
            u32::from(address).to_be()
        };
        let line = |(destination, mask): &(&str, &str)| {
            let (destination, mask) = (number(destination), number(mask));
            format!("eth0\t{destination:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n")
        };
        let lines: String = list.iter().map(line).collect();
        format!("{HEADING}{lines}")
    }

    #[test]
    fn a_range_meets_no_route() {
        let first = |list: &[(&str, &str)]| Range::choose(&routes(list)).map(|r| r.outside().0);
        let default = ("0.0.0.0", "0.0.0.0");
        let one = Some(Ipv4Addr::new(198, 18, 0, 1));
        let two = Some(Ipv4Addr::new(198, 19, 0, 1));
        assert_eq!(first(&[default, ("10.0.0.0", "255.255.255.0")]), one);
        assert_eq!(first(&[("198.18.7.0", "255.255.255.0")]), two);
        assert_eq!(first(&[("198.18.0.1", "255.255.255.255")]), two);
        let wide = [("198.18.0.0", "255.254.0.0")];
        assert_eq!(first(&wide), Some(Ipv4Addr::new(10, 217, 0, 1)));
        assert_eq!(
            first(&[("128.0.0.0", "128.0.0.0"), ("0.0.0.0", "128.0.0.0")]),
            None
        );
    }

    #[test]
    fn links_have_addresses_of_their_own() {
        let range = Range::choose(HEADING).unwrap();
        let ends = (Ipv4Addr::new(198, 18, 1, 1), Ipv4Addr::new(198, 18, 1, 2));
        assert_eq!(range.link(0), ends);
        assert_eq!(range.link(LINKS), ends);
        assert_eq!(range.link(LINKS - 1).1, Ipv4Addr::new(198, 18, 255, 254));
    }
}
