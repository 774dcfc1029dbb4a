//! Which objects go first when there is not room for all: those that cost least to have again for what they take.
//!
//! Pure: what is in the store goes in, a choice comes out.

use std::time::{Duration, SystemTime};

use super::usage::StoredObject;

/// An object that was used this long ago is worth half of one that is used now, after twice the time a third.
const HALF_AFTER: f64 = 24.0 * 3600.0;

/// What it is worth to keep an object: cost to rebuild × recent use ÷ bytes.
fn worth(object: &StoredObject, now: SystemTime) -> f64 {
    let idle = object
        .used
        .and_then(|used| now.duration_since(used).ok())
        .unwrap_or(Duration::ZERO);
    let recent = 1.0 / (1.0 + idle.as_secs_f64() / HALF_AFTER);
    // Even what takes no time to make takes the time to begin.
    let cost = object.cost.as_secs_f64() + 0.001;
    // Sizes and times are far from where a float loses whole numbers that matter here.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio is compared, not a number of bytes"
    )]
    let bytes = object.bytes.max(1) as f64;
    cost * recent / bytes
}

/// Chooses among the candidates, least worth first, until `bytes` are free or nothing is left.
pub(super) fn choose(
    mut candidates: Vec<StoredObject>,
    bytes: u64,
    now: SystemTime,
) -> Vec<StoredObject> {
    candidates.sort_by(|a, b| {
        worth(a, now)
            .total_cmp(&worth(b, now))
            .then_with(|| a.id.cmp(&b.id))
    });
    let mut free = 0_u64;
    candidates
        .into_iter()
        .take_while(|object| {
            let wanted = free < bytes;
            free = free.saturating_add(object.bytes);
            wanted
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectKind;

    fn object(id: &str, bytes: u64, cost: u64, idle_hours: u64) -> StoredObject {
        StoredObject {
            kind: ObjectKind::Layer,
            id: id.to_owned(),
            about: String::new(),
            bytes,
            used: Some(now() - Duration::from_secs(idle_hours * 3600)),
            cost: Duration::from_secs(cost),
            named: false,
            in_use: false,
            blobs: Vec::new(),
        }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
    }

    fn order(objects: Vec<StoredObject>) -> Vec<String> {
        let chosen = choose(objects, u64::MAX, now());
        chosen.into_iter().map(|object| object.id).collect()
    }

    #[test]
    fn what_is_cheap_large_and_old_goes_first() {
        assert_eq!(
            order(vec![
                object("dear", 1000, 600, 1),
                object("cheap", 1000, 1, 1),
                object("small", 10, 1, 1),
                object("old", 1000, 1, 1000),
            ]),
            ["old", "cheap", "small", "dear"]
        );
    }

    #[test]
    fn no_more_than_needed() {
        let objects = || (0..10).map(|n| object(&n.to_string(), 100, n, 1)).collect();
        assert_eq!(choose(objects(), 0, now()).len(), 0);
        assert_eq!(choose(objects(), 1, now()).len(), 1);
        assert_eq!(choose(objects(), 250, now()).len(), 3);
        assert_eq!(choose(objects(), u64::MAX, now()).len(), 10);
    }
}
