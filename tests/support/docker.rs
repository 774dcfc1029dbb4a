//! Debian's `dockerd` on a private socket with private folders, gone with its value.
//!
//! It runs in a mount namespace with an empty `/run`, so it starts a containerd of its own, and what it mounts vanishes
//! with it.

use std::path::Path;
use std::time::Duration;

use super::container;
use super::http::Response;
use super::process::{self, Daemon, Outcome};

/// A running daemon without images.
#[derive(Debug)]
pub struct Docker {
    /// Taken on drop, which has to end it before the files go.
    daemon: Option<Daemon>,
    folder: tempfile::TempDir,
    group: String,
}

impl Docker {
    /// Starts one and waits until it answers. Needs root.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path();
        let name = path.file_name().expect("a folder's name").to_string_lossy();
        let group = format!("builder-tests{}", name.replace('.', "-"));
        let log = path.join("log");
        let at = |name: &str| path.join(name).to_string_lossy().into_owned();
        let settings = format!("{{\"deprecated-key-path\": {:?}}}", at("key.json"));
        let durability = builder::fsio::Durability::Cached;
        builder::fsio::write_atomic(&path.join("daemon.json"), settings.as_bytes(), durability)
            .expect("a config file");
        let mut command = process::hermetic("unshare", path);
        let private_run = "mount -t tmpfs tmpfs /run && exec dockerd \"$@\"";
        command.args(["--mount", "sh", "-c", private_run, "sh"]);
        command.args(["--config-file", &at("daemon.json")]);
        command.args(["--host", &format!("unix://{}", at("docker.sock"))]);
        command.args(["--data-root", &at("data"), "--exec-root", &at("exec")]);
        command.args(["--pidfile", &at("docker.pid")]);
        command.args(["--cgroup-parent", &format!("/{group}")]);
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.args(["--ip-forward=false", "--ip-masq=false"]);
        let mut docker = Self {
            daemon: Some(Daemon::start(&command, &log)),
            folder,
            group,
        };
        while docker.run(&["version"]).code != Some(0) {
            if let Some(daemon) = &mut docker.daemon {
                daemon.expect_running(&log);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        docker
    }

    /// Runs `docker ARGUMENTS`.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let path = self.folder.path();
        let socket = format!("unix://{}", path.join("docker.sock").display());
        let mut command = process::hermetic("docker", path);
        process::run(command.env("DOCKER_HOST", socket).args(arguments))
    }

    /// `docker load`; returns what docker says it loaded.
    #[track_caller]
    pub fn load(&self, archive: &Path) -> String {
        let archive = archive.to_string_lossy();
        let loaded = self.run(&["load", "--quiet", "--input", &archive]);
        loaded.succeeded().stdout
    }

    /// Runs a container without a network to its end.
    #[track_caller]
    pub fn run_to_end(&self, image: &str, arguments: &[&str]) -> Outcome {
        self.run(&[&["run", "--rm", "--network=none", image], arguments].concat())
    }

    /// Starts a container that has only a loopback device, and asks it for `paths` once it listens on `port`.
    #[track_caller]
    pub fn serve(&self, image: &str, port: u16, paths: &[&str]) -> Vec<Response> {
        let started = self.run(&["run", "--detach", "--network=none", image]);
        let id = started.succeeded().line().to_owned();
        let answers = container::ask(|arguments| self.run(arguments), &id, port, paths);
        self.run(&["rm", "--force", &id]).succeeded();
        answers
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.daemon.take());
        process::remove_control_groups(&self.group);
    }
}
