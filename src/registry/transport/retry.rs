//! The one place that decides whether a failure is worth another attempt, and after what wait.

use std::time::Duration;

use reqwest::StatusCode;

use super::error::{Failure, Unreachable};
use crate::registry::Patience;

/// How often a host that cannot be found or does not listen is tried: a moment's trouble passes, a wrong name does not.
const ATTEMPTS_TO_FIND: u32 = 3;

/// Runs `operation` until it succeeds, its failure is final or patience ends.
pub(in crate::registry) async fn retry<T>(
    patience: &Patience,
    mut operation: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut attempts = 1;
    loop {
        match operation().await {
            Ok(value) => return Ok(value),
            Err(failure) => match pause(patience, &failure, attempts) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failure.with_attempts(attempts)),
            },
        }
        attempts += 1;
    }
}

/// How long to wait before another attempt after `attempts` have failed; `None` if there is to be no other.
pub(in crate::registry) fn pause(
    patience: &Patience,
    failure: &Failure,
    attempts: u32,
) -> Option<Duration> {
    let doublings = attempts.saturating_sub(1).min(16);
    let backoff = patience
        .first_wait
        .saturating_mul(1 << doublings)
        .min(patience.longest_wait);
    if attempts >= patience.attempts {
        return None;
    }
    match failure {
        Failure::Unreachable { cause, .. } => match cause {
            Unreachable::Timeout | Unreachable::Connection => Some(backoff),
            Unreachable::Name | Unreachable::Refused => {
                (attempts < ATTEMPTS_TO_FIND).then_some(backoff)
            }
            Unreachable::Tls => None,
        },
        Failure::RateLimited { retry_after, .. } => {
            let wait = retry_after.unwrap_or(backoff);
            (wait <= patience.longest_wait).then_some(wait.max(backoff))
        }
        Failure::Status { status, .. } => matches!(
            *status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::INTERNAL_SERVER_ERROR
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        )
        .then_some(backoff),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::transport::SafeUrl;

    fn patience() -> Patience {
        Patience {
            attempts: 4,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(3),
            ..Patience::default()
        }
    }

    fn url() -> SafeUrl {
        SafeUrl::from(&reqwest::Url::parse("https://a.io/").unwrap())
    }

    fn waits(failure: &Failure) -> Vec<u64> {
        let patience = patience();
        (1..100)
            .map_while(|attempts| pause(&patience, failure, attempts))
            .map(|wait| wait.as_secs())
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let unreachable = |cause| Failure::Unreachable {
            url: url(),
            cause,
            message: String::new(),
            attempts: 1,
        };
        assert_eq!(waits(&unreachable(Unreachable::Timeout)), [1, 2, 3]);
        assert_eq!(waits(&unreachable(Unreachable::Refused)), [1, 2]);
        assert_eq!(waits(&unreachable(Unreachable::Tls)), [] as [u64; 0]);
    }

    #[test]
    fn statuses() {
        let of = |status: u16, after: Option<u64>| {
            waits(&Failure::from_answer(
                url(),
                StatusCode::from_u16(status).unwrap(),
                b"",
                after.map(Duration::from_secs),
                false,
            ))
        };
        assert_eq!(of(503, None), [1, 2, 3]);
        assert_eq!(of(429, None), [1, 2, 3]);
        assert_eq!(of(429, Some(3)), [3, 3, 3]);
        for (status, after) in [
            (429, Some(4)),
            (404, None),
            (401, None),
            (400, None),
            (501, None),
        ] {
            assert_eq!(of(status, after), [] as [u64; 0], "{status}");
        }
    }
}
