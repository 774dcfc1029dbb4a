//! Why a step ran: the ingredients of its key against those of what was last built at the same place.

use std::collections::BTreeMap;
use std::fmt;

use super::cache_key::{FILES, INPUT, Ingredients};

/// Why the cache could not answer a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissReason {
    /// Nothing was ever built at this place of this Dockerfile.
    FirstBuild,
    /// The user said so.
    NoCache,
    /// The very same step was built, but its result is gone or damaged.
    Lost,
    /// Another kind of instruction was at this place.
    Replaced,
    /// These ingredients differ.
    Changed(Vec<IngredientChange>),
    /// The state below is another one, and nothing else.
    InputChanged,
}

/// One ingredient that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngredientChange {
    /// Its name.
    pub name: String,
    /// Its value then.
    pub old: Option<String>,
    /// Its value now.
    pub new: Option<String>,
    /// Which files, where the ingredient stands for files and it is known.
    pub files: Option<String>,
}

impl MissReason {
    /// Compares what is with what was.
    #[must_use]
    pub fn between(old: Option<&BTreeMap<String, String>>, new: &Ingredients) -> Self {
        let Some(old) = old else {
            return Self::FirstBuild;
        };
        let new = new.as_map();
        if old == new {
            return Self::Lost;
        }
        if old.get("operation") != new.get("operation") {
            return Self::Replaced;
        }
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let differs = |name: &&&String| old.get(**name) != new.get(**name);
        let changed: Vec<IngredientChange> = names
            .iter()
            .filter(differs)
            .filter(|name| name.as_str() != INPUT)
            .map(|name| IngredientChange {
                name: (*name).clone(),
                old: old.get(*name).cloned(),
                new: new.get(*name).cloned(),
                files: None,
            })
            .collect();
        if changed.is_empty() {
            Self::InputChanged
        } else {
            Self::Changed(changed)
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstBuild => f.write_str("first build"),
            Self::NoCache => f.write_str("--no-cache"),
            Self::Lost => f.write_str("built before, but its result is no longer in the store"),
            Self::InputChanged => f.write_str("what is below it changed"),
            Self::Replaced => f.write_str("another instruction was here before"),
            Self::Changed(changes) => {
                let texts: Vec<String> = changes.iter().take(3).map(ToString::to_string).collect();
                f.write_str(&texts.join("; "))?;
                match changes.len() {
                    0..=3 => Ok(()),
                    more => write!(f, "; and {} more", more - 3),
                }
            }
        }
    }
}

impl fmt::Display for IngredientChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(files) = &self.files {
            return f.write_str(files);
        }
        if self.name.starts_with(FILES) {
            return f.write_str("files changed");
        }
        let value = |value: &Option<String>| match value {
            None => "(none)".to_owned(),
            Some(text) if text.is_empty() => "(empty)".to_owned(),
            Some(text) if text.chars().count() > 60 => {
                text.chars().take(57).chain("...".chars()).collect()
            }
            Some(text) => text.clone(),
        };
        let name = self.name.strip_prefix("env ").unwrap_or(&self.name);
        match self.name.as_str() {
            "command" => f.write_str("the command changed"),
            "script" => f.write_str("the script changed"),
            "sources" => f.write_str("the list of sources changed"),
            _ => write!(f, "{name} {} → {}", value(&self.old), value(&self.new)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_in_words() {
        let change = |name: &str, old: Option<&str>, new: Option<&str>| IngredientChange {
            name: name.into(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            files: None,
        };
        let reason = MissReason::Changed(vec![
            change("env VERSION", Some("1.2"), Some("1.3")),
            change("env NEW", None, Some("x")),
            change("files 0", Some("a"), Some("b")),
            change("cwd", Some("/"), Some("/x")),
        ]);
        assert_eq!(
            reason.to_string(),
            "VERSION 1.2 → 1.3; NEW (none) → x; files changed; and 1 more"
        );
        assert_eq!(
            MissReason::between(None, &Ingredients::default()),
            MissReason::FirstBuild
        );
    }
}
