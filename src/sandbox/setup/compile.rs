//! From the spec to the list of operations.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::filter::Filter;
use super::super::{
    Attributes, Device, FileContent, Footing, Mount, MountKind, Network, RootFs, SandboxSpec,
    Security, SpecProblem,
};
use super::kernel_paths::{self, Choices, MASKED, READ_ONLY};
use super::{Capabilities, Command, MountSource, Namespaces, Overlay, Program, SetupOp};

/// Computes what the child does for a spec on a footing; `scaffold` is a layer that goes below all others.
///
/// # Errors
/// What is wrong with the spec itself.
pub(in crate::sandbox) fn compile(
    spec: &SandboxSpec,
    footing: Footing,
    scaffold: Option<&Path>,
) -> Result<Program, SpecProblem> {
    check_strings(spec)?;
    let user_namespace = footing.in_user_namespace();
    let insecure = spec.security == Security::Insecure;
    let network = spec.network.clone();

    let mut setup = vec![
        SetupOp::PrivateMounts,
        SetupOp::Hostname(spec.hostname.clone()),
    ];
    if network == Network::None {
        setup.push(SetupOp::RaiseLoopback);
    }
    setup.push(match &spec.rootfs {
        RootFs::Overlay(view) => SetupOp::Root(Overlay::of_root(view, scaffold, user_namespace)),
        RootFs::Tree(tree) => SetupOp::RootTree(tree.clone()),
    });
    if !insecure {
        setup.push(SetupOp::NoDevices);
    }
    let choices = Choices {
        insecure,
        one_id: footing.has_one_id(),
        shm_size: spec.shm_size,
    };
    setup.extend(
        mounts_in_order(spec, choices, user_namespace)?
            .into_iter()
            .flatten(),
    );
    if !insecure {
        let path = |path: &&str| (*path).to_owned();
        setup.extend(
            READ_ONLY
                .iter()
                .map(path)
                .map(|path| SetupOp::ReadOnly { path }),
        );
        setup.extend(MASKED.iter().map(path).map(|path| SetupOp::Mask { path }));
    }
    setup.push(SetupOp::Directory {
        path: spec.cwd.clone(),
    });
    setup.push(SetupOp::Pivot);

    Ok(Program {
        cgroups: None,
        emulator: spec.emulator.clone(),
        namespaces: Namespaces { network },
        upper: spec.rootfs.written().to_owned(),
        setup,
        command: Command {
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            set_groups: !footing.has_one_id(),
            capabilities: if insecure {
                Capabilities::All
            } else {
                Capabilities::Default
            },
            filter: match insecure {
                true => Filter::default(),
                false => Filter::confined(),
            },
            limits: spec.ulimits.clone(),
        },
    })
}

/// All mounts, each after those that contain it; of two on the same target the one that was declared later.
///
/// The keys are the components of the targets: their order puts a directory before what is in it.
fn mounts_in_order(
    spec: &SandboxSpec,
    choices: Choices,
    user_namespace: bool,
) -> Result<Vec<Vec<SetupOp>>, SpecProblem> {
    let mut groups = BTreeMap::new();
    let devices = devices_by_path(spec)?;
    for (target, ops) in kernel_paths::mounts(choices, devices) {
        groups.insert(components(target)?, ops);
    }
    groups.extend(declared_mounts(spec, user_namespace)?);
    Ok(groups.into_values().collect())
}

/// The mounts of the spec alone, each after those that contain it.
pub(super) fn declared_in_order(
    spec: &SandboxSpec,
    user_namespace: bool,
) -> Result<Vec<SetupOp>, SpecProblem> {
    let groups = declared_mounts(spec, user_namespace)?;
    Ok(groups.into_values().flatten().collect())
}

fn declared_mounts(
    spec: &SandboxSpec,
    user_namespace: bool,
) -> Result<BTreeMap<Vec<String>, Vec<SetupOp>>, SpecProblem> {
    let mut groups = BTreeMap::new();
    let has_devices = spec.security == Security::Insecure;
    for (target, content) in [
        ("/etc/hosts", &spec.hosts),
        ("/etc/resolv.conf", &spec.resolv_conf),
    ] {
        if let Some(content) = content {
            let content = FileContent(content.clone());
            let source = MountSource::File {
                content,
                mode: 0o644,
                uid: 0,
                gid: 0,
            };
            let attributes = Attributes::DATA.with_read_only(true);
            let mount = SetupOp::Mount {
                target: target.to_owned(),
                source,
                attributes,
            };
            groups.insert(components(target)?, vec![mount]);
        }
    }
    for mount in &spec.mounts {
        let key = components(&mount.target)?;
        if key.is_empty() {
            return Err(SpecProblem::MountOnRoot);
        }
        let target = format!("/{}", key.join("/"));
        let free = Attributes::NONE.with_devices(has_devices);
        groups.insert(key, vec![declared(mount, target, free, user_namespace)]);
    }
    Ok(groups)
}

