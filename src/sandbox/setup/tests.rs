//! Which specs give which operations.

use super::super::{Footing, OverlayView, RootFs, Rung, Ulimit};
use super::super::{Mount, MountKind, SandboxSpec, Security, SpecProblem};
use super::kernel_paths::{MASKED, READ_ONLY};
use super::*;

fn compile(spec: &SandboxSpec) -> Result<Program, SpecProblem> {
    super::compile::compile(spec, Footing::on(Rung::Root), None)
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
            read_only: false,
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
    let program = super::compile::compile(
        &spec(),
        Footing::on(Rung::Root),
        Some(Path::new("/scaffold")),
    )
    .unwrap();
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
    let RootFs::Overlay(view) = &mut spec.rootfs else {
        panic!("an overlay");
    };
    view.lower.push(odd.into());
    spec.ulimits = vec![Ulimit {
        resource: super::super::LimitedResource::Core,
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
    type Spoil = fn(&mut SandboxSpec);
    let cases: [(Spoil, SpecProblem); 7] = [
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
    ];
    for (spoil, problem) in cases {
        let mut spec = spec();
        spoil(&mut spec);
        assert_eq!(compile(&spec).unwrap_err(), problem);
    }
}

#[test]
fn the_footing_decides_about_overlays_groups_and_terminals() {
    for (rung, in_namespace, groups) in [
        (Rung::Root, false, true),
        (Rung::SubordinateIds, true, true),
        (Rung::OneId, true, false),
    ] {
        let program = super::compile::compile(&spec(), Footing::on(rung), None).unwrap();
        assert_eq!(program.command.set_groups, groups, "{rung:?}");
        let overlays = program.setup.iter().any(
            |op| matches!(op, SetupOp::Root(overlay) if overlay.user_namespace == in_namespace),
        );
        assert!(overlays, "{rung:?}");
        let text = program.to_string();
        assert_eq!(text.contains(r#"("gid", "5")"#), groups, "{rung:?}");
    }
}
