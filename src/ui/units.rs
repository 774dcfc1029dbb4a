//! Sizes, durations and ages as people read them.

use std::time::Duration;

use crate::solve::StepResources;

/// A number of bytes in decimal units and three digits: `512B`, `1.02kB`, `77.8MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    // Hundredths of the unit, rounded at the digit that is shown, so that 999,999 is `1MB` and not `1000kB`.
    let mut unit_bytes = 1000_u128;
    let mut unit = 0;
    loop {
        let hundredths = u128::from(bytes) * 100 / unit_bytes;
        let step = match hundredths {
            0..1_000 => 1,
            1_000..10_000 => 10,
            _ => 100,
        };
        let rounded =
            (u128::from(bytes) * 100 + unit_bytes * step / 2) / (unit_bytes * step) * step;
        if rounded < 100_000 || unit + 1 == UNITS.len() {
            return format!("{}{}", decimal(rounded), UNITS[unit]);
        }
        unit_bytes *= 1000;
        unit += 1;
    }
}

/// Hundredths as a decimal number without trailing zeros.
fn decimal(hundredths: u128) -> String {
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match (rest / 10, rest % 10) {
        (0, 0) => format!("{whole}"),
        (tenth, 0) => format!("{whole}.{tenth}"),
        (tenth, hundredth) => format!("{whole}.{tenth}{hundredth}"),
    }
}

/// How long ago something was, in one unit: `5 minutes ago`.
#[must_use]
pub fn age(age: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const WEEK: u64 = 7 * DAY;
    const MONTH: u64 = 30 * DAY;
    const YEAR: u64 = 365 * DAY;
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        0 => return "less than a second ago".to_owned(),
        1..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        DAY..WEEK => (seconds / DAY, "day"),
        WEEK..MONTH => (seconds / WEEK, "week"),
        MONTH..YEAR => (seconds / MONTH, "month"),
        YEAR.. => (seconds / YEAR, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

/// Milliseconds as seconds with one digit: `1.2s`.
pub(super) fn seconds(millis: u64) -> String {
    let tenths = millis.saturating_add(50) / 100;
    format!("{}.{}s", tenths / 10, tenths % 10)
}

/// How steps are run: `steps run as root of the machine`.
pub(super) fn footing(text: &str) -> String {
    format!("steps run {text}")
}

/// What the cache saved and cost: `cache saved 212 s, cost 0.4 s`.
pub(super) fn account(saved_millis: u64, cost_millis: u64) -> String {
    let seconds = |millis: u64| match millis {
        0..9_950 => format!(
            "{:.1} s",
            std::time::Duration::from_millis(millis).as_secs_f64()
        ),
        _ => format!("{} s", millis.saturating_add(500) / 1000),
    };
    format!(
        "cache saved {}, cost {}",
        seconds(saved_millis),
        seconds(cost_millis)
    )
}

/// What a step used, the most telling figures: `processor 20.1s, memory 512MB`.
pub(super) fn used(resources: &StepResources) -> String {
    let micros = resources
        .user_micros
        .saturating_add(resources.system_micros);
    let of = if resources.whole_step {
        ""
    } else {
        " of the largest process"
    };
    let memory = size(resources.peak_memory);
    format!("processor {}, memory{of} {memory}", seconds(micros / 1000))
}

/// A duration in whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How far a transfer is: `12.3MB / 77.8MB`.
pub(super) fn progress(current: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} / {}", size(current), size(total)),
        None => size(current),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1020, "1.02kB"),
            (1024, "1.02kB"),
            (1500, "1.5kB"),
            (9_994, "9.99kB"),
            (9_996, "10kB"),
            (12_345, "12.3kB"),
            (123_456, "123kB"),
            (999_499, "999kB"),
            (999_500, "1MB"),
            (999_999, "1MB"),
            (77_800_000, "77.8MB"),
            (1_240_000_000, "1.24GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn accounts_are_in_seconds() {
        for (saved, cost, expected) in [
            (212_499, 9_000, "cache saved 212 s, cost 9.0 s"),
            (149, 0, "cache saved 0.1 s, cost 0.0 s"),
            (9_949, 9_950, "cache saved 9.9 s, cost 10 s"),
        ] {
            assert_eq!(account(saved, cost), expected);
        }
    }

    #[test]
    fn ages_have_one_unit() {
        let day = 24 * 60 * 60;
        let cases = [
            (0, "less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (3599, "59 minutes ago"),
            (3600, "1 hour ago"),
            (day - 1, "23 hours ago"),
            (6 * day, "6 days ago"),
            (13 * day, "1 week ago"),
            (29 * day, "4 weeks ago"),
            (364 * day, "12 months ago"),
            (800 * day, "2 years ago"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(age(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn seconds_are_rounded_to_tenths() {
        let cases = [
            (0, "0.0s"),
            (49, "0.0s"),
            (50, "0.1s"),
            (1234, "1.2s"),
            (59_999, "60.0s"),
        ];
        for (millis, expected) in cases {
            assert_eq!(seconds(millis), expected, "{millis}");
        }
        assert!(seconds(u64::MAX).ends_with('s'));
    }
}