/// The devices that the spec adds, with clean paths: of two with one path the later.
fn devices_by_path(spec: &SandboxSpec) -> Result<BTreeMap<String, Device>, SpecProblem> {
    let mut devices = BTreeMap::new();
    for device in &spec.devices {
        let names = components(&device.path)?;
        if names.len() < 2 || names[0] != "dev" {
            return Err(SpecProblem::DeviceElsewhere(device.path.clone()));
        }
        let path = format!("/{}", names.join("/"));
        let device = Device {
            path: path.clone(),
            ..device.clone()
        };
        devices.insert(path, device);
    }
    Ok(devices)
}

/// `free` is what a mount allows of which nothing else is said.
fn declared(mount: &Mount, target: String, free: Attributes, user_namespace: bool) -> SetupOp {
    let (source, attributes) = match &mount.kind {
        MountKind::Bind {
            source,
            sub_path,
            read_only,
        } => (
            MountSource::Bind {
                source: source.clone(),
                sub_path: sub_path.clone(),
            },
            free.with_read_only(*read_only),
        ),
        MountKind::Host { source, attributes } => (
            MountSource::Bind {
                source: source.clone(),
                sub_path: String::new(),
            },
            *attributes,
        ),
        MountKind::Overlay {
            lower,
            sub_path,
            writable,
        } => {
            let read_only = writable.is_none();
            let overlay = Overlay {
                lower: lower.clone(),
                writable: writable.clone(),
                user_namespace,
            };
            let source = MountSource::View {
                overlay,
                sub_path: sub_path.clone(),
            };
            (source, free.with_read_only(read_only))
        }
        MountKind::Tmpfs {
            size,
            mode,
            read_only,
        } => {
            let mut options = vec![("mode".to_owned(), format!("{:o}", mode & 0o7777))];
            options.extend(size.map(|size| ("size".to_owned(), size.to_string())));
            let source = MountSource::Kernel {
                kind: "tmpfs".to_owned(),
                options,
            };
            (
                source,
                Attributes {
                    no_suid: true,
                    ..free.with_read_only(*read_only)
                },
            )
        }
        MountKind::File {
            content,
            mode,
            uid,
            gid,
        } => (
            MountSource::File {
                content: content.clone(),
                mode: *mode,
                uid: *uid,
                gid: *gid,
            },
            Attributes {
                // The script of a heredoc is to be started.
                no_execution: mode & 0o111 == 0,
                ..Attributes::DATA.with_read_only(true)
            },
        ),
    };
    SetupOp::Mount {
        target,
        source,
        attributes,
    }
}

/// The names in an absolute path, without `.`, `..` and doubled slashes.
pub(super) fn components(path: &str) -> Result<Vec<String>, SpecProblem> {
    if !path.starts_with('/') {
        return Err(SpecProblem::RelativePath(path.to_owned()));
    }
    let mut names: Vec<String> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name.to_owned()),
        }
    }
    Ok(names)
}

pub(super) fn check_strings(spec: &SandboxSpec) -> Result<(), SpecProblem> {
    if spec.argv.is_empty() {
        return Err(SpecProblem::EmptyCommand);
    }
    if !spec.cwd.starts_with('/') {
        return Err(SpecProblem::RelativePath(spec.cwd.clone()));
    }
    for (name, value) in &spec.env.0 {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(SpecProblem::VariableName(name.clone()));
        }
        // The value may be a secret: the name stands for it.
        if value.contains('\0') {
            return Err(SpecProblem::NulByte(name.clone()));
        }
    }
    let devices = spec.devices.iter().map(|device| &device.path);
    let targets = spec.mounts.iter().map(|mount| &mount.target).chain(devices);
    let strings = spec
        .argv
        .iter()
        .chain([&spec.cwd, &spec.hostname])
        .chain(targets);
    match strings.into_iter().find(|string| string.contains('\0')) {
        Some(string) => Err(SpecProblem::NulByte(string.clone())),
        None => Ok(()),
    }
}
