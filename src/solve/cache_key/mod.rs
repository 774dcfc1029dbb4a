//! What enters the key of a step. `docs/cache-keys.md` is the table with the reasons.
//!
//! A key is the digest of its *ingredients*, name by name, and the ingredients are stored with the result: a miss is
//! explained by comparing them. What is no ingredient cannot cause a miss. Secrets, cache-mount contents, proxy variables,
//! extra hosts and limits are none.

use std::collections::BTreeMap;

use crate::oci::{Digest, Hasher};
use crate::plan::{
    CopySource, CopyStep, RunMount, RunStep, Step, StepKind, TreeSource, WorkdirStep,
};

/// Raised when the same ingredients would mean another result.
const FORMAT: &str = "builder step 1";

/// Name of the ingredient that stands for the state below the step.
pub(super) const INPUT: &str = "input";
/// Prefix of the ingredients that stand for files taken from elsewhere.
pub(super) const FILES: &str = "files";

/// The ingredients of a key, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ingredients(BTreeMap<String, String>);

impl Ingredients {
    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// The key.
    #[must_use]
    pub(super) fn key(&self) -> Digest {
        let mut hasher = Hasher::new(FORMAT);
        for (name, value) in &self.0 {
            hasher.field(name);
            hasher.field(value);
        }
        hasher.finish()
    }

    /// The ingredients as stored.
    #[must_use]
    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }

    /// The ingredients by name.
    #[must_use]
    pub(super) fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// Digests of what a step takes from other trees than its input, in the order of [`foreign_sources`].
pub(super) type SourceDigests = Vec<Digest>;

/// The trees that a step takes files from, besides its input.
#[must_use]
pub(super) fn foreign_sources(step: &Step) -> Vec<(TreeSource, Foreign<'_>)> {
    match &step.kind {
        StepKind::Copy(copy) => {
            let remote = copy.sources.iter().filter_map(|source| match source {
                CopySource::Remote { from, file } => {
                    let path = file.as_deref().unwrap_or("/");
                    Some((from.clone(), Foreign::Path(path)))
                }
                CopySource::Path(_) | CopySource::Inline { .. } => None,
            });
            std::iter::once((copy.from.clone(), Foreign::Copy(copy)))
                .chain(remote)
                .collect()
        }
        StepKind::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| match mount {
                RunMount::Bind { from, source, .. }
                | RunMount::Cache {
                    from: Some(from),
                    source,
                    ..
                } => Some((from.clone(), Foreign::Path(source.as_str()))),
                _ => None,
            })
            .collect(),
        StepKind::Workdir(_) => Vec::new(),
    }
}

