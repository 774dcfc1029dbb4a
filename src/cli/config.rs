//! Configuration files: TOML to values, with every mistake at its place. Which file goes before which is in `preferences`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{limits, values};
use crate::solve::Snapshotter;
use crate::source::{Diagnostic, SourceFile};

/// The names of all settings, as `builder config` lists them.
pub(super) const SETTINGS: [&str; 10] = [
    "root",
    "cache-max",
    "jobs",
    "tag-age",
    "offline",
    "memory",
    "pids-limit",
    "timeout",
    "snapshotter",
    "registry",
];

/// What a registry may be given.
const REGISTRY_SETTINGS: [&str; 2] = ["mirrors", "insecure"];

/// The kind of a mistake in a configuration file.
const CODE: &str = "config";

/// What one file says; nothing where it is silent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) root: Option<PathBuf>,
    /// `Some(None)`: no limit.
    pub(super) cache_max: Option<Option<u64>>,
    pub(super) jobs: Option<NonZeroUsize>,
    pub(super) tag_age: Option<Duration>,
    pub(super) offline: Option<bool>,
    /// Of each RUN step; `Some(None)`: no limit.
    pub(super) memory: Option<Option<u64>>,
    pub(super) pids_limit: Option<Option<u64>>,
    pub(super) timeout: Option<Option<Duration>>,
    /// `Some(None)`: the best that the machine allows.
    pub(super) snapshotter: Option<Option<Snapshotter>>,
    /// By name as in references.
    pub(super) registries: BTreeMap<String, RegistryConfig>,
}

/// What one file says of a registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RegistryConfig {
    pub(super) mirrors: Option<Vec<String>>,
    pub(super) insecure: Option<bool>,
}

/// Reads the text of a file.
pub(super) fn parse(file: &SourceFile) -> Result<Config, Vec<Diagnostic>> {
    let (table, errors) = DeTable::parse_recoverable(file.text());
    let mut reading = Reading {
        file,
        mistakes: Vec::new(),
    };
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        reading.mistake(range, error.message().to_owned());
    }
    let mut config = Config::default();
    if reading.mistakes.is_empty() {
        reading.settings(table.get_ref(), &mut config);
    }
    if reading.mistakes.is_empty() {
        return Ok(config);
    }
    // A table is sorted by its keys.
    let place = |mistake: &Diagnostic| mistake.span().map(|span| span.start);
    reading.mistakes.sort_by_key(place);
    Err(reading.mistakes)
}

