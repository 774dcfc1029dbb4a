//! `PackageCacheInLayer`: what a package manager downloads for itself does not stay in the image.

use std::collections::BTreeSet;

use crate::lint::rule::{Found, Rule};
use crate::lint::runs::{Run, runs};
use crate::lint::shell::SimpleCommand;
use crate::lint::subject::Subject;
use crate::plan::RunMount;

pub(super) const RULE: Rule = Rule {
    name: "PackageCacheInLayer",
    description: "Caches of package managers should not stay in the layers of an image",
    url: None,
    experimental: false,
    ours: true,
    check,
};

/// A package manager and its cache.
struct Manager {
    programs: &'static [&'static str],
    /// Subcommands that fill the cache.
    fills: &'static [&'static str],
    /// The folders it is in; those that begin with `~` are in the user's home.
    folders: &'static [&'static str],
    /// Words of an installing command that leave no cache.
    without: &'static [&'static str],
    /// Arguments of the same program that clear the cache.
    clears: &'static [&'static [&'static str]],
    /// A variable that says the same as `without`.
    variable: Option<&'static str>,
    /// What to do.
    hint: &'static str,
}

const MANAGERS: [Manager; 4] = [
    Manager {
        programs: &["apt-get", "apt"],
        fills: &["update", "install"],
        folders: &["/var/lib/apt/lists"],
        without: &[],
        clears: &[&["distclean"], &["dist-clean"]],
        variable: None,
        hint: "end the same `RUN` with `rm -rf /var/lib/apt/lists/*`, or mount caches on `/var/lib/apt` and `/var/cache/apt`",
    },
    Manager {
        programs: &["apk"],
        fills: &["update", "add"],
        folders: &["/var/cache/apk", "/etc/apk/cache"],
        without: &["--no-cache"],
        clears: &[],
        variable: None,
        hint: "use `apk add --no-cache`, or mount a cache on `/var/cache/apk`",
    },
    Manager {
        programs: &["yum", "dnf", "dnf5", "microdnf"],
        fills: &["install", "update", "upgrade"],
        folders: &["/var/cache/yum", "/var/cache/dnf", "/var/cache/libdnf5"],
        without: &[],
        clears: &[&["clean", "all"]],
        variable: None,
        hint: "end the same `RUN` with `clean all`, or mount a cache on the folder of the cache",
    },
    Manager {
        programs: &["pip", "pip3"],
        fills: &["install"],
        folders: &["~/.cache/pip"],
        without: &["--no-cache-dir"],
        clears: &[&["cache", "purge"]],
        variable: Some("PIP_NO_CACHE_DIR"),
        hint: "use `pip install --no-cache-dir`, or mount a cache on `/root/.cache/pip`",
    },
];

/// Only of layers that are in the image: what a stage leaves behind whose files are copied costs nothing there.
fn check(subject: &Subject<'_>, found: &mut Found) {
    let Some(plan) = subject.plan else {
        return;
    };
    let images = plan.images.iter();
    let layers: BTreeSet<_> = images.flat_map(|image| plan.chain(image.state).1).collect();
    for run in runs(subject) {
        if !layers.contains(&run.id) {
            continue;
        }
        let commands = run.commands();
        for manager in &MANAGERS {
            if let Some(command) = commands
                .iter()
                .find(|command| manager.is_filled_by(command))
                && !manager.is_kept_out(&run, &commands)
            {
                let name = Manager::name_in(command);
                let message = format!("The cache of {name} stays in the layer");
                let place = run.place_of(subject, command);
                found.add(found.warning(message).at(place, "").hint(manager.hint));
            }
        }
    }
}

