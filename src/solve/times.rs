//! Times as image documents write them: RFC 3339, UTC, whole seconds.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    rfc3339_seconds(OffsetDateTime::from(time).unix_timestamp())
}

/// Seconds since 1970. What no document can say becomes 1970.
#[must_use]
pub fn rfc3339_seconds(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339)
        .unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_in_utc() {
        assert_eq!(rfc3339_seconds(1_704_067_200), "2024-01-01T00:00:00Z");
        assert_eq!(rfc3339_seconds(i64::MAX), "1970-01-01T00:00:00Z");
    }
}
