//! Settings that outlive a command: what the environment and the configuration files say, and which of them counts.
//!
//! A flag goes before a variable, that before the user's file, that before the system's, that before what is built in.
//! Flags of one command are put on top by `settings`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::{self, Config, RegistryConfig};
use super::failure::Failure;
use super::settings::Environment;
use super::{limits, values};
use crate::fsio;
use crate::solve::Snapshotter;
use crate::source::{SourceMap, boolean};

/// The file of the machine.
const SYSTEM_FILE: &str = "/etc/builder/config.toml";

/// For how long it holds what a registry said about a tag. Whoever builds again and again asks once in a working hour; a
/// base that was mended is used an hour later everywhere.
const TAG_AGE: Duration = Duration::from_secs(3600);

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    File(PathBuf),
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
            Self::BuiltIn => f.write_str("built in"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<T> Setting<T> {
    /// The value of a flag if there is one.
    pub(super) fn or_flag(self, flag: Option<T>, name: &'static str) -> Self {
        match flag {
            Some(value) => Self {
                value,
                origin: Origin::Flag(name),
            },
            None => self,
        }
    }
}

/// What is said of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RegistryPreferences {
    pub(super) mirrors: Option<Setting<Vec<String>>>,
    pub(super) insecure: Option<Setting<bool>>,
}

/// Settings that outlive a command.
#[derive(Clone, Debug)]
pub(super) struct Preferences {
    pub(super) root: Setting<PathBuf>,
    pub(super) cache_max: Setting<Option<u64>>,
    pub(super) jobs: Setting<NonZeroUsize>,
    pub(super) tag_age: Setting<Duration>,
    pub(super) offline: Setting<bool>,
    pub(super) memory: Setting<Option<u64>>,
    pub(super) pids_limit: Setting<Option<u64>>,
    pub(super) timeout: Setting<Option<Duration>>,
    pub(super) snapshotter: Setting<Option<Snapshotter>>,
    pub(super) registries: BTreeMap<String, RegistryPreferences>,
    /// The files that were looked for, the first one goes first, and whether they are there.
    pub(super) files: Vec<(PathBuf, bool)>,
}

impl Preferences {
    /// Reads environment and files.
    pub(super) fn read(root: Option<PathBuf>, environment: &Environment) -> Result<Self, Failure> {
        Self::from_files(root, environment, &files(environment))
    }

    fn from_files(
        root: Option<PathBuf>,
        environment: &Environment,
        files: &[File],
    ) -> Result<Self, Failure> {
        let configs: Vec<(&Path, Option<Config>)> = files
            .iter()
            .map(|file| Ok((file.path.as_path(), file.read(environment.colours)?)))
            .collect::<Result<_, Failure>>()?;
        let layers = Layers {
            environment,
            configs: &configs,
        };
        let jobs = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let path = |text: &str| Ok(PathBuf::from(text));
        let number = |text: &str| {
            let wrong = |_| format!("`{text}` is not a number from 1 on");
            text.parse().map_err(wrong)
        };
        let switch = |text: &str| boolean(text).ok_or("expected true or false".to_owned());
        Ok(Self {
            root: layers
                .value("BUILDER_ROOT", path, |config| config.root.clone())?
                .unwrap_or_else(|| built_in(environment.data_folder()))
                .or_flag(root, "--root"),
            cache_max: layers
                .value("BUILDER_CACHE_MAX", values::limit, |config| {
                    config.cache_max
                })?
                .unwrap_or_else(|| built_in(None)),
            jobs: layers
                .value("BUILDER_JOBS", number, |config| config.jobs)?
                .unwrap_or_else(|| built_in(jobs())),
            tag_age: layers
                .value("BUILDER_TAG_AGE", values::duration, |config| config.tag_age)?
                .unwrap_or_else(|| built_in(TAG_AGE)),
            offline: layers
                .value("BUILDER_OFFLINE", switch, |config| config.offline)?
                .unwrap_or_else(|| built_in(false)),
            memory: layers
                .value("BUILDER_MEMORY", limits::memory, |config| config.memory)?
                .unwrap_or_else(|| built_in(None)),
            pids_limit: layers
                .value("BUILDER_PIDS_LIMIT", limits::count, |config| {
                    config.pids_limit
                })?
                .unwrap_or_else(|| built_in(None)),
            timeout: layers
                .value("BUILDER_TIMEOUT", limits::timeout, |config| config.timeout)?
                .unwrap_or_else(|| built_in(None)),
            snapshotter: layers
                .value("BUILDER_SNAPSHOTTER", values::snapshotter, |config| {
                    config.snapshotter
                })?
                .unwrap_or_else(|| built_in(None)),
            registries: layers.registries()?,
            files: configs
                .iter()
                .map(|(path, config)| (path.to_path_buf(), config.is_some()))
                .collect(),
        })
    }
}

