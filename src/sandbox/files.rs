//! The content of `/etc/hosts` and `/etc/resolv.conf` that a step sees; both belong to the build, not to the image.

use std::net::IpAddr;

use super::Network;
use crate::fsio;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where systemd-resolved writes the resolvers that it forwards to.
const SYSTEMD_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// The address at which systemd-resolved answers, reachable on the machine only.
const SYSTEMD_STUB: &str = "127.0.0.53";

/// The resolvers when the machine has none that a step could reach.
const FALLBACK_RESOLVERS: &str = "\
nameserver 8.8.8.8
nameserver 8.8.4.4
nameserver 2001:4860:4860::8888
nameserver 2001:4860:4860::8844
";

/// Content of `/etc/hosts`: the local names, then additional names with their addresses, in their order.
#[must_use]
pub fn hosts(hostname: &str, additional: &[(String, String)]) -> Vec<u8> {
    let mut text = format!(
        "127.0.0.1\tlocalhost {hostname}\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n"
    );
    for (name, address) in additional {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text.into_bytes()
}

/// What a build says of the resolver; what it does not say is the machine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Who is asked.
    pub servers: Vec<IpAddr>,
    /// How.
    pub options: Vec<String>,
    /// Where short names are looked up; `.` for nowhere.
    pub search: Vec<String>,
}

impl Resolver {
    /// The lines of the machine, without those that the build says something else for, then the build's own.
    fn in_place_of(&self, machine: &str) -> String {
        let replaced = |line: &&str| match line.split_whitespace().next() {
            Some("nameserver") => !self.servers.is_empty(),
            Some("options") => !self.options.is_empty(),
            Some("search" | "domain") => !self.search.is_empty(),
            _ => false,
        };
        let kept = machine.lines().filter(|line| !replaced(line));
        let mut lines: Vec<String> = kept.map(str::to_owned).collect();
        if !self.search.is_empty() && self.search != ["."] {
            lines.push(format!("search {}", self.search.join(" ")));
        }
        let servers = self.servers.iter();
        lines.extend(servers.map(|server| format!("nameserver {server}")));
        if !self.options.is_empty() {
            lines.push(format!("options {}", self.options.join(" ")));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Content of `/etc/resolv.conf` on this machine for a step with this network. A machine whose file cannot be read is one
/// without resolvers.
#[must_use]
pub fn host_resolv_conf(network: &Network, resolver: &Resolver) -> Vec<u8> {
    let read = |path| fsio::read(path).unwrap_or_default();
    let mut machine = read(RESOLV_CONF);
    let stub = resolvers(&String::from_utf8_lossy(&machine)).eq([SYSTEMD_STUB]);
    if *network != Network::Host && stub {
        machine = read(SYSTEMD_RESOLV_CONF);
    }
    let machine = resolver.in_place_of(&String::from_utf8_lossy(&machine));
    if resolver.servers.is_empty() {
        resolv_conf(&machine, network)
    } else {
        // The build's servers are its own choice.
        machine.into_bytes()
    }
}

/// Content of `/etc/resolv.conf` from the text of the machine's: on the machine's network as it is, else without resolvers
/// that only the machine itself reaches. There is always a resolver.
#[must_use]
pub fn resolv_conf(of_machine: &str, network: &Network) -> Vec<u8> {
    let keep =
        |line: &&str| *network == Network::Host || !resolver(line).is_some_and(is_of_machine);
    let mut text = String::with_capacity(of_machine.len());
    for line in of_machine.lines().filter(keep) {
        text.push_str(line);
        text.push('\n');
    }
    if resolvers(&text).next().is_none() {
        text.push_str(FALLBACK_RESOLVERS);
    }
    text.into_bytes()
}

fn resolvers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(resolver)
}

/// The address in a `nameserver` line.
fn resolver(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver"))
        .then(|| words.next())
        .flatten()
}

/// Whether an address means something on the machine only: its loopback, or a link of it.
fn is_of_machine(address: &str) -> bool {
    if address.contains('%') {
        return true;
    }
    address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_has_the_local_names_then_the_extra_ones() {
        let extra = [
            ("db".to_owned(), "10.0.0.7".to_owned()),
            ("v6".to_owned(), "fd00::1".to_owned()),
        ];
        let text = String::from_utf8(hosts("box", &extra)).unwrap();
        assert!(text.starts_with("127.0.0.1\tlocalhost box\n::1\tlocalhost "));
        assert!(text.ends_with("ip6-allrouters\n10.0.0.7\tdb\nfd00::1\tv6\n"));
    }

    #[test]
    fn what_the_build_says_takes_the_place_of_what_the_machine_says() {
        let machine = "search x\nnameserver 10.0.0.2\noptions edns0\n";
        let resolver = Resolver {
            servers: vec!["10.9.9.9".parse().unwrap()],
            ..Resolver::default()
        };
        let text = resolver.in_place_of(machine);
        assert_eq!(text, "search x\noptions edns0\nnameserver 10.9.9.9\n");
        let resolver = Resolver {
            options: vec!["ndots:2".to_owned(), "rotate".to_owned()],
            search: vec![".".to_owned()],
            ..Resolver::default()
        };
        let text = resolver.in_place_of(machine);
        assert_eq!(text, "nameserver 10.0.0.2\noptions ndots:2 rotate\n");
    }

    #[test]
    fn only_reachable_resolvers_stay() {
        let cases = [
            (
                "search x\nnameserver 10.0.0.2\n",
                Network::None,
                "search x\nnameserver 10.0.0.2\n".to_owned(),
            ),
            (
                "nameserver 127.0.0.1\nnameserver ::1\nnameserver 1.1.1.1",
                Network::None,
                "nameserver 1.1.1.1\n".to_owned(),
            ),
            (
                "nameserver 127.0.0.53\noptions edns0\n",
                Network::Host,
                "nameserver 127.0.0.53\noptions edns0\n".to_owned(),
            ),
            (
                "nameserver 127.0.0.53\noptions edns0\n",
                Network::None,
                format!("options edns0\n{FALLBACK_RESOLVERS}"),
            ),
            ("", Network::Host, FALLBACK_RESOLVERS.to_owned()),
            (
                "# nameserver 1.2.3.4\n",
                Network::None,
                format!("# nameserver 1.2.3.4\n{FALLBACK_RESOLVERS}"),
            ),
            (
                "nameserver fe80::1%eth0\n",
                Network::None,
                FALLBACK_RESOLVERS.to_owned(),
            ),
        ];
        for (machine, network, expected) in cases {
            let text = String::from_utf8(resolv_conf(machine, &network)).unwrap();
            assert_eq!(text, expected, "{machine}");
        }
    }
}
