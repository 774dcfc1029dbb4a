//! Image configs as raw JSON maps with a typed view (image-spec, config.md).
//!
//! A config is patched, never rebuilt, so that fields we do not know survive from the base image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Digest, Platform, canonical_json};

/// An image config document.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    raw: Map<String, Value>,
}

/// A config document that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a JSON object.
    #[error("the image config is not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    /// A field of the wrong type.
    #[error("the image config has a bad `{0}`")]
    Field(&'static str),
}

/// One entry of an image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// RFC 3339 time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the entry made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// A health check as Docker stores it; times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", text]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time a check may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks in the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Config {
    /// Reads a config document and checks the fields that the builder relies on.
    ///
    /// # Errors
    /// Not a JSON object, or a field of the wrong type.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let config = Self {
            raw: serde_json::from_slice(bytes)?,
        };
        config
            .view::<Vec<Digest>>("/rootfs/diff_ids")
            .ok_or(ConfigError::Field("rootfs.diff_ids"))?;
        if !config
            .raw
            .get("config")
            .is_none_or(|c| c.is_object() || c.is_null())
        {
            return Err(ConfigError::Field("config"));
        }
        if config.raw.get("history").is_some_and(|h| !h.is_null()) {
            config
                .view::<Vec<HistoryEntry>>("/history")
                .ok_or(ConfigError::Field("history"))?;
        }
        Ok(config)
    }

    /// The config of an empty image for a platform.
    #[must_use]
    pub fn scratch(platform: &Platform) -> Self {
        let mut config = Self { raw: Map::new() };
        config.raw.insert("config".to_owned(), json!({}));
        config.raw.insert(
            "rootfs".to_owned(),
            json!({"type": "layers", "diff_ids": []}),
        );
        config.set_platform(platform);
        config
    }

    /// The document's bytes, as hashed and stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(&self.raw)
    }

    /// The raw document.
    #[must_use]
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    fn view<T: for<'de> Deserialize<'de>>(&self, pointer: &str) -> Option<T> {
        let mut value = self.raw.get(pointer.split('/').nth(1)?)?;
        for key in pointer.split('/').skip(2) {
            value = value.get(key)?;
        }
        T::deserialize(value).ok()
    }

    /// Sets a top-level field, or removes it with `None`.
    pub fn set_top(&mut self, key: &str, value: Option<Value>) {
        match value {
            Some(value) => self.raw.insert(key.to_owned(), value),
            None => self.raw.remove(key),
        };
    }

    /// Sets a field of the inner `config` object, or removes it with `None`.
    pub fn set(&mut self, key: &str, value: Option<Value>) {
        let inner = self.raw.entry("config").or_insert_with(|| json!({}));
        if !inner.is_object() {
            *inner = json!({});
        }
        if let Some(inner) = inner.as_object_mut() {
            match value {
                Some(value) => inner.insert(key.to_owned(), value),
                None => inner.remove(key),
            };
        }
    }

    /// A field of the inner `config` object as a typed value; `None` if absent or of another type.
    #[must_use]
    pub fn get<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Option<T> {
        T::deserialize(self.raw.get("config")?.get(key)?).ok()
    }

    /// Adds a key to a map field whose values are empty objects or strings (`ExposedPorts`, `Volumes`, `Labels`).
    pub fn insert_into(&mut self, field: &str, key: &str, value: Value) {
        if let Some(map) = self
            .raw
            .get_mut("config")
            .and_then(|inner| inner.get_mut(field))
            && let Some(map) = map.as_object_mut()
        {
            map.insert(key.to_owned(), value);
        } else {
            self.set(field, Some(json!({ key: value })));
        }
    }

    /// The environment in order. Entries without `=` have an empty value.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let list: Vec<String> = self.get("Env").unwrap_or_default();
        let split = |entry: String| match entry.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (entry, String::new()),
        };
        list.into_iter().map(split).collect()
    }

    /// Sets an environment variable: in place if it is there, else at the end.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.extend_env(&[(key.to_owned(), value.to_owned())]);
    }

    /// As [`Config::set_env`] for one pair after the other.
    pub fn extend_env(&mut self, pairs: &[(String, String)]) {
        if pairs.is_empty() {
            return;
        }
        let mut list: Vec<String> = self.get("Env").unwrap_or_default();
        let mut positions = BTreeMap::new();
        for (position, entry) in list.iter().enumerate() {
            let key = entry.split('=').next().unwrap_or_default().to_owned();
            positions.entry(key).or_insert(position);
        }
        for (key, value) in pairs {
            let entry = format!("{key}={value}");
            let position = *positions.entry(key.clone()).or_insert(list.len());
            match list.get_mut(position) {
                Some(found) => *found = entry,
                None => list.push(entry),
            }
        }
        self.set("Env", Some(json!(list)));
    }

    /// The working directory, empty if not set.
    #[must_use]
    pub fn working_dir(&self) -> String {
        self.get("WorkingDir").unwrap_or_default()
    }

    /// The user, empty if not set.
    #[must_use]
    pub fn user(&self) -> String {
        self.get("User").unwrap_or_default()
    }

    /// The triggers for builds on top of this image.
    #[must_use]
    pub fn on_build(&self) -> Vec<String> {
        self.get("OnBuild").unwrap_or_default()
    }

    /// The shell of shell-form instructions, if the image names one.
    #[must_use]
    pub fn shell(&self) -> Option<Vec<String>> {
        self.get("Shell")
            .filter(|shell: &Vec<String>| !shell.is_empty())
    }

    /// The platform the image is for.
    #[must_use]
    pub fn platform(&self) -> Platform {
        let text = |key: &str| {
            self.raw
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let platform = Platform::new(text("os"), text("architecture"), text("variant"));
        Platform {
            os_version: text("os.version").to_owned(),
            ..platform
        }
    }

    /// Overwrites the platform.
    pub fn set_platform(&mut self, platform: &Platform) {
        let text = |value: &str| (!value.is_empty()).then(|| json!(value));
        self.set_top("os", text(&platform.os));
        self.set_top("architecture", text(&platform.arch));
        // The field's own table: arm64 means v8 and arm means v7 where nothing is said.
        self.set_top("variant", text(&platform.variant));
        if !platform.os_version.is_empty() {
            self.set_top("os.version", text(&platform.os_version));
        }
    }

    /// Digests of the uncompressed layers, bottom first.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.view("/rootfs/diff_ids").unwrap_or_default()
    }

    /// Replaces the list of layers.
    pub fn set_diff_ids(&mut self, diff_ids: &[Digest]) {
        self.set_top(
            "rootfs",
            Some(json!({"type": "layers", "diff_ids": diff_ids})),
        );
    }

    /// The history, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.view("/history").unwrap_or_default()
    }

    /// Replaces the history.
    pub fn set_history(&mut self, history: &[HistoryEntry]) {
        self.set_top("history", (!history.is_empty()).then(|| json!(history)));
    }

    /// When the image was made, RFC 3339.
    #[must_use]
    pub fn created(&self) -> Option<String> {
        self.view("/created")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive_and_env_keeps_its_order() {
        let text = br#"{"config":{"Env":["A=1","B=2"],"X-Odd":[1]},"rootfs":{"type":"layers","diff_ids":[]},"odd":{"x":null}}"#;
        let mut config = Config::parse(text).unwrap();
        config.set_env("A", "3");
        config.set_env("C", "=");
        assert_eq!(
            config.env(),
            [("A", "3"), ("B", "2"), ("C", "=")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
        let out = String::from_utf8(config.to_bytes()).unwrap();
        assert!(out.contains(r#""X-Odd":[1]"#) && out.contains(r#""odd":{"x":null}"#));
    }

    #[test]
    fn refusals() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"rootfs":{"diff_ids":["x"]}}"#,
            r#"{"rootfs":{"diff_ids":[]},"config":3}"#,
        ] {
            assert!(Config::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