fn built_in<T>(value: T) -> Setting<T> {
    Setting {
        value,
        origin: Origin::BuiltIn,
    }
}

/// A file that may be there.
struct File {
    path: PathBuf,
    /// Whether the user named it, so that it has to be there.
    named: bool,
}

/// The user's file and the system's.
fn files(environment: &Environment) -> Vec<File> {
    let named = environment
        .path("BUILDER_CONFIG")
        .map(|path| File { path, named: true });
    let users = || {
        let folder = environment
            .path("XDG_CONFIG_HOME")
            .filter(|folder| folder.is_absolute())
            .or_else(|| Some(environment.path("HOME")?.join(".config")))?;
        Some(File {
            path: folder.join("builder/config.toml"),
            named: false,
        })
    };
    let systems = File {
        path: PathBuf::from(SYSTEM_FILE),
        named: false,
    };
    named.or_else(users).into_iter().chain([systems]).collect()
}

impl File {
    /// What it says, if it is there.
    fn read(&self, colours: bool) -> Result<Option<Config>, Failure> {
        let name = self.path.display().to_string();
        let bytes = match fsio::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() && !self.named => return Ok(None),
            Err(error) => {
                let failure = Failure::usage(format!("cannot read the configuration: {error}"));
                return Err(match self.named {
                    true => failure.hint("`BUILDER_CONFIG` names that file"),
                    false => failure,
                });
            }
        };
        let mut sources = SourceMap::new();
        let file = sources.add(name, bytes).map_err(Failure::usage)?;
        let config = config::parse(&file);
        config
            .map(Some)
            .map_err(|mistakes| Failure::configuration(&sources, &mistakes, colours))
    }
}

/// What there is below the flags, most important first.
struct Layers<'l> {
    environment: &'l Environment,
    configs: &'l [(&'l Path, Option<Config>)],
}

