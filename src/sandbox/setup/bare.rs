//! From the spec to what the child does where there are no namespaces and no mounts: things are put into the tree that the step
//! works in, and taken out again.
//!
//! Pure, as the rest of `setup`. What cannot be had there is refused here, before anything runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::filter::Filter;
use super::super::spec::path_bytes;
use super::super::{
    Device, FileContent, MountKind, Network, RootFs, SandboxError, SandboxSpec, Security,
    SpecProblem,
};
use super::compile::{check_strings, components};
use super::kernel_paths::{self, Choices};
use super::{Capabilities, Command, MountSource, SetupOp};

/// Everything the child is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct BareProgram {
    /// The tree that becomes the root.
    #[serde(with = "path_bytes")]
    pub(in crate::sandbox) tree: PathBuf,
    /// What is done before the command starts, in order, and undone after its end, in the opposite order.
    pub(in crate::sandbox) setup: Vec<BareOp>,
    /// What is executed, as whom.
    pub(in crate::sandbox) command: Command,
}

/// One thing that is put into the tree for as long as the step takes. What was there is kept aside meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) enum BareOp {
    /// An empty folder.
    Folder { target: String, mode: u32 },
    /// What a path holds: a folder or socket itself, which belongs to the builder, or a copy of a file.
    Lend {
        #[serde(with = "path_bytes")]
        source: PathBuf,
        sub_path: String,
        target: String,
    },
    /// A file that anybody may know.
    File {
        target: String,
        content: FileContent,
    },
    /// A secret: a pipe that whoever opens it reads the content from. It is in memory only.
    Pipe {
        target: String,
        content: FileContent,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// A device in a folder that was put there.
    Node(Device),
    /// A symbolic link in a folder that was put there.
    Link { path: String, says: String },
    /// A directory that stays, with those on the way.
    Directory { path: String },
}

/// Computes what the child does.
///
/// # Errors
/// What is wrong with the spec, and what cannot be had without namespaces.
pub(in crate::sandbox) fn compile_bare(spec: &SandboxSpec) -> Result<BareProgram, SandboxError> {
    check_strings(spec).map_err(SandboxError::Spec)?;
    let tree = match &spec.rootfs {
        RootFs::Tree(tree) => tree.clone(),
        RootFs::Overlay(_) => return Err(SandboxError::OutOfReach("--snapshotter overlay")),
    };
    refuse(spec)?;
    let mut setup = puts_in_order(spec).map_err(SandboxError::Spec)?;
    setup.push(BareOp::Directory {
        path: spec.cwd.clone(),
    });
    Ok(BareProgram {
        tree,
        setup,
        command: Command {
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            set_groups: true,
            capabilities: Capabilities::InChroot,
            // There is no right to install one without taking set-user-id programs their rights; the container has its own.
            filter: Filter::default(),
            limits: spec.ulimits.clone(),
        },
    })
}

fn refuse(spec: &SandboxSpec) -> Result<(), SandboxError> {
    let has_view = |mount: &super::super::Mount| matches!(mount.kind, MountKind::Overlay { .. });
    let wanted = [
        (matches!(spec.network, Network::None), "--network none"),
        (
            matches!(spec.network, Network::Namespace(_)),
            "a network namespace",
        ),
        (spec.security == Security::Insecure, "--security=insecure"),
        (!spec.devices.is_empty(), "--device"),
        (
            !spec.limits.is_empty(),
            "a limit of memory, processors or processes",
        ),
        (spec.mounts.iter().any(has_view), "a mount of layers"),
    ];
    match wanted.iter().find(|(is_wanted, _)| *is_wanted) {
        Some((_, what)) => Err(SandboxError::OutOfReach(what)),
        None => Ok(()),
    }
}

/// All that is put into the tree, each after what contains it; of two on the same target the one that was declared later.
fn puts_in_order(spec: &SandboxSpec) -> Result<Vec<BareOp>, SpecProblem> {
    let mut groups = BTreeMap::new();
    let choices = Choices {
        insecure: false,
        one_id: false,
        shm_size: spec.shm_size,
    };
    for (target, ops) in kernel_paths::mounts(choices, BTreeMap::new()) {
        // Without mounts there is neither `/proc` nor `/sys`.
        if target == "/dev" || target == "/dev/shm" {
            let ops = ops.into_iter().filter_map(as_files).collect();
            groups.insert(components(target)?, ops);
        }
    }
    let files = [
        ("/etc/hosts", &spec.hosts),
        ("/etc/resolv.conf", &spec.resolv_conf),
    ];
    for (target, content) in files {
        if let Some(content) = content {
            let op = BareOp::File {
                target: target.to_owned(),
                content: FileContent(content.clone()),
            };
            groups.insert(components(target)?, vec![op]);
        }
    }
    for mount in &spec.mounts {
        let key = components(&mount.target)?;
        if key.is_empty() {
            return Err(SpecProblem::MountOnRoot);
        }
        let target = format!("/{}", key.join("/"));
        groups.insert(key, declared(&mount.kind, target).into_iter().collect());
    }
    Ok(groups.into_values().flatten().collect())
}

