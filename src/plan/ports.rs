//! The argument of EXPOSE: ports, ranges and the forms with host parts that are reduced to the container's port.

use std::fmt;

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// A port of the container; printed as `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    number: u16,
    protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

/// The ports of one argument, in order.
///
/// # Errors
/// The text of what is wrong, as the field knows it.
pub(super) fn exposed(spec: &str) -> Result<impl Iterator<Item = Port> + use<>, String> {
    let invalid = |why: String| format!("invalid port: \"{spec}\": {why}");
    let (ports, proto) = match spec.split_once('/') {
        Some((ports, proto)) => (ports, proto.to_ascii_lowercase()),
        None => (spec, String::new()),
    };
    if ports.is_empty() {
        return Err(invalid("no port specified".to_owned()));
    }
    let (ip, host, container) = split_parts(ports);
    if container.is_empty() {
        return Err(invalid("no port specified".to_owned()));
    }
    let protocol = match proto.as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(invalid(format!("invalid proto: {proto}"))),
    };
    if !ip.is_empty()
        && ip
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_err()
    {
        return Err(invalid(format!("invalid IP address: {ip}")));
    }
    let container_range =
        range(container).ok_or_else(|| invalid(format!("invalid containerPort: {container}")))?;
    if !host.is_empty() {
        let host_range = range(host).ok_or_else(|| invalid(format!("invalid hostPort: {host}")))?;
        let width = |(first, last): (u16, u16)| last - first;
        // One container port may be offered on any port of a range.
        if width(host_range) != width(container_range) && width(container_range) != 0 {
            return Err(invalid(format!(
                "invalid ranges specified for container and host Ports: {container} and {host}"
            )));
        }
    }
    let (first, last) = container_range;
    Ok((first..=last).map(move |number| Port { number, protocol }))
}

/// `ip:host:container`, `host:container` or `container`; an IPv6 address is in brackets.
fn split_parts(ports: &str) -> (&str, &str, &str) {
    match ports.rsplit_once(':') {
        None => ("", "", ports),
        Some((before, container)) => match before.rsplit_once(':') {
            Some((ip, host)) if !before.ends_with(']') => (ip, host, container),
            None if !before.starts_with('[') => ("", before, container),
            _ => (before, "", container),
        },
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::exposed;

    #[test]
    fn forms() {
        for (spec, expected) in [
            ("80", "80/tcp"),
            ("80/UDP", "80/udp"),
            ("80-82/tcp", "80/tcp 81/tcp 82/tcp"),
            ("8080:80", "80/tcp"),
            ("127.0.0.1:8080:80/sctp", "80/sctp"),
            ("[::1]:8080:80", "80/tcp"),
        ] {
            let ports: Vec<String> = exposed(spec)
                .unwrap()
                .map(|port| port.to_string())
                .collect();
            assert_eq!(ports.join(" "), expected, "{spec}");
        }
    }

    #[test]
    fn refusals() {
        for (spec, expected) in [
            ("80/foo", "invalid port: \"80/foo\": invalid proto: foo"),
            ("/tcp", "invalid port: \"/tcp\": no port specified"),
            ("x", "invalid containerPort: x"),
            ("65536", "invalid containerPort: 65536"),
            ("x:80", "invalid hostPort: x"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            (
                "1-2:5-9",
                "invalid ranges specified for container and host Ports: 5-9 and 1-2",
            ),
            ("9-1", "invalid containerPort: 9-1"),
        ] {
            let error = exposed(spec).err().unwrap();
            assert!(error.contains(expected), "{spec}: {error}");
        }
    }
}