impl Layers<'_> {
    /// The value of a variable, else that of the first file that has one.
    fn value<T>(
        &self,
        variable: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
        of: impl Fn(&Config) -> Option<T>,
    ) -> Result<Option<Setting<T>>, Failure> {
        if let Some(text) = self.environment.get(variable) {
            let wrong = |why| Failure::usage(format!("{variable}: {why}"));
            let value = read(text).map_err(wrong)?;
            let origin = Origin::Variable(variable);
            return Ok(Some(Setting { value, origin }));
        }
        Ok(self.in_files(of))
    }

    fn in_files<T>(&self, of: impl Fn(&Config) -> Option<T>) -> Option<Setting<T>> {
        self.configs.iter().find_map(|(path, config)| {
            let value = of(config.as_ref()?)?;
            let origin = Origin::File(path.to_path_buf());
            Some(Setting { value, origin })
        })
    }

    /// Registries key by key, so that the user's file need not repeat what the system's says of one.
    fn registries(&self) -> Result<BTreeMap<String, RegistryPreferences>, Failure> {
        const MIRRORS: &str = "BUILDER_MIRRORS";
        let variable = self.environment.get(MIRRORS).unwrap_or_default();
        let wrong = |why| Failure::usage(format!("{MIRRORS}: {why}"));
        let mut variable = values::mirrors(variable).map_err(wrong)?;
        let files = self
            .configs
            .iter()
            .filter_map(|(_, config)| config.as_ref());
        let in_files = files.flat_map(|config| config.registries.keys());
        let names: BTreeSet<String> = in_files.chain(variable.keys()).cloned().collect();
        let preferences = |name: String| {
            let mirrors = variable.remove(&name).map(|value| Setting {
                value,
                origin: Origin::Variable(MIRRORS),
            });
            let of = |config: &Config, what: &dyn Fn(&RegistryConfig) -> Option<Vec<String>>| {
                config.registries.get(&name).and_then(what)
            };
            let preferences = RegistryPreferences {
                mirrors: mirrors.or_else(|| self.in_files(|c| of(c, &|r| r.mirrors.clone()))),
                insecure: self.in_files(|c| c.registries.get(&name)?.insecure),
            };
            (name, preferences)
        };
        Ok(names.into_iter().map(preferences).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferences(variables: &[(&str, &str)], user: &str, system: &str) -> Preferences {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fsio::write_atomic(&path, text.as_bytes(), fsio::Durability::Cached).unwrap();
            File { path, named: false }
        };
        let files = [write("user", user), write("system", system)];
        Preferences::from_files(None, &Environment::of(variables), &files).unwrap()
    }

    fn origin<T>(setting: &Setting<T>) -> String {
        let text = setting.origin.to_string();
        text.rsplit('/').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_nearest_one_counts() {
        let system = "jobs = 1\ntag-age = \"1m\"\ncache-max = \"1G\"\noffline = true";
        let user = "jobs = 2\ntag-age = \"2m\"\ncache-max = \"none\"";
        let found = preferences(&[("BUILDER_JOBS", "3")], user, system);
        assert_eq!(
            (found.jobs.value.get(), origin(&found.jobs)),
            (3, "BUILDER_JOBS".into())
        );
        assert_eq!(found.tag_age.value, Duration::from_secs(120));
        assert_eq!(
            (found.cache_max.value, origin(&found.cache_max)),
            (None, "user".into())
        );
        assert_eq!(
            (found.offline.value, origin(&found.offline)),
            (true, "system".into())
        );
        let nothing = preferences(&[("BUILDER_JOBS", "")], "", "");
        assert_eq!(origin(&nothing.jobs), "built in");
        assert_eq!(nothing.tag_age.value, TAG_AGE);
        let flag = nothing.offline.or_flag(Some(true), "--offline");
        assert_eq!((flag.value, origin(&flag)), (true, "--offline".into()));
    }

    #[test]
    fn registries_are_put_together_key_by_key() {
        let system = "[registry.\"a.io\"]\nmirrors = [\"s.io\"]\ninsecure = true";
        let user = "[registry.\"a.io\"]\nmirrors = [\"u.io\"]\n[registry.\"b.io\"]\nmirrors = []";
        let found = preferences(&[("BUILDER_MIRRORS", "b.io=v.io b.io=w.io")], user, system);
        let mirrors = |name: &str| found.registries[name].mirrors.clone().unwrap();
        assert_eq!(mirrors("a.io").value, ["u.io"]);
        assert_eq!(
            origin(found.registries["a.io"].insecure.as_ref().unwrap()),
            "system"
        );
        assert_eq!(mirrors("b.io").value, ["v.io", "w.io"]);
        assert_eq!(origin(&mirrors("b.io")), "BUILDER_MIRRORS");
    }

    #[test]
    fn the_users_file_is_where_the_environment_says() {
        let of = |variables: &[(&str, &str)]| {
            let files = files(&Environment::of(variables));
            let first = files[0].path.display().to_string();
            (first, files.len())
        };
        let home = ("HOME", "/home/me");
        assert_eq!(
            of(&[home]),
            ("/home/me/.config/builder/config.toml".into(), 2)
        );
        let xdg = ("XDG_CONFIG_HOME", "/x");
        assert_eq!(of(&[home, xdg]), ("/x/builder/config.toml".into(), 2));
        let named = ("BUILDER_CONFIG", "mine.toml");
        assert_eq!(of(&[home, xdg, named]), ("mine.toml".into(), 2));
        assert_eq!(of(&[]), (SYSTEM_FILE.into(), 1));
    }
}
