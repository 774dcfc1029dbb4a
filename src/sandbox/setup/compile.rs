//! From the spec to the list of operations.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::{
    FileContent, IdMaps, Mount, MountKind, Network, SandboxSpec, Security, SpecProblem,
};
use super::kernel_paths::{self, Choices, MASKED, READ_ONLY};
use super::{
    Attributes, Capabilities, Command, MountSource, Namespaces, Overlay, Program, SetupOp,
    SingleIds,
};

/// Computes what the child does for a spec; `scaffold` is a layer that goes below all others.
///
/// # Errors
/// What is wrong with the spec itself.
pub(in crate::sandbox) fn compile(
    spec: &SandboxSpec,
    scaffold: Option<&Path>,
) -> Result<Program, SpecProblem> {
    check_strings(spec)?;
    let user = spec.id_maps.as_ref().map(single_ids).transpose()?;
    let user_namespace = user.is_some();
    let insecure = spec.security == Security::Insecure;
    let network = spec.network == Network::None;

    let mut setup = vec![
        SetupOp::PrivateMounts,
        SetupOp::Hostname(spec.hostname.clone()),
    ];
    if network {
        setup.push(SetupOp::RaiseLoopback);
    }
    setup.push(SetupOp::Root(Overlay::of_root(
        &spec.rootfs,
        scaffold,
        user_namespace,
    )));
    let choices = Choices {
        insecure,
        user_namespace,
        shm_size: spec.shm_size,
    };
    setup.extend(mounts_in_order(spec, choices)?.into_iter().flatten());
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
        namespaces: Namespaces { network, user },
        upper: spec.rootfs.upper.clone(),
        setup,
        command: Command {
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            set_groups: !user_namespace,
            capabilities: if insecure {
                Capabilities::All
            } else {
                Capabilities::Default
            },
            limits: spec.ulimits.clone(),
        },
    })
}

/// All mounts, each after those that contain it; of two on the same target the one that was declared later.
///
/// The keys are the components of the targets: their order puts a directory before what is in it.
fn mounts_in_order(spec: &SandboxSpec, choices: Choices) -> Result<Vec<Vec<SetupOp>>, SpecProblem> {
    let mut groups = BTreeMap::new();
    for (target, ops) in kernel_paths::mounts(choices) {
        groups.insert(components(target)?, ops);
    }
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
        groups.insert(key, vec![declared(mount, target, choices.user_namespace)]);
    }
    Ok(groups.into_values().collect())
}

fn declared(mount: &Mount, target: String, user_namespace: bool) -> SetupOp {
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
            Attributes::NONE.with_read_only(*read_only),
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
            (source, Attributes::NONE.with_read_only(read_only))
        }
        MountKind::Tmpfs { size, mode } => {
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
                    ..Attributes::NONE
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
            Attributes::DATA.with_read_only(true),
        ),
    };
    SetupOp::Mount {
        target,
        source,
        attributes,
    }
}

