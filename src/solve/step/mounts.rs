//! The mounts of a RUN: what the instruction declares, turned into what the sandbox mounts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::driver::Reporter;
use super::super::error::StepError;
use super::super::state::{LayerHandle, State};
use super::digest;
use super::draft::Draft;
use super::tree::{self, Content, Selected, Tree};
use super::write::write_layer_as;
use super::{Inputs, Worker, cache_mount, rootfs};
use crate::agent::{Access, ServedAgent};
use crate::context::{PatternList, Reach};
use crate::fsio;
use crate::layer::Stack;
use crate::oci::{Digest, Hasher};
use crate::plan::{RunMount, RunStep, Sharing, TreeSource};
use crate::sandbox::{FileContent, Mount, MountKind, Rung, UpperDirectories};
use crate::snapshot::{self, Active, Snapshotter};
use crate::store::{Lock, Scratch, StepRecord};

/// What the mounts of one RUN come to. Dropped when the step has ended.
pub(super) struct Mounts {
    pub(super) mounts: Vec<Mount>,
    /// Variables from secrets.
    pub(super) env: Vec<(String, String)>,
    /// Held while the step uses its locked caches.
    pub(super) locks: Vec<Lock>,
    /// Held while the step may talk to them.
    agents: Vec<ServedAgent>,
}

impl Mounts {
    /// Folders of this machine that the step may write to.
    pub(super) fn written(&self) -> impl Iterator<Item = &Path> {
        self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Bind {
                source,
                read_only: false,
                ..
            } => Some(source.as_path()),
            _ => None,
        })
    }
}

/// Turns the declared mounts into what the sandbox mounts.
pub(super) fn prepare(
    worker: &Worker<'_>,
    way: Snapshotter,
    run: &RunStep,
    inputs: &Inputs,
    scratch: &Scratch,
    report: &Reporter,
) -> Result<Mounts, StepError> {
    let mut prepared = Mounts {
        mounts: Vec::new(),
        env: Vec::new(),
        locks: Vec::new(),
        agents: Vec::new(),
    };
    lock_caches(worker, run, &mut prepared)?;
    for (index, mount) in run.mounts.iter().enumerate() {
        let name = format!("mount-{index}");
        match mount {
            RunMount::Bind {
                from,
                source,
                target,
                writable,
            } => {
                let folder = scratch.path().join(name);
                let kind = bind(worker, way, inputs, &folder, (from, source, *writable))?;
                prepared.mounts.push(Mount {
                    target: target.clone(),
                    kind,
                });
            }
            RunMount::Cache { .. } => {
                cache_mount::restore(worker, mount, (scratch, &name), report)?;
                cache_mount::prepare(worker, inputs, (scratch, &name), mount, &mut prepared)?;
            }
            RunMount::Tmpfs {
                target,
                size,
                read_only,
            } => {
                let kind = MountKind::Tmpfs {
                    size: *size,
                    mode: 0o1777,
                    read_only: *read_only,
                };
                prepared.mounts.push(Mount {
                    target: target.clone(),
                    kind,
                });
            }
            RunMount::Secret { .. } => secret(worker, mount, &mut prepared)?,
            RunMount::Ssh { .. } => {
                ssh(worker, &scratch.path().join(name), mount, &mut prepared)?;
            }
        }
    }
    if let Some((path, content)) = &run.script
        && is_bare(worker)
    {
        // What is executed cannot be a pipe.
        let file = scratch.path().join("script");
        fsio::write_atomic(&file, content.as_bytes(), fsio::Durability::Cached)?;
        fsio::set_mode(&file, 0o755)?;
        prepared.mounts.push(read_only_file(path, file));
    } else if let Some((path, content)) = &run.script {
        let content = FileContent(content.clone().into_bytes());
        let kind = MountKind::File {
            content,
            mode: 0o755,
            uid: 0,
            gid: 0,
        };
        prepared.mounts.push(Mount {
            target: path.clone(),
            kind,
        });
    }
    Ok(prepared)
}

/// A file of the host, read-only.
pub(super) fn read_only_file(target: &str, source: PathBuf) -> Mount {
    let kind = MountKind::Bind {
        source,
        sub_path: String::new(),
        read_only: true,
    };
    Mount {
        target: target.to_owned(),
        kind,
    }
}

/// Whether steps run without mounts: what they use is moved into their tree.
fn is_bare(worker: &Worker<'_>) -> bool {
    worker.environment.footing.rung() == Ok(Rung::Chroot)
}

/// Locks the caches that only one step may use at a time (all that are moved): each once, in an order that all steps share, so that two steps
/// never wait for each other.
fn lock_caches(worker: &Worker<'_>, run: &RunStep, prepared: &mut Mounts) -> Result<(), StepError> {
    let identities: BTreeSet<Digest> = run
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            RunMount::Cache { id, sharing, .. }
                if *sharing == Sharing::Locked
                    || (*sharing == Sharing::Shared && is_bare(worker)) =>
            {
                Some(Digest::of(id))
            }
            _ => None,
        })
        .collect();
    for identity in identities {
        prepared.locks.push(worker.lock("mount", identity)?);
    }
    Ok(())
}

