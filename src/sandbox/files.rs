//! Files that a step sees instead of the image's: `/etc/hosts` and `/etc/resolv.conf`.

use std::net::IpAddr;

use super::Network;
use crate::fsio;

/// Resolvers for a machine that names none that a step could reach.
const PUBLIC_RESOLVERS: [&str; 4] = [
    "8.8.8.8",
    "8.8.4.4",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
];
/// Where systemd-resolved keeps the list behind its stub.
const BEHIND_THE_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// Content of `/etc/hosts` for a host name, with additional names and their addresses.
#[must_use]
pub fn hosts(hostname: &str, additional: &[(String, String)]) -> Vec<u8> {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n");
    text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\n");
    text.push_str("fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
    for (name, address) in additional {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text.into_bytes()
}

/// Content of `/etc/resolv.conf` on this machine for a step with this network.
#[must_use]
pub fn host_resolv_conf(network: Network) -> Vec<u8> {
    let read = |path| {
        fsio::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    };
    let own = read("/etc/resolv.conf");
    let stub = own
        .lines()
        .filter_map(resolver)
        .eq(std::iter::once("127.0.0.53"));
    let text = if stub { read(BEHIND_THE_STUB) } else { own };
    resolv_conf(&text, network)
}

/// What a step is told of a machine's resolvers. On the host's network all of them can be reached; elsewhere those on
/// loopback cannot.
#[must_use]
pub fn resolv_conf(of_host: &str, network: Network) -> Vec<u8> {
    let reachable = |line: &&str| match resolver(line) {
        Some(address) => {
            network == Network::Host || address.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback())
        }
        None => true,
    };
    let mut lines: Vec<String> = of_host
        .lines()
        .filter(reachable)
        .map(str::to_owned)
        .collect();
    if !lines.iter().any(|line| resolver(line).is_some()) {
        lines.extend(
            PUBLIC_RESOLVERS
                .iter()
                .map(|address| format!("nameserver {address}")),
        );
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text.into_bytes()
}

fn resolver(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver"))
        .then(|| words.next())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_that_cannot_be_reached_are_left_out() {
        let of_host = "search a.b\nnameserver 127.0.0.1\nnameserver 10.0.0.1\n";
        assert_eq!(resolv_conf(of_host, Network::Host), of_host.as_bytes());
        assert_eq!(
            resolv_conf(of_host, Network::None),
            b"search a.b\nnameserver 10.0.0.1\n"
        );
        let text = String::from_utf8(resolv_conf("nameserver ::1\n", Network::None)).unwrap();
        assert!(text.starts_with("nameserver 8.8.8.8\n"));
    }

    #[test]
    fn hosts_name_the_step_and_what_was_added() {
        let text = String::from_utf8(hosts("h", &[("db".into(), "10.1.2.3".into())])).unwrap();
        assert!(text.starts_with("127.0.0.1\tlocalhost h\n") && text.ends_with("10.1.2.3\tdb\n"));
    }
}
