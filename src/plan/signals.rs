//! Names of signals, for STOPSIGNAL.

/// Linux signals by name without `SIG`.
const NAMES: [&str; 33] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV",
    "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN",
    "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR",
];

/// Whether a text names a signal: a number from 1 to 64, or a name with or without `SIG` in any case.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = |prefix: &str, limit: u32| {
        name.strip_prefix(prefix)
            .is_some_and(|n| n.parse::<u32>().is_ok_and(|n| (1..=limit).contains(&n)))
    };
    NAMES.contains(&name)
        || matches!(name, "SYS" | "RTMIN" | "RTMAX")
        || realtime("RTMIN+", 15)
        || realtime("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn names_and_numbers() {
        for good in ["SIGTERM", "term", "9", "64", "SIGRTMIN+3", "RTMAX-1", "Sys"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["", "0", "65", "-9", "SIG", "FOO", "RTMIN+16", "RTMIN+"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
