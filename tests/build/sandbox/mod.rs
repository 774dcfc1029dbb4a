//! The native sandbox against the real kernel: each test runs a few commands of a static busybox in it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests make and look at plain files"
)]

mod cgroups;
pub(super) mod ending;
mod layers;
mod mounts;
mod process;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use builder::sandbox::{
    Attributes, Cancel, Device, DeviceKind, Exit, FileContent, Footing, LimitedResource, Limits,
    Mount, MountKind, NativeRunner, Network, OverlayView, RootFs, RunOutcome, Rung, SandboxError,
    SandboxSpec, Security, StepRunner as _, Ulimit, UpperDirectories, User,
};

use crate::support::require_capability;

const BUSYBOX: &str = "/bin/busybox";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A root file system with a shell, and room for the changes to it.
pub(super) struct Step {
    folder: tempfile::TempDir,
    pub(super) spec: SandboxSpec,
}

impl Step {
    pub(super) fn new(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        for name in ["base/bin", "base/etc", "base/tmp", "upper", "work"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::copy(BUSYBOX, base.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "ls", "cat", "id", "stat", "sleep", "grep", "ip", "hostname", "mount", "wc",
        ] {
            symlink("busybox", base.join("bin").join(applet)).unwrap();
        }
        let rootfs = OverlayView {
            lower: vec![base],
            upper: folder.path().join("upper"),
            work: folder.path().join("work"),
        };
        let argv = ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
        let mut spec = SandboxSpec::new(rootfs, argv);
        spec.env = vec![("PATH".to_owned(), PATH.to_owned())].into();
        Self { folder, spec }
    }

    pub(super) fn with_mount(mut self, target: &str, kind: MountKind) -> Self {
        self.spec.mounts.push(Mount {
            target: target.to_owned(),
            kind,
        });
        self
    }

    fn lower(&mut self) -> &mut Vec<PathBuf> {
        match &mut self.spec.rootfs {
            RootFs::Overlay(view) => &mut view.lower,
            RootFs::Tree(_) => panic!("a step on layers"),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A directory of the host with one file in it.
    pub(super) fn host_directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("file"), "content\n").unwrap();
        path
    }

    pub(super) fn run(&self) -> (Result<RunOutcome, SandboxError>, String) {
        self.run_with(&Cancel::new())
    }

    pub(super) fn run_with(&self, cancel: &Cancel) -> (Result<RunOutcome, SandboxError>, String) {
        let mut output = Vec::new();
        let result = runner().run(
            &self.spec,
            &mut |bytes| output.extend_from_slice(bytes),
            cancel,
        );
        (result, String::from_utf8(output).unwrap())
    }

    /// Runs a command that ends well; what it printed.
    pub(super) fn output(&self) -> String {
        let (result, output) = self.run();
        assert_eq!(
            result.expect("the sandbox runs").exit,
            Exit::Code(0),
            "{output}"
        );
        output
    }

    fn failure(&self) -> SandboxError {
        self.run().0.expect_err("the sandbox does not run")
    }

    /// What the step changed, as paths, sorted.
    fn changed(&self) -> Vec<String> {
        fn walk(folder: &Path, below: &str, into: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), &path, into);
                }
                into.push(path);
            }
        }
        let mut paths = Vec::new();
        walk(&self.path("upper"), "", &mut paths);
        paths.sort();
        paths
    }
}

pub(super) fn runner() -> NativeRunner {
    NativeRunner::with_executable(env!("CARGO_BIN_EXE_builder"), Footing::on(Rung::Root))
}

pub(super) fn secret(content: &[u8], mode: u32) -> MountKind {
    MountKind::File {
        content: FileContent(content.to_vec()),
        mode,
        uid: 0,
        gid: 0,
    }
}
