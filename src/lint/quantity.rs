//! Numbers of bytes as people read them.

/// `512 B`, `1.5 kB`, `20.3 MB`: decimal units, one digit after the point.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut tenths = u128::from(count) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_000 {
            break;
        }
        tenths = tenths.div_euclid(1000);
        unit = next;
    }
    if unit == "B" {
        return format!("{count} B");
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_550_000, "1.5 MB"),
            (u64::MAX, "18446744.0 TB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
