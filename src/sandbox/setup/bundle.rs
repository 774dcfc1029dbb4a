//! A step as a bundle for an OCI runtime: what the child sets up for it, and the runtime's configuration.
//!
//! The child is the same, and makes the same root file system with the same mounts, network and cgroup. What the runtime does in
//! place of it is the rest: process and mount namespace, kernel file systems, devices, rights, filter. The bundle is in memory,
//! since the environment in it may hold secrets. (OCI runtime specification 1.0, `config.md` and `config-linux.md`.)

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::filter::{self, Filter};
use super::super::{
    Device, DeviceKind, FileContent, Footing, Network, RootFs, SandboxError, SandboxSpec, Security,
};
use super::compile::{check_strings, declared_in_order};
use super::kernel_paths::{MASKED, READ_ONLY};
use super::{Capabilities, Command, Namespaces, Overlay, Program, SetupOp};

/// The capabilities of a confined step by their names; the same as those of the native way.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Computes what the child does to have a runtime run the step.
///
/// # Errors
/// What is wrong with the spec itself, and what a runtime is not asked for.
pub(in crate::sandbox) fn compile_for_runtime(
    spec: &SandboxSpec,
    runtime: &Path,
    footing: Footing,
    scaffold: Option<&Path>,
) -> Result<Program, SandboxError> {
    check_strings(spec).map_err(SandboxError::Spec)?;
    refuse(spec)?;
    let user_namespace = footing.in_user_namespace();
    let network = spec.network.clone();
    let mut setup = vec![
        SetupOp::PrivateMounts,
        SetupOp::Hostname(spec.hostname.clone()),
    ];
    if network == Network::None {
        setup.push(SetupOp::RaiseLoopback);
    }
    // The stage covers the directory that is of no other use, and holds the bundle.
    let stage = match &spec.rootfs {
        RootFs::Overlay(view) => {
            setup.push(SetupOp::Root(Overlay::of_root(
                view,
                scaffold,
                user_namespace,
            )));
            &view.work
        }
        RootFs::Tree(tree) => {
            setup.push(SetupOp::RootTree(tree.clone()));
            tree
        }
    };
    if spec.security == Security::Sandbox {
        setup.push(SetupOp::NoDevices);
    }
    let mounts = declared_in_order(spec, user_namespace).map_err(SandboxError::Spec)?;
    setup.extend(mounts);
    setup.push(SetupOp::Directory {
        path: spec.cwd.clone(),
    });
    setup.push(SetupOp::Bundle {
        config: FileContent(
            config(spec, opens_devices(runtime))
                .to_string()
                .into_bytes(),
        ),
        // It refuses to run where there are both versions, and runs where it sees neither.
        hide_cgroups: is_crun(runtime),
    });
    Ok(Program {
        cgroups: None,
        emulator: None,
        namespaces: Namespaces { network },
        upper: spec.rootfs.written().to_owned(),
        setup,
        command: command(runtime, &stage.join(super::BUNDLE)),
    })
}

fn refuse(spec: &SandboxSpec) -> Result<(), SandboxError> {
    match spec.emulator.is_some() {
        true => Err(SandboxError::NotByRuntime(
            "--platform of another processor",
        )),
        false => Ok(()),
    }
}

/// Whether a runtime forgets that devices on the root file system are not to be opened: what is not known to heed it is taken to.
pub(in crate::sandbox) fn opens_devices(runtime: &Path) -> bool {
    runtime.file_name().is_none_or(|name| name != "runc")
}

fn is_crun(runtime: &Path) -> bool {
    runtime.file_name().is_some_and(|name| name == "crun")
}

/// The runtime's own command line: its state is in the bundle, cgroups are none of its business.
fn command(runtime: &Path, bundle: &Path) -> Command {
    let path = |path: PathBuf| path.display().to_string();
    let own = match is_crun(runtime) {
        true => "--cgroup-manager=disabled",
        // What it cannot do with cgroups it does without.
        false => "--rootless=true",
    };
    let argv = vec![
        path(runtime.to_owned()),
        own.to_owned(),
        "--root".to_owned(),
        path(bundle.join("state")),
        "run".to_owned(),
        "--bundle".to_owned(),
        path(bundle.to_owned()),
        "builder-step".to_owned(),
    ];
    Command {
        argv,
        env: vec![(
            "PATH".to_owned(),
            "/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        )]
        .into(),
        cwd: "/".to_owned(),
        user: super::User::default(),
        set_groups: false,
        capabilities: Capabilities::All,
        filter: Filter::default(),
        limits: Vec::new(),
    }
}

fn config(spec: &SandboxSpec, opens_devices: bool) -> Value {
    let insecure = spec.security == Security::Insecure;
    let environment = spec.env.0.iter();
    let environment: Vec<String> = environment
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {
                "uid": spec.user.uid,
                "gid": spec.user.gid,
                "umask": 0o022,
                "additionalGids": spec.user.groups,
            },
            "args": spec.argv,
            "env": environment,
            "cwd": spec.cwd,
            "capabilities": capabilities(spec, insecure, opens_devices),
            "noNewPrivileges": false,
        },
        "root": { "path": "rootfs", "readonly": false },
        "mounts": kernel_file_systems(spec.shm_size, insecure),
        "linux": {
            "namespaces": [{ "type": "pid" }, { "type": "mount" }],
            "devices": spec.devices.iter().map(device).collect::<Vec<_>>(),
            "maskedPaths": if insecure { &[][..] } else { &MASKED[..] },
            "readonlyPaths": if insecure { &[][..] } else { &READ_ONLY[..] },
            "seccomp": if insecure { Value::Null } else { filter::as_rules() },
        },
    })
}