impl Manager {
    fn arguments<'c>(&self, command: &'c SimpleCommand) -> Option<&'c [String]> {
        let program = command.program();
        if self.programs.contains(&program) || self.programs.contains(&"pip") && is_pip(program) {
            return Some(command.arguments());
        }
        // `python3 -m pip install`
        match command.arguments() {
            [option, module, rest @ ..]
                if program.starts_with("python")
                    && option == "-m"
                    && self.programs.contains(&module.as_str()) =>
            {
                Some(rest)
            }
            _ => None,
        }
    }

    /// How the manager is called in a command.
    fn name_in(command: &SimpleCommand) -> &str {
        let program = command.program();
        if program.starts_with("python") {
            "pip"
        } else {
            program
        }
    }

    fn is_filled_by(&self, command: &SimpleCommand) -> bool {
        let Some(arguments) = self.arguments(command) else {
            return false;
        };
        let said_so = arguments
            .iter()
            .any(|word| self.without.contains(&word.as_str()));
        let variable = |word: &String| {
            let pair = word.split_once('=');
            pair.is_some_and(|(name, value)| Some(name) == self.variable && is_on(value))
        };
        let asks_only = |word: &String| matches!(word.as_str(), "--help" | "--version");
        // Options with values of their own may come before the subcommand.
        let subcommand = arguments
            .iter()
            .any(|word| self.fills.contains(&word.as_str()));
        subcommand
            && !said_so
            && !command.words.iter().any(variable)
            && !arguments.iter().any(asks_only)
    }

    /// Whether nothing of the cache reaches the layer: it is elsewhere, or cleared in the same step.
    fn is_kept_out(&self, run: &Run<'_>, commands: &[SimpleCommand]) -> bool {
        let env = &run.run.env;
        let home = env.iter().find(|(name, _)| name == "HOME");
        let home = home.map_or("/root", |(_, value)| value.as_str());
        let folders: Vec<String> = self
            .folders
            .iter()
            .map(|folder| folder.replacen('~', home, 1))
            .collect();
        let off = env
            .iter()
            .any(|(name, value)| Some(name.as_str()) == self.variable && is_on(value));
        let mounted = run.run.mounts.iter().filter_map(mounted_at).any(|target| {
            folders.iter().any(|folder| is_within(folder, target))
                || env.iter().any(|(name, value)| {
                    name == "PIP_CACHE_DIR" && self.variable.is_some() && is_within(value, target)
                })
        });
        let cleared = commands.iter().any(|command| {
            let clears = |words: &&[&str]| {
                let arguments = self.arguments(command).unwrap_or_default();
                let plain: Vec<&str> = arguments
                    .iter()
                    .map(String::as_str)
                    .filter(|word| !word.starts_with('-'))
                    .collect();
                plain == **words
            };
            self.clears.iter().any(clears) || removes(command, &folders, self.folders)
        });
        off || mounted || cleared
    }
}

fn is_pip(program: &str) -> bool {
    let version = program.strip_prefix("pip");
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// Whether the value of a variable that switches something on does so.
fn is_on(value: &str) -> bool {
    !matches!(value, "" | "0" | "no" | "off" | "false")
}

/// Where a mount keeps files out of the layer.
fn mounted_at(mount: &RunMount) -> Option<&str> {
    match mount {
        RunMount::Cache { target, .. } | RunMount::Tmpfs { target, .. } => Some(target),
        _ => None,
    }
}

fn is_within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a command deletes something in one of the folders, or a folder around it.
fn removes(command: &SimpleCommand, folders: &[String], written: &[&str]) -> bool {
    let arguments = command.arguments();
    let deletes = match command.program() {
        "rm" => true,
        "find" => arguments
            .iter()
            .any(|word| matches!(word.as_str(), "-delete" | "rm")),
        _ => false,
    };
    let around = |path: &str| {
        let path = path.trim_end_matches(['*', '/']);
        let home = path
            .strip_prefix("$HOME")
            .or_else(|| path.strip_prefix("${HOME}"));
        let path = home.map_or_else(|| path.to_owned(), |rest| format!("~{rest}"));
        let known = folders
            .iter()
            .map(String::as_str)
            .chain(written.iter().copied());
        known.into_iter().any(|folder| {
            !path.is_empty() && (is_within(folder, &path) || is_within(&path, folder))
        })
    };
    deletes && arguments.iter().any(|word| around(word))
}
