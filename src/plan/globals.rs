//! The global scope: `ARG`s before the first `FROM`, and the arguments that exist without being declared.

use std::collections::BTreeMap;

use super::options::PlanOptions;
use super::{Failure, expanded};
use crate::dockerfile::Dockerfile;
use crate::oci::Platform;

/// Proxy arguments: usable without declaration, in no key and no history unless declared.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// What exists without being declared: the parts of two platforms, and the name of the target.
const AUTOMATIC: [&str; 11] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
];

/// Values that `FROM` lines see and that stages inherit by declaring the name.
#[derive(Clone, Debug)]
pub(super) struct Globals {
    values: BTreeMap<String, Option<String>>,
    build_args: BTreeMap<String, String>,
}

impl Globals {
    /// Evaluates the global `ARG`s in order.
    pub(super) fn new(
        dockerfile: &Dockerfile,
        options: &PlanOptions,
        target_stage: &str,
    ) -> Result<Self, Failure> {
        let target = options.platform.as_ref().unwrap_or(&options.build_platform);
        let mut globals = Self {
            values: BTreeMap::new(),
            build_args: options.build_args.clone(),
        };
        globals.add_platform("TARGET", target);
        globals.add_platform("BUILD", &options.build_platform);
        globals.set_automatic("TARGETSTAGE", target_stage);
        for instruction in &dockerfile.global_args {
            for declaration in &instruction.kind.declarations {
                let lookup = |name: &str| globals.get(name);
                let name = expanded(&declaration.name, dockerfile.escape, &lookup)?.value;
                let value = match (globals.build_args.get(&name), &declaration.default) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(default)) => {
                        Some(expanded(default, dockerfile.escape, &lookup)?.value)
                    }
                    (None, None) => globals.get(&name),
                };
                globals.values.insert(name, value);
            }
        }
        Ok(globals)
    }

    fn add_platform(&mut self, prefix: &str, platform: &Platform) {
        self.set_automatic(&format!("{prefix}PLATFORM"), &platform.to_string());
        self.set_automatic(&format!("{prefix}OS"), &platform.os);
        self.set_automatic(&format!("{prefix}OSVERSION"), &platform.os_version);
        self.set_automatic(&format!("{prefix}ARCH"), &platform.arch);
        self.set_automatic(&format!("{prefix}VARIANT"), &platform.variant);
    }

    fn set_automatic(&mut self, name: &str, value: &str) {
        let value = self
            .build_args
            .get(name)
            .cloned()
            .unwrap_or_else(|| value.to_owned());
        self.values.insert(name.to_owned(), Some(value));
    }

    /// Gives a name another value wherever one was given.
    pub(super) fn replace(&mut self, name: &str, value: Option<String>) {
        if let Some(given) = self.build_args.get_mut(name) {
            *given = value.clone().unwrap_or_default();
        }
        if let Some(global) = self.values.get_mut(name) {
            *global = value;
        }
    }

    /// The value of a name in the global scope.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned().flatten()
    }

    /// Whether a name is declared or exists without being declared; it may have no value.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The names that are declared or exist without being declared.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.values.keys().map(String::as_str)
    }

    /// The names that exist without being declared.
    pub(super) fn automatic(&self) -> impl Iterator<Item = &'static str> {
        AUTOMATIC.into_iter()
    }

    /// The value that was given on the command line.
    pub(super) fn build_arg(&self, name: &str) -> Option<&String> {
        self.build_args.get(name)
    }

    /// The proxy variables for RUN: each as given, in upper and in lower case.
    pub(super) fn proxies(&self) -> Vec<(String, String)> {
        let mut pairs = BTreeMap::new();
        for (name, value) in &self.build_args {
            if PROXIES.contains(&name.to_ascii_uppercase().as_str()) {
                pairs.insert(name.to_ascii_uppercase(), value.clone());
                pairs.insert(name.to_ascii_lowercase(), value.clone());
            }
        }
        pairs.into_iter().collect()
    }
}