/// What a mount of memory and what is made in it come to in a plain folder.
fn as_files(op: SetupOp) -> Option<BareOp> {
    match op {
        SetupOp::Mount {
            target,
            source: MountSource::Kernel { options, .. },
            ..
        } => {
            let mode = options.iter().find(|(name, _)| name == "mode");
            let mode = mode.and_then(|(_, text)| u32::from_str_radix(text, 8).ok());
            Some(BareOp::Folder {
                target,
                mode: mode.unwrap_or(0o755),
            })
        }
        SetupOp::Node(device) => Some(BareOp::Node(device)),
        SetupOp::Link { path, says } => Some(BareOp::Link { path, says }),
        _ => None,
    }
}

fn declared(kind: &MountKind, target: String) -> Option<BareOp> {
    match kind {
        MountKind::Bind {
            source, sub_path, ..
        } => Some(BareOp::Lend {
            source: source.clone(),
            sub_path: sub_path.clone(),
            target,
        }),
        MountKind::Tmpfs { mode, .. } => Some(BareOp::Folder {
            target,
            mode: *mode,
        }),
        MountKind::File {
            content,
            mode,
            uid,
            gid,
        } => Some(BareOp::Pipe {
            target,
            content: content.clone(),
            mode: *mode,
            uid: *uid,
            gid: *gid,
        }),
        // Refused before: they come with devices, and from layers.
        MountKind::Host { .. } | MountKind::Overlay { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Mount, OverlayView};
    use super::*;

    fn spec() -> SandboxSpec {
        SandboxSpec::new(RootFs::Tree("/tree".into()), vec!["true".to_owned()])
    }

    #[test]
    fn what_takes_namespaces_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut SandboxSpec)| {
            let mut spec = spec();
            change(&mut spec);
            compile_bare(&spec).unwrap_err().to_string()
        };
        let none = refused(&|spec| spec.network = Network::None);
        assert!(none.starts_with("`--network none` takes"), "{none}");
        let insecure = refused(&|spec| spec.security = Security::Insecure);
        assert!(insecure.contains("--security=insecure"), "{insecure}");
        let view = OverlayView {
            lower: vec![],
            upper: "/u".into(),
            work: "/w".into(),
        };
        let overlay = refused(&|spec| spec.rootfs = RootFs::Overlay(view.clone()));
        assert!(overlay.contains("--snapshotter overlay"), "{overlay}");
        assert!(compile_bare(&spec()).is_ok());
    }

    #[test]
    fn a_secret_is_a_pipe_and_what_contains_another_comes_first() {
        let mut spec = spec();
        for (target, kind) in [
            (
                "/cache/../cache/secret",
                MountKind::File {
                    content: FileContent(b"hush".to_vec()),
                    mode: 0o400,
                    uid: 1,
                    gid: 2,
                },
            ),
            (
                "/cache",
                MountKind::Bind {
                    source: "/store/cache".into(),
                    sub_path: String::new(),
                    read_only: false,
                },
            ),
        ] {
            let target = target.to_owned();
            spec.mounts.push(Mount { target, kind });
        }
        let setup = compile_bare(&spec).unwrap().setup;
        let at = |wanted: &dyn Fn(&BareOp) -> bool| setup.iter().position(wanted).unwrap();
        let cache = at(&|op| matches!(op, BareOp::Lend { target, .. } if target == "/cache"));
        let secret =
            at(&|op| matches!(op, BareOp::Pipe { target, .. } if target == "/cache/secret"));
        let null = at(&|op| matches!(op, BareOp::Node(device) if device.path == "/dev/null"));
        let dev = at(&|op| matches!(op, BareOp::Folder { target, .. } if target == "/dev"));
        assert!(cache < secret && dev < null);
        assert!(!format!("{setup:?}").contains("hush"));
    }
}