/// The names in an absolute path, without `.`, `..` and doubled slashes.
fn components(path: &str) -> Result<Vec<String>, SpecProblem> {
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

/// What a namespace of one user and one group maps; the caller's own ids can be mapped without help.
fn single_ids(maps: &IdMaps) -> Result<SingleIds, SpecProblem> {
    match (maps.uids.as_slice(), maps.gids.as_slice()) {
        (&[uid], &[gid]) if uid.count == 1 && gid.count == 1 => Ok(SingleIds { uid, gid }),
        _ => Err(SpecProblem::IdMaps),
    }
}

fn check_strings(spec: &SandboxSpec) -> Result<(), SpecProblem> {
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
    let targets = spec.mounts.iter().map(|mount| &mount.target);
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

#[cfg(test)]
mod tests {
    use super::super::super::{IdMap, OverlayView, Ulimit};
    use super::*;

    fn compile(spec: &SandboxSpec) -> Result<Program, SpecProblem> {
        super::compile(spec, None)
    }

    fn spec() -> SandboxSpec {
        let rootfs = OverlayView {
            lower: vec!["/layers/b".into(), "/layers/a".into()],
            upper: "/run/upper".into(),
            work: "/run/work".into(),
        };
        SandboxSpec::new(rootfs, vec!["true".to_owned()])
    }

    fn tmpfs(target: &str) -> Mount {
        Mount {
            target: target.to_owned(),
            kind: MountKind::Tmpfs {
                size: None,
                mode: 0o1777,
            },
        }
    }

    fn targets(spec: &SandboxSpec) -> Vec<String> {
        let ops = compile(spec).unwrap().setup;
        let target = |op| match op {
            SetupOp::Mount { target, .. } => Some(target),
            _ => None,
        };
        ops.into_iter().filter_map(target).collect()
    }

    #[test]
    fn the_default_mounts_are_those_of_containers() {
        assert_eq!(
            targets(&spec()),
            [
                "/dev",
                "/dev/mqueue",
                "/dev/pts",
                "/dev/shm",
                "/proc",
                "/sys",
                "/sys/fs/cgroup"
            ]
        );
    }

    #[test]
    fn a_mount_comes_after_what_contains_it_and_the_last_on_a_target_wins() {
        let mut spec = spec();
        spec.hosts = Some(b"127.0.0.1 localhost\n".to_vec());
        let secret = MountKind::File {
            content: FileContent(vec![1]),
            mode: 0o400,
            uid: 0,
            gid: 0,
        };
        spec.mounts = vec![
            tmpfs("/m/c/../b/./inner"),
            tmpfs("/m-2"),
            tmpfs("/m//b"),
            Mount {
                target: "/m".to_owned(),
                kind: secret,
            },
            tmpfs("/etc"),
            tmpfs("/m"),
            tmpfs("/dev/shm"),
        ];
        assert_eq!(
            targets(&spec),
            [
                "/dev",
                "/dev/mqueue",
                "/dev/pts",
                "/dev/shm",
                "/etc",
                "/etc/hosts",
                "/m",
                "/m/b",
                "/m/b/inner",
                "/m-2",
                "/proc",
                "/sys",
                "/sys/fs/cgroup",
            ]
        );
        let program = compile(&spec).unwrap();
        let replaced = |target: &str| {
            program.setup.iter().any(|op| {
                matches!(op, SetupOp::Mount { target: at, source: MountSource::Kernel { options, .. }, .. }
                    if at == target && options == &[("mode".to_owned(), "1777".to_owned())])
            })
        };
        assert!(replaced("/m") && replaced("/dev/shm"));
    }

    #[test]
    fn the_scaffold_is_the_bottom_layer() {
        let program = super::compile(&spec(), Some(Path::new("/scaffold"))).unwrap();
        let lower = program.setup.iter().find_map(|op| match op {
            SetupOp::Root(overlay) => Some(overlay.lower.clone()),
            _ => None,
        });
        let paths = ["/layers/b", "/layers/a", "/scaffold"].map(std::path::PathBuf::from);
        assert_eq!(lower.unwrap(), paths);
    }

    #[test]
    fn only_an_insecure_step_sees_everything() {
        let hidden = |spec: &SandboxSpec| {
            let ops = compile(spec).unwrap().setup;
            ops.iter()
                .filter(|op| matches!(op, SetupOp::Mask { .. } | SetupOp::ReadOnly { .. }))
                .count()
        };
        let mut spec = spec();
        assert_eq!(hidden(&spec), MASKED.len() + READ_ONLY.len());
        spec.security = Security::Insecure;
        assert_eq!(hidden(&spec), 0);
        assert_eq!(
            compile(&spec).unwrap().command.capabilities,
            Capabilities::All
        );
    }

    #[test]
    fn no_secret_is_printed() {
        let mut spec = spec();
        spec.env = vec![("TOKEN".to_owned(), "hunter2".to_owned())].into();
        let content = FileContent(b"hunter2".to_vec());
        let kind = MountKind::File {
            content,
            mode: 0o400,
            uid: 0,
            gid: 0,
        };
        spec.mounts = vec![Mount {
            target: "/run/secrets/x".to_owned(),
            kind,
        }];
        let program = compile(&spec).unwrap();
        for text in [
            format!("{spec:?}"),
            format!("{program:?}"),
            program.to_string(),
        ] {
            assert!(
                text.contains("TOKEN") && text.contains("/run/secrets/x"),
                "{text}"
            );
            assert!(
                !text.contains("hunter2") && !text.contains("104, 117"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_program_survives_the_way_to_the_child() {
        use std::os::unix::ffi::OsStringExt as _;
        let mut spec = spec();
        let odd = std::ffi::OsString::from_vec(b"/layers/\xff".to_vec());
        spec.rootfs.lower.push(odd.into());
        spec.ulimits = vec![Ulimit {
            resource: super::super::super::LimitedResource::Core,
            soft: Some(0),
            hard: None,
        }];
        let program = compile(&spec).unwrap();
        let bytes = postcard::to_stdvec(&program).unwrap();
        let received: Program = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(received.setup, program.setup);
        assert_eq!(format!("{received:?}"), format!("{program:?}"));
    }

    #[test]
    fn impossible_specs_are_refused() {
        let one = IdMap {
            inside: 0,
            outside: 1000,
            count: 1,
        };
        type Spoil = fn(&mut SandboxSpec);
        let cases: [(Spoil, SpecProblem); 8] = [
            (|spec| spec.argv.clear(), SpecProblem::EmptyCommand),
            (
                |spec| spec.cwd = "work".to_owned(),
                SpecProblem::RelativePath("work".to_owned()),
            ),
            (
                |spec| spec.mounts = vec![tmpfs("m")],
                SpecProblem::RelativePath("m".to_owned()),
            ),
            (
                |spec| spec.mounts = vec![tmpfs("/m/..")],
                SpecProblem::MountOnRoot,
            ),
            (
                |spec| spec.argv.push("a\0b".to_owned()),
                SpecProblem::NulByte("a\0b".to_owned()),
            ),
            (
                |spec| spec.env = vec![("A=B".to_owned(), String::new())].into(),
                SpecProblem::VariableName("A=B".to_owned()),
            ),
            (
                |spec| spec.env = vec![("A".to_owned(), "\0secret".to_owned())].into(),
                SpecProblem::NulByte("A".to_owned()),
            ),
            (
                |spec| {
                    let many = IdMap {
                        inside: 1,
                        outside: 100_000,
                        count: 65_536,
                    };
                    spec.id_maps = Some(IdMaps {
                        uids: vec![many],
                        gids: vec![many],
                    });
                },
                SpecProblem::IdMaps,
            ),
        ];
        for (spoil, problem) in cases {
            let mut spec = spec();
            spoil(&mut spec);
            assert_eq!(compile(&spec).unwrap_err(), problem);
        }
        let mut spec = spec();
        spec.id_maps = Some(IdMaps {
            uids: vec![one],
            gids: vec![one],
        });
        assert!(!compile(&spec).unwrap().command.set_groups);
    }
}