/// A file that is being read, and what is wrong with it.
struct Reading<'f> {
    file: &'f SourceFile,
    mistakes: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn settings(&mut self, table: &DeTable<'_>, config: &mut Config) {
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "root" => config.root = self.text(value, absolute),
                "cache-max" => config.cache_max = self.text(value, values::limit),
                "jobs" => config.jobs = self.jobs(value),
                "tag-age" => config.tag_age = self.text(value, values::duration),
                "offline" => config.offline = self.switch(value),
                "memory" => config.memory = self.text(value, limits::memory),
                "pids-limit" => config.pids_limit = self.text(value, limits::count),
                "timeout" => config.timeout = self.text(value, limits::timeout),
                "snapshotter" => config.snapshotter = self.text(value, values::snapshotter),
                "registry" => self.registries(value, config),
                _ => self.unknown(key, &SETTINGS),
            }
        }
    }

    fn registries(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config) {
        let DeValue::Table(registries) = value.get_ref() else {
            let expected = "a table for each registry: `[registry.\"docker.io\"]`";
            return self.other(value, expected);
        };
        for (name, value) in registries {
            let DeValue::Table(settings) = value.get_ref() else {
                let like = format!("a table: `[registry.\"{}\"]`", name.get_ref());
                self.other(value, &like);
                continue;
            };
            let registry = match values::registry(name.get_ref()) {
                Ok(registry) => registry,
                Err(why) => {
                    self.mistake(name.span(), why);
                    self.suggest_quotes(name.get_ref(), settings);
                    continue;
                }
            };
            let entry = config.registries.entry(registry).or_default();
            for (key, value) in settings {
                match key.get_ref().as_ref() {
                    "mirrors" => entry.mirrors = self.mirrors(value),
                    "insecure" => entry.insecure = self.switch(value),
                    _ => self.unknown(key, &REGISTRY_SETTINGS),
                }
            }
        }
    }

    /// Names of hosts have dots, which in TOML are something else: `[registry.docker.io]` is `io` in `docker`.
    fn suggest_quotes(&mut self, name: &str, settings: &DeTable<'_>) {
        let inner = settings.iter().find_map(|(key, value)| {
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            is_table.then(|| key.get_ref())
        });
        if let (Some(inner), Some(mistake)) = (inner, self.mistakes.last_mut()) {
            let hint = format!("a name with dots has quotes: `[registry.\"{name}.{inner}\"]`");
            mistake.hints.push(hint);
        }
    }

    fn mirrors(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
        let DeValue::Array(mirrors) = value.get_ref() else {
            self.other(value, "a list: `[\"mirror.example.com/hub\"]`");
            return None;
        };
        let mut read = Vec::with_capacity(mirrors.len());
        for value in mirrors.iter() {
            let login = value
                .get_ref()
                .as_str()
                .is_some_and(|text| text.contains('@'));
            if login {
                // An excerpt would show it.
                let line = self.file.line(self.file.span(value.span()).start);
                let message = format!("{}:{line}: {}", self.file.name(), values::MIRROR_LOGIN);
                self.mistakes.push(Diagnostic::error(CODE, message));
                continue;
            }
            read.extend(self.text(value, values::mirror));
        }
        Some(read)
    }

    fn jobs(&mut self, value: &Spanned<DeValue<'_>>) -> Option<NonZeroUsize> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let jobs = number.and_then(NonZeroUsize::new);
        if jobs.is_none() {
            self.other(value, "a number from 1 on");
        }
        jobs
    }

    fn switch(&mut self, value: &Spanned<DeValue<'_>>) -> Option<bool> {
        if let DeValue::Boolean(value) = value.get_ref() {
            return Some(*value);
        }
        self.other(value, "`true` or `false`");
        None
    }

    /// A value that is written as a text with a grammar of its own.
    fn text<T>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let DeValue::String(text) = value.get_ref() else {
            self.other(value, "a text in quotes");
            return None;
        };
        match read(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.mistake(value.span(), why);
                None
            }
        }
    }

    fn other(&mut self, value: &Spanned<DeValue<'_>>, expected: &str) {
        let range = value.span();
        let written = self.file.text().get(range.clone()).unwrap_or_default();
        let line = written.lines().next().unwrap_or_default();
        self.mistake(range, format!("`{line}` is not {expected}"));
    }

    fn unknown(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, known: &[&str]) {
        let name = key.get_ref();
        self.mistake(key.span(), format!("unknown setting `{name}`"));
        let similar = known
            .iter()
            .map(|known| {
                (
                    strsim::damerau_levenshtein(known, &name.replace('_', "-")),
                    known,
                )
            })
            .min()
            .filter(|(distance, _)| *distance <= 2);
        let hint = match similar {
            Some((_, known)) => format!("did you mean `{known}`?"),
            None => format!("there are `{}`", known.join("`, `")),
        };
        if let Some(mistake) = self.mistakes.last_mut() {
            mistake.hints.push(hint);
        }
    }

    fn mistake(&mut self, range: Range<usize>, message: String) {
        let place = self.file.span(range);
        self.mistakes
            .push(Diagnostic::error(CODE, message).at(place, ""));
    }
}

