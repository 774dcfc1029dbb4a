//! Debian's `docker-registry` on a loopback port, empty at first, gone with its value.

use std::time::Duration;

use super::http;
use super::process::{self, Daemon};

/// A running registry.
#[derive(Debug)]
pub struct DockerRegistry {
    // Dropped in this order: the daemon before its files.
    _daemon: Daemon,
    _folder: tempfile::TempDir,
    port: u16,
}

impl DockerRegistry {
    /// Starts one and waits until it answers.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let log = folder.path().join("log");
        let config = folder.path().join("config.yml");
        let port = http::free_port();
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\n",
            folder.path().join("storage")
        );
        builder::fsio::write_atomic(&config, text.as_bytes(), builder::fsio::Durability::Cached)
            .expect("a config file");
        let mut command = process::hermetic("docker-registry", folder.path());
        let mut daemon = Daemon::start(command.arg("serve").arg(&config), &log);
        while !http::get(port, "/v2/").is_ok_and(|answer| answer.status == 200) {
            daemon.expect_running(&log);
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            _daemon: daemon,
            _folder: folder,
            port,
        }
    }

    /// `localhost:PORT`, as in an image name.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }
}