/// `opens_devices`: crun mounts the root file system anew, and forgets that devices on it are not to be opened. Then none can be made
/// either.
fn capabilities(spec: &SandboxSpec, insecure: bool, opens_devices: bool) -> Value {
    let all: Vec<&str> = match insecure {
        true => ALL_CAPABILITIES.to_vec(),
        false => CAPABILITIES
            .into_iter()
            .filter(|name| !opens_devices || *name != "CAP_MKNOD")
            .collect(),
    };
    // As for the native way: others than root may gain them, and have none in force.
    let in_force = if insecure || spec.user.uid == 0 {
        all.clone()
    } else {
        Vec::new()
    };
    let handed_on = if insecure { all.clone() } else { Vec::new() };
    json!({
        "bounding": all,
        "effective": in_force,
        "permitted": in_force,
        "inheritable": handed_on,
        "ambient": handed_on,
    })
}

fn kernel_file_systems(shm_size: u64, insecure: bool) -> Value {
    let shm = format!("size={shm_size}");
    let access = if insecure { "rw" } else { "ro" };
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", shm] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs",
          "options": ["nosuid", "noexec", "nodev", access] },
    ])
}

fn device(device: &Device) -> Value {
    let kind = match device.kind {
        DeviceKind::Character => "c",
        DeviceKind::Block => "b",
        DeviceKind::Pipe => "p",
    };
    json!({
        "path": device.path,
        "type": kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    })
}

/// All that Linux has.
const ALL_CAPABILITIES: [&str; 41] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

#[cfg(test)]
mod tests {
    use super::super::super::{OverlayView, Rung};
    use super::*;

    fn spec() -> SandboxSpec {
        let rootfs = OverlayView {
            lower: vec!["/layer".into()],
            upper: "/u".into(),
            work: "/w".into(),
        };
        let mut spec = SandboxSpec::new(rootfs, vec!["true".to_owned()]);
        spec.env = vec![("TOKEN".to_owned(), "hush".to_owned())].into();
        spec
    }

    fn compiled(spec: &SandboxSpec, runtime: &str) -> Program {
        compile_for_runtime(spec, Path::new(runtime), Footing::on(Rung::Root), None).unwrap()
    }

    fn configuration(program: &Program) -> Value {
        let Some(SetupOp::Bundle { config, .. }) = program.setup.last() else {
            panic!("the bundle comes last: {program}");
        };
        serde_json::from_slice(&config.0).unwrap()
    }

    #[test]
    fn the_bundle_is_on_the_stage_and_nobody_is_shown_its_secrets() {
        let program = compiled(&spec(), "/usr/sbin/runc");
        assert!(!program.to_string().contains("hush"), "{program}");
        let words = program.command.argv.join(" ");
        assert_eq!(
            words,
            "/usr/sbin/runc --rootless=true --root /w/bundle/state run --bundle /w/bundle builder-step"
        );
        let config = configuration(&program);
        assert_eq!(config["process"]["env"], json!(["TOKEN=hush"]));
        assert!(config["linux"]["seccomp"].is_object());
    }

    #[test]
    fn rights_are_those_of_the_native_way() {
        let mut spec = spec();
        let bounding = |spec: &SandboxSpec, runtime| {
            let config = configuration(&compiled(spec, runtime));
            let rights = config["process"]["capabilities"].clone();
            (rights["bounding"].clone(), rights["effective"].clone())
        };
        let all = json!(CAPABILITIES);
        assert_eq!(bounding(&spec, "runc"), (all.clone(), all.clone()));
        spec.user.uid = 7;
        assert_eq!(bounding(&spec, "runc"), (all, json!([])));
        // It lets devices be opened, so none can be made.
        let (rights, _) = bounding(&spec, "/usr/bin/youki");
        assert!(!rights.as_array().unwrap().contains(&json!("CAP_MKNOD")));
        spec.security = Security::Insecure;
        let (_, in_force) = bounding(&spec, "crun");
        assert_eq!(in_force, json!(ALL_CAPABILITIES.to_vec()));
    }
}
