//! What is known of a stage at some point of it: state, config, variables, history.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::graph::PlannedHistory;
use super::ports::Port;
use super::step::{StateRef, StepId};
use super::variables::Variables;
use crate::oci::{Config, HistoryEntry, Platform};

/// A stage while it is lowered, and afterwards what later stages start from. What can be large is shared by copies, since
/// many stages may start from one.
#[derive(Clone, Debug)]
pub(super) struct StageState {
    pub(super) state: StateRef,
    pub(super) config: Arc<Config>,
    pub(super) base_history: Arc<Vec<HistoryEntry>>,
    /// What this very stage does.
    pub(super) history: Vec<PlannedHistory>,
    pub(super) platform: Platform,
    /// Variables that expansion and RUN see: the image's environment and declared arguments, in order.
    env: Variables,
    /// `ENV`s that are not yet in `config`.
    image_env: Variables,
    /// Ports that are not yet in `config`.
    image_ports: Arc<BTreeSet<Port>>,
    /// Declared arguments in the order of their first declaration.
    args: Variables,
    /// Whether a WORKDIR appeared in this stage or in a stage of this file that it starts from.
    pub(super) workdir_set: bool,
    /// Whether CMD appeared in this very stage.
    pub(super) cmd_set: bool,
    /// Triggers declared in this stage: the config's list without those of the base, which have run.
    pub(super) triggers: Vec<String>,
}

impl StageState {
    pub(super) fn new(state: StateRef, config: Config, platform: Platform) -> Self {
        let env = Variables::new(config.env());
        let base_history = config.history();
        Self {
            state,
            config: Arc::new(config),
            base_history: Arc::new(base_history),
            history: Vec::new(),
            platform,
            env,
            image_env: Variables::default(),
            image_ports: Arc::default(),
            args: Variables::default(),
            workdir_set: false,
            cmd_set: false,
            triggers: Vec::new(),
        }
    }

    /// A stage that starts from nothing. Windows knows its search path itself.
    pub(super) fn scratch(platform: Platform) -> Self {
        let mut config = Config::scratch(&platform);
        let windows = platform.os == "windows";
        let root = if windows { "\\" } else { "/" };
        config.set("WorkingDir", Some(serde_json::json!(root)));
        if !windows {
            config.set_env("PATH", super::DEFAULT_PATH);
        }
        Self::new(StateRef::Scratch, config, platform)
    }

    /// The value of a variable as expansion sees it.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    /// The names that have a value.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.env.pairs().iter().map(|(name, _)| name.as_str())
    }

    /// `ENV`: in the image and for what follows.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        self.image_env.set(name, value);
        self.env.set(name, value);
    }

    /// `EXPOSE`
    pub(super) fn expose(&mut self, ports: impl IntoIterator<Item = Port>) {
        Arc::make_mut(&mut self.image_ports).extend(ports);
    }

    /// The config, to be changed.
    pub(super) fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }

    /// The config with all that was kept beside it.
    pub(super) fn whole_config(&self) -> Config {
        let mut config = Config::clone(&self.config);
        config.extend_env(self.image_env.pairs());
        for port in self.image_ports.iter() {
            config.insert_into("ExposedPorts", &port.to_string(), serde_json::json!({}));
        }
        config
    }

    /// `ARG`: for what follows, not in the image. Without a value the name is declared and stays as it is.
    pub(super) fn set_arg(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.env.set(name, value);
        }
        self.args.set(name, "");
    }

    /// The environment of a RUN.
    pub(super) fn env(&self) -> Arc<Vec<(String, String)>> {
        let mut env = self.env.clone();
        if env.get("PATH").is_none() {
            env.set("PATH", super::DEFAULT_PATH);
        }
        Arc::clone(env.pairs())
    }

    /// Whether an argument was declared here.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.args.get(name).is_some()
    }

    /// The variables of the environment that are arguments and not the image's.
    pub(super) fn arguments(&self) -> Vec<String> {
        if self.args.pairs().is_empty() {
            return Vec::new();
        }
        let of_base = self.config.env();
        let of_image = |name: &str| {
            self.image_env.get(name).is_some() || of_base.iter().any(|(known, _)| known == name)
        };
        let names = self.args.pairs().iter().map(|(name, _)| name);
        names
            .filter(|name| self.env.get(name).is_some() && !of_image(name))
            .cloned()
            .collect()
    }

    /// `|2 A=1 B= `, the arguments that were declared and what a step sees of them; nothing where there are none.
    pub(super) fn history_args(&self) -> String {
        let args = self.args.pairs();
        if args.is_empty() {
            return String::new();
        }
        let mut text = format!("|{} ", args.len());
        for (name, _) in args.iter() {
            let value = self.env.get(name).map_or("", String::as_str);
            text.extend([name, "=", value, " "]);
        }
        text
    }

    /// The working directory, absolute.
    pub(super) fn cwd(&self) -> String {
        let written = self.config.working_dir();
        if self.is_windows() {
            super::paths::absolute("/", &written.replace('\\', "/"))
        } else {
            super::paths::absolute("/", &written)
        }
    }

    /// Whether a path does not depend on the working directory.
    pub(super) fn is_absolute(&self, path: &str) -> bool {
        let drive = |path: &str| path.as_bytes().get(1) == Some(&b':');
        path.starts_with('/') || self.is_windows() && (path.starts_with('\\') || drive(path))
    }

    fn is_windows(&self) -> bool {
        self.platform.os == "windows"
    }

    /// The command line of a shell-form instruction.
    pub(super) fn in_shell(&self, text: &str) -> Vec<String> {
        let usual: &[&str] = if self.is_windows() {
            &["cmd", "/S", "/C"]
        } else {
            &["/bin/sh", "-c"]
        };
        let mut argv = self
            .config
            .shell()
            .unwrap_or_else(|| usual.iter().map(|&word| word.to_owned()).collect());
        argv.push(text.to_owned());
        argv
    }

    pub(super) fn record(&mut self, created_by: String, step: Option<StepId>) {
        if let Some(step) = step {
            self.state = StateRef::Step(step);
        }
        self.history.push(PlannedHistory { created_by, step });
    }

    /// What a stage that is `FROM` this one starts with.
    pub(super) fn derived(self) -> Self {
        Self {
            cmd_set: false,
            triggers: Vec::new(),
            history: Vec::new(),
            ..self
        }
    }
}
