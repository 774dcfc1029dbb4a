//! Debian's podman with its images and containers in a folder of its own: none of the machine's are seen or touched.

use std::path::Path;
use std::process::Command;

use super::container;
use super::http::Response;
use super::process::{self, Outcome};

/// A podman without images.
#[derive(Debug)]
pub struct Podman {
    folder: tempfile::TempDir,
    group: String,
}

impl Podman {
    /// Needs root.
    #[track_caller]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path();
        let name = path.file_name().expect("a folder's name").to_string_lossy();
        // runc works with every layout of control groups; no limits are raised, so a container may run in a container.
        let config = format!(
            "[containers]\ndefault_ulimits = []\nnetns = \"none\"\nlog_driver = \"k8s-file\"\n\
             [network]\nnetwork_config_dir = {:?}\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
             lock_type = \"file\"\ntmp_dir = {:?}\n",
            path.join("networks"),
            path.join("tmp")
        );
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            path.join("root"),
            path.join("run")
        );
        let policy = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}";
        for (file, text) in [
            ("containers.conf", config.as_str()),
            ("storage.conf", storage.as_str()),
            (".config/containers/policy.json", policy),
        ] {
            let file = path.join(file);
            let parent = file.parent().expect("a file is in a folder");
            builder::fsio::create_dir_all(parent).expect("a folder");
            let durability = builder::fsio::Durability::Cached;
            builder::fsio::write_atomic(&file, text.as_bytes(), durability).expect("a config file");
        }
        let group = format!("builder-tests{}", name.replace('.', "-"));
        Self { folder, group }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = self.folder.path();
        let mut command = process::hermetic("podman", path);
        command
            .env("CONTAINERS_CONF", path.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", path.join("storage.conf"))
            .args(arguments);
        command
    }

    /// Runs `podman ARGUMENTS`.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        process::run(&mut self.command(arguments))
    }

    /// `podman load`; returns what podman says it loaded.
    #[track_caller]
    pub fn load(&self, archive: &Path) -> String {
        let mut command = self.command(&["load", "--quiet", "--input"]);
        process::run(command.arg(archive)).succeeded().stdout
    }

    /// Runs a container without a network to its end.
    #[track_caller]
    pub fn run_to_end(&self, image: &str, arguments: &[&str]) -> Outcome {
        let parent = format!("/{}", self.group);
        let flags = ["run", "--rm", "--ulimit=host", "--cgroup-parent", &parent];
        self.run(&[&flags[..], &[image], arguments].concat())
    }

    /// The same with more flags.
    #[track_caller]
    pub fn run_with(&self, more: &[&str], image: &str, arguments: &[&str]) -> Outcome {
        let parent = format!("/{}", self.group);
        let flags = ["run", "--rm", "--ulimit=host", "--cgroup-parent", &parent];
        self.run(&[&flags[..], more, &[image], arguments].concat())
    }

    /// Starts a container that has only a loopback device, and asks it for `paths` once it listens on `port`.
    #[track_caller]
    pub fn serve(&self, image: &str, port: u16, paths: &[&str]) -> Vec<Response> {
        let parent = format!("/{}", self.group);
        let flags = ["run", "--detach", "--ulimit=host", "--cgroup-parent"];
        let started = self.run(&[&flags[..], &[&parent, image]].concat());
        let id = started.succeeded().line().to_owned();
        let answers = container::ask(|arguments| self.run(arguments), &id, port, paths);
        self.run(&["rm", "--force", "--time", "0", &id]).succeeded();
        answers
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _removed = self.run(&["rm", "--all", "--force", "--time", "0"]);
        // podman binds its storage folder to itself.
        let mount = self.folder.path().join("root/overlay");
        let _not_mounted = process::run(Command::new("umount").arg("--quiet").arg(mount));
        process::remove_control_groups(&self.group);
    }
}