/// A folder that is the same wherever the builder is started.
fn absolute(text: &str) -> Result<PathBuf, String> {
    match Path::new(text).is_absolute() {
        true => Ok(PathBuf::from(text)),
        false => Err(format!("`{text}` is not an absolute path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{SourceMap, Style, render};

    fn read(text: &str) -> Result<Config, String> {
        let mut sources = SourceMap::default();
        let file = sources
            .add("config.toml", text.as_bytes().to_vec())
            .unwrap();
        parse(&file).map_err(|mistakes| {
            let style = Style { colour: false };
            let rendered = mistakes.iter().map(|m| render(&sources, m, style));
            rendered.collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn a_file_with_everything() {
        let config = read(
            r#"
            root = "/srv/builder"
            cache-max = "20G"
            jobs = 4
            tag-age = "1h30m"
            offline = true
            memory = "2g"
            pids-limit = "500"
            timeout = "none"
            snapshotter = "copy"
            [registry."docker.io"]
            mirrors = ["https://mirror.example.com/hub", "other:5000"]
            [registry."other:5000"]
            insecure = true
            "#,
        );
        let mirrors = ["https://mirror.example.com/hub", "other:5000"];
        let registries = [
            ("docker.io", Some(mirrors.map(str::to_owned).to_vec()), None),
            ("other:5000", None, Some(true)),
        ];
        let registries = registries.map(|(name, mirrors, insecure)| {
            (name.to_owned(), RegistryConfig { mirrors, insecure })
        });
        let expected = Config {
            root: Some(PathBuf::from("/srv/builder")),
            cache_max: Some(Some(20 << 30)),
            jobs: NonZeroUsize::new(4),
            tag_age: Some(Duration::from_secs(5400)),
            offline: Some(true),
            memory: Some(Some(2 << 30)),
            pids_limit: Some(Some(500)),
            timeout: Some(None),
            snapshotter: Some(Some(Snapshotter::Copy)),
            registries: registries.into(),
        };
        assert_eq!(config, Ok(expected));
        assert_eq!(read(""), Ok(Config::default()));
        assert_eq!(read("cache-max = \"none\"").unwrap().cache_max, Some(None));
    }

    #[test]
    fn mistakes_have_their_place_and_a_way_out() {
        let cases: &[(&str, &[&str])] = &[
            (
                "jbos = 2",
                &[
                    "unknown setting `jbos`",
                    "config.toml:1:1",
                    "did you mean `jobs`?",
                ],
            ),
            (
                "x = 2",
                &["unknown setting `x`", "there are `root`, `cache-max`"],
            ),
            ("tag_age = \"1h\"", &["did you mean `tag-age`?"]),
            (
                "a = 1\njobs = 0",
                &["config.toml:2:8", "`0` is not a number from 1 on"],
            ),
            ("jobs = \"4\"", &["`\"4\"` is not a number"]),
            (
                "cache-max = \"20Q\"",
                &["invalid size `20Q`", "config.toml:1:13"],
            ),
            ("cache-max = 20", &["`20` is not a text in quotes"]),
            ("tag-age = \"soon\"", &["invalid duration `soon`"]),
            ("root = \"here\"", &["`here` is not an absolute path"]),
            ("offline = 1", &["`1` is not `true` or `false`"]),
            ("jobs = ", &["config.toml:1:"]),
            ("jobs = 1\njobs = 2", &["duplicate key"]),
            (
                "[registry.\"a.io\"]\nmirrors = \"b.io\"",
                &["is not a list"],
            ),
            (
                "[registry.\"a.io\"]\nmirrors = [\"ftp://b.io\"]",
                &["config.toml:2:12", "`ftp`"],
            ),
            (
                "[registry.\"a.io\"]\nmirror = []",
                &["did you mean `mirrors`?"],
            ),
            (
                "[registry.docker.io]\nmirrors = []",
                &["`[registry.\"docker.io\"]`"],
            ),
            (
                "[registry.\"not a host\"]",
                &["`not a host` is not a registry"],
            ),
            ("registry = 1", &["is not a table for each registry"]),
        ];
        for (text, expected) in cases {
            let report = read(text).unwrap_err();
            for words in *expected {
                assert!(report.contains(words), "{text}:\n{report}");
            }
        }
        // All of them at once.
        let report = read("b = 1\na = 2").unwrap_err();
        let (first, second) = (report.find("`b`").unwrap(), report.find("`a`").unwrap());
        assert!(first < second, "{report}");
    }
}
