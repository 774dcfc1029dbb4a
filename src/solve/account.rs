//! What the cache saved and what it cost.

use std::ops::AddAssign;
use std::time::Duration;

use super::event::BuildEvent;

/// The least that is worth a line.
const WORTH_TELLING: Duration = Duration::from_millis(100);

/// Time that the cache saved, and time that it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// How long the steps took that did not have to run, when they ran.
    pub saved: Duration,
    /// What went into keys, look-ups, records, and caches of others.
    pub cost: Duration,
}

impl Account {
    /// Something was saved.
    #[must_use]
    pub fn saving(saved: Duration) -> Self {
        Self {
            saved,
            ..Self::default()
        }
    }

    /// Something was spent.
    #[must_use]
    pub fn costing(cost: Duration) -> Self {
        Self {
            cost,
            ..Self::default()
        }
    }

    /// The event that tells it, if there is something to tell.
    #[must_use]
    pub fn event(&self) -> Option<BuildEvent> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let worth_it = self.saved >= WORTH_TELLING || self.cost >= WORTH_TELLING;
        worth_it.then(|| BuildEvent::Account {
            saved_millis: millis(self.saved),
            cost_millis: millis(self.cost),
        })
    }
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.saved += other.saved;
        self.cost += other.cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_not_told() {
        let mut account = Account::saving(Duration::from_millis(60));
        account += Account::costing(Duration::from_millis(99));
        assert_eq!(account.event(), None);
        account += Account::saving(Duration::from_millis(40));
        let told = BuildEvent::Account {
            saved_millis: 100,
            cost_millis: 99,
        };
        assert_eq!(account.event(), Some(told));
    }
}
