//! Names and values in the order in which they came, found by name without looking through all of them. Copies share what
//! they have in common until one of them changes.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Variables in order; each name is there once, unless it was twice in what they were made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    pairs: Arc<Vec<(String, String)>>,
    positions: Arc<BTreeMap<String, usize>>,
}

impl Variables {
    /// The first value counts where a name is there twice.
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        let mut positions = BTreeMap::new();
        for (position, (name, _)) in pairs.iter().enumerate() {
            positions.entry(name.clone()).or_insert(position);
        }
        Self {
            pairs: Arc::new(pairs),
            positions: Arc::new(positions),
        }
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&String> {
        let position = *self.positions.get(name)?;
        self.pairs.get(position).map(|(_, value)| value)
    }

    /// Replaces the value in its place, or appends name and value.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let pairs = Arc::make_mut(&mut self.pairs);
        let known = self.positions.get(name);
        if let Some((_, old)) = known.and_then(|&position| pairs.get_mut(position)) {
            value.clone_into(old);
        } else {
            Arc::make_mut(&mut self.positions).insert(name.to_owned(), pairs.len());
            pairs.push((name.to_owned(), value.to_owned()));
        }
    }

    /// All of them, shared.
    pub(super) fn pairs(&self) -> &Arc<Vec<(String, String)>> {
        &self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_values() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut variables = Variables::new(vec![pair("a", "1"), pair("b", "2"), pair("a", "3")]);
        let before = variables.clone();
        variables.set("a", "4");
        variables.set("c", "5");
        assert_eq!(variables.get("a").map(String::as_str), Some("4"));
        assert_eq!(variables.get("d"), None);
        let all = [
            pair("a", "4"),
            pair("b", "2"),
            pair("a", "3"),
            pair("c", "5"),
        ];
        assert_eq!(**variables.pairs(), all);
        assert_eq!(before.get("a").map(String::as_str), Some("1"));
        assert_eq!(before.pairs().len(), 3);
    }
}