fn bind(
    worker: &Worker<'_>,
    way: Snapshotter,
    inputs: &Inputs,
    folder: &Path,
    (from, source, writable): (&TreeSource, &str, bool),
) -> Result<MountKind, StepError> {
    let (state, sub_path) = match from {
        TreeSource::State(reference) => (inputs.state(*reference), source.to_owned()),
        TreeSource::Context | TreeSource::NamedContext(_) => {
            context_state(worker, inputs, from, source)?
        }
    };
    if way == Snapshotter::Copy {
        return Ok(MountKind::Bind {
            source: rootfs::copy_part(worker, &state, &sub_path, folder)?,
            sub_path: String::new(),
            read_only: !writable,
        });
    }
    let lower = worker.layers.directories(&state)?;
    let writable = if writable {
        fsio::create_dir(folder)?;
        let Active { upper, work } = snapshot::prepare(folder, None)?;
        Some(UpperDirectories { upper, work })
    } else {
        None
    };
    Ok(MountKind::Overlay {
        lower,
        sub_path,
        writable,
    })
}

/// A part of a context as a layer of its own: filtered, owned by root, and made once for the same content.
fn context_state(
    worker: &Worker<'_>,
    inputs: &Inputs,
    from: &TreeSource,
    source: &str,
) -> Result<(State, String), StepError> {
    let digest = digest::of_path(worker, from, source, inputs, false)?.digest;
    let mut hasher = Hasher::new("context mount 1");
    hasher.field(digest.as_bytes());
    let key = hasher.finish();
    let store = worker.environment.store;
    let tree = tree::open(worker, from, inputs)?;
    let node = tree.find(&crate::context::clean_source(Path::new(source)))?;
    let sub_path = if node.entry.is_directory() {
        "/root".to_owned()
    } else {
        "/file".to_owned()
    };
    let _lock = worker.lock("context-mount", key)?;
    let record = match store.step(key) {
        Some(record) => record,
        None => make_context_layer(worker, &tree, node, &sub_path, key)?,
    };
    let layer = LayerHandle {
        diff_id: record.diff_id,
        identity: record.content_id,
        bytes: record.bytes,
        remote: None,
    };
    Ok((State::scratch().with(std::sync::Arc::new(layer)), sub_path))
}

fn make_context_layer(
    worker: &Worker<'_>,
    tree: &Tree<'_>,
    node: tree::Node,
    sub_path: &str,
    key: Digest,
) -> Result<StepRecord, StepError> {
    let nothing = Stack::default();
    let mut draft = Draft::new(&nothing, worker.mtime(), (0, 0), 0o755);
    let root = PathBuf::from(&sub_path[1..]);
    let selected = Selected {
        node: node.clone(),
        name: PathBuf::new(),
        reach: Reach::Whole,
    };
    draft.put(root.clone(), selected.node)?;
    if node.entry.is_directory() {
        let everything = PatternList::default();
        tree.walk((&node, Path::new("")), &everything, &mut |below, node| {
            Ok(draft.put(root.join(below), node)?)
        })?;
    }
    let open = |content: &Content| tree.open_content(worker, content);
    let made = write_layer_as(worker, true, draft.into_entries(), &open)?;
    let record = StepRecord {
        key,
        diff_id: made.layer.diff_id,
        content_id: made.layer.toc.content_id(),
        bytes: made.layer.toc.content_size(),
        created: worker.now(),
        millis: 0,
        place: String::new(),
        resources: None,
        ingredients: std::collections::BTreeMap::new(),
    };
    worker.environment.store.settle(&[record.diff_id])?;
    worker.environment.store.put_step(&record)?;
    Ok(record)
}

fn secret(worker: &Worker<'_>, mount: &RunMount, prepared: &mut Mounts) -> Result<(), StepError> {
    let RunMount::Secret {
        id,
        target,
        env,
        required,
        mode,
        uid,
        gid,
    } = mount
    else {
        return Ok(());
    };
    let value = worker.environment.run.secret(id)?;
    if value.is_none() && *required {
        return Err(StepError::SecretMissing { id: id.clone() });
    }
    if let Some(name) = env {
        let text = value
            .as_deref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default();
        prepared.env.push((name.clone(), text));
    }
    if let (Some(target), Some(bytes)) = (target, value) {
        let kind = MountKind::File {
            content: FileContent(bytes),
            mode: *mode,
            uid: *uid,
            gid: *gid,
        };
        prepared.mounts.push(Mount {
            target: target.clone(),
            kind,
        });
    }
    Ok(())
}

/// The agent of an id through a socket of the step's own, which is seen read-only: nobody inside changes its mode or owner.
fn ssh(
    worker: &Worker<'_>,
    folder: &Path,
    mount: &RunMount,
    prepared: &mut Mounts,
) -> Result<(), StepError> {
    let RunMount::Ssh {
        id,
        target,
        required,
        mode,
        uid,
        gid,
    } = mount
    else {
        return Ok(());
    };
    let access = Access {
        mode: *mode,
        owner: Some((*uid, *gid)),
    };
    match worker.environment.run.agents.serve(id, folder, access)? {
        Some(agent) => {
            let socket = agent.path().to_owned();
            prepared.mounts.push(read_only_file(target, socket));
            prepared.agents.push(agent);
        }
        None if *required => return Err(StepError::SshMissing { id: id.clone() }),
        None => {}
    }
    Ok(())
}
