//! A repository over SSH: the keys are those that the user lends to the build, and stay where they are.
//!
//! Needs root for a server that takes its authorised keys from a folder of the test's own.

use std::path::PathBuf;
use std::process::Command;

use builder::fsio;

use crate::support::process::{self, Daemon};
use crate::support::{TestEnv, http, layout, require_capability};

/// An SSH server with one authorised key, in a mount namespace in which root's home folder is another one.
struct Server {
    port: u16,
    _daemon: Daemon,
}

impl Server {
    fn start(env: &TestEnv, key: &str) -> Self {
        let port = http::free_port();
        process::run(
            env.tool("dropbearkey")
                .args(["-t", "ed25519", "-f", "host-key"])
                .current_dir(env.path("")),
        )
        .succeeded();
        let script = format!(
            "mount -t tmpfs -o mode=700 none /root && mkdir -m 700 /root/.ssh && cp '{key}' /root/.ssh/authorized_keys \
             && exec dropbear -F -E -s -p 127.0.0.1:{port} -r '{host}'",
            key = env.path(key).display(),
            host = env.path("host-key").display()
        );
        let mut command = env.tool("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let log = env.path("dropbear.log");
        let mut daemon = Daemon::start(&command, &log);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            daemon.expect_running(&log);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self {
            port,
            _daemon: daemon,
        }
    }
}

fn git(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = env.tool("git");
    command
        .args(["-c", "user.name=n", "-c", "user.email=e@example.org"])
        .args(arguments)
        .current_dir(env.path("repo"));
    command
}

fn keys(env: &TestEnv, name: &str) -> PathBuf {
    let path = env.path(name);
    let mut keygen = env.tool("ssh-keygen");
    keygen
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&path);
    process::run(&mut keygen).succeeded();
    path
}

#[test]
fn a_repository_is_fetched_with_the_keys_that_are_lent() {
    require_capability!(
        Root,
        Program("git"),
        Program("dropbear"),
        Program("ssh-keygen")
    );
    let env = TestEnv::new();
    env.write("repo/Dockerfile", "FROM scratch\nCOPY file /\n");
    env.write("repo/file", "content\n");
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message=x"],
    ] {
        process::run(&mut git(&env, arguments)).succeeded();
    }
    keys(&env, "right");
    keys(&env, "wrong");
    let server = Server::start(&env, "right.pub");
    let repository = env.path("repo/.git");
    let url = format!(
        "ssh://root@127.0.0.1:{}{}",
        server.port,
        repository.display()
    );
    let build = |key: &str| {
        let ssh = format!("default={key}");
        let output = "type=oci,tar=false,dest=out";
        let mut command = env.command(
            "build",
            ["--progress", "plain", "--ssh", &ssh, "-o", output, &url],
        );
        // The client keeps the keys of hosts below the home that the system knows, not `HOME`.
        command.env(
            "GIT_SSH_COMMAND",
            format!(
                "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={}",
                env.path("known_hosts").display()
            ),
        );
        process::run(&mut command)
    };
    let refused = build("wrong").exited(3);
    assert!(
        refused.stderr.contains("Permission denied"),
        "{}",
        refused.stderr
    );
    let outcome = build("right").succeeded();
    assert_eq!(
        layout::read(&env.path("out")).layers.len(),
        1,
        "{}",
        outcome.stderr
    );
    // No key, and no agent that outlives the build, in the store.
    let secret = fsio::read_to_string(env.path("right")).unwrap();
    let line = secret.lines().nth(1).unwrap();
    for found in walkdir::WalkDir::new(env.root()) {
        let found = found.unwrap();
        if found.file_type().is_file() {
            let bytes = fsio::read(found.path()).unwrap();
            let leaked = bytes
                .windows(line.len())
                .any(|window| window == line.as_bytes());
            assert!(!leaked, "{}", found.path().display());
        }
    }
}