/// What is taken of a tree.
#[derive(Clone, Copy, Debug)]
pub(super) enum Foreign<'a> {
    /// The sources of a copy.
    Copy(&'a CopyStep),
    /// One path with everything below it.
    Path(&'a str),
}

/// The ingredients of a step on a state. `foreign` are the digests of what it takes from other trees, `epoch` is the time
/// of files that the builder makes itself.
#[must_use]
pub(super) fn ingredients(
    step: &Step,
    input: Digest,
    foreign: &SourceDigests,
    epoch: Option<i64>,
) -> Ingredients {
    let mut all = Ingredients::default();
    all.add("platform", step.platform.to_string());
    if depends_on_input(step) {
        all.add(INPUT, input.to_string());
    }
    match &step.kind {
        StepKind::Run(run) => add_run(&mut all, run),
        StepKind::Copy(copy) => add_copy(&mut all, copy),
        StepKind::Workdir(WorkdirStep { path, user }) => {
            all.add("operation", "workdir");
            all.add("path", path);
            all.add("user", user);
        }
    }
    // A command sees the epoch only as a variable, if the Dockerfile declares it.
    if let (Some(epoch), false) = (epoch, matches!(step.kind, StepKind::Run(_))) {
        all.add("epoch", epoch.to_string());
    }
    for (index, digest) in foreign.iter().enumerate() {
        all.add(format!("{FILES} {index}"), digest.to_string());
    }
    all
}

/// A `COPY --link` stands on nothing, except for the names of owners, which are looked up in what is below.
#[must_use]
pub(super) fn depends_on_input(step: &Step) -> bool {
    match &step.kind {
        StepKind::Copy(copy) => {
            let numeric = |owner: &str| {
                owner
                    .split(':')
                    .all(|id| id.bytes().all(|b| b.is_ascii_digit()))
            };
            !copy.link || copy.chown.as_deref().is_some_and(|owner| !numeric(owner))
        }
        _ => true,
    }
}

fn add_run(all: &mut Ingredients, run: &RunStep) {
    all.add("operation", "run");
    all.add("command", quoted(&run.argv));
    for (name, value) in run.env.iter() {
        all.add(format!("env {name}"), value);
    }
    all.add("cwd", &run.cwd);
    all.add("user", &run.user);
    all.add("hostname", &run.hostname);
    all.add("network", &*run.network.word());
    all.add(
        "security",
        if run.insecure { "insecure" } else { "sandbox" },
    );
    if let Some((path, content)) = &run.script {
        all.add("script", quoted(&[path.clone(), content.clone()]));
    }
    for (index, mount) in run.mounts.iter().enumerate() {
        all.add(format!("mount {index}"), mount_text(mount));
    }
    for (index, device) in run.devices.iter().enumerate() {
        all.add(format!("device {index}"), &device.name);
    }
}

/// The layout of a mount, without what it contains: files are ingredients of their own, caches and secrets are none.
fn mount_text(mount: &RunMount) -> String {
    let parts: Vec<String> = match mount {
        RunMount::Bind {
            source,
            target,
            writable,
            ..
        } => {
            vec![
                "bind".into(),
                target.clone(),
                source.clone(),
                writable.to_string(),
            ]
        }
        RunMount::Cache {
            target, read_only, ..
        } => vec!["cache".into(), target.clone(), read_only.to_string()],
        RunMount::Tmpfs {
            target,
            size,
            read_only,
        } => {
            let mut parts = vec!["tmpfs".into(), target.clone(), format!("{size:?}")];
            parts.extend(read_only.then(|| "read-only".to_owned()));
            parts
        }
        RunMount::Secret {
            id,
            target,
            env,
            mode,
            uid,
            gid,
            ..
        } => vec![
            "secret".into(),
            id.clone(),
            target.clone().unwrap_or_default(),
            env.clone().unwrap_or_default(),
            format!("{mode:o} {uid} {gid}"),
        ],
        RunMount::Ssh {
            id,
            target,
            mode,
            uid,
            gid,
            ..
        } => {
            vec![
                "ssh".into(),
                id.clone(),
                target.clone(),
                format!("{mode:o} {uid} {gid}"),
            ]
        }
    };
    quoted(&parts)
}

fn add_copy(all: &mut Ingredients, copy: &CopyStep) {
    all.add("operation", if copy.add { "add" } else { "copy" });
    all.add("destination", &copy.destination);
    let sources: Vec<String> = copy
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(path) => path.clone(),
            // Where it came from does not matter, only what it is and what its file is called.
            CopySource::Remote { file, .. } => {
                format!("://{}", file.as_deref().unwrap_or_default())
            }
            CopySource::Inline { name, content } => format!("<<{name}\n{content}"),
        })
        .collect();
    all.add("sources", quoted(&sources));
    for (name, value) in [("chown", &copy.chown), ("chmod", &copy.chmod)] {
        if let Some(value) = value {
            all.add(name, value);
        }
    }
    let flags = [("link", copy.link), ("parents", copy.parents)];
    flags
        .iter()
        .filter(|(_, set)| *set)
        .for_each(|(name, _)| all.add(*name, "true"));
    if !copy.exclude.is_empty() {
        all.add("exclude", quoted(&copy.exclude));
    }
    if let Some(unpack) = copy.unpack {
        all.add("unpack", unpack.to_string());
    }
}

/// A list as JSON: no two lists give one text.
fn quoted(items: &[String]) -> String {
    serde_json::Value::from(items.to_vec()).to_string()
}

#[cfg(test)]
mod tests;
