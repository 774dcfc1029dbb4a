//! What comes from elsewhere: ADD of URLs and repositories, contexts that are no folder, Dockerfiles from URLs and standard
//! input. Whole builds without RUN, so that no privileges are needed; servers are in this process or on loopback.

mod add_git;
mod add_url;
mod contexts;
mod interrupts;
mod offline;

use std::path::Path;

use crate::support::rootfs::Rootfs;
use crate::support::{Outcome, TestEnv, layout, process};

/// Builds to a layout and returns what the layers make, as lines of `mode path time`.
fn built(env: &TestEnv, arguments: &[&str]) -> (Outcome, Vec<String>) {
    let outcome = build(env, arguments).succeeded();
    let image = layout::read(&env.path("out"));
    let mut lines = Vec::new();
    for layer in &image.layers {
        let mut tar = tar::Archive::new(layer.open());
        for entry in tar.entries().unwrap() {
            let entry = entry.unwrap();
            let (header, path) = (entry.header(), entry.path().unwrap());
            lines.push(format!(
                "{:04o} {} {}",
                header.mode().unwrap() & 0o7777,
                path.display(),
                header.mtime().unwrap()
            ));
            assert_eq!(
                (header.uid().unwrap(), header.gid().unwrap()),
                (0, 0),
                "{path:?}"
            );
        }
    }
    (outcome, lines)
}

/// Builds to the layout `out`.
fn build(env: &TestEnv, arguments: &[&str]) -> Outcome {
    builder::fsio::remove_tree(env.path("out")).unwrap();
    let output = ["--output", "type=oci,tar=false,dest=out"];
    env.build(output.iter().chain(arguments))
}

/// The text of a file of the image that was built last.
fn text(env: &TestEnv, path: &str) -> String {
    let image = layout::read(&env.path("out"));
    for layer in image.layers.iter().rev() {
        let mut tar = tar::Archive::new(layer.open());
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            if *entry.path().unwrap() == *Path::new(path) {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
                return text;
            }
        }
    }
    panic!("no `{path}` in {:?}", Rootfs::of(&image).paths());
}

/// A tar of files with an owner that must not reach an image.
fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        // Names as they are: the library itself would refuse hostile ones.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A repository with two commits on `main`, an annotated tag `v1` on the first, and a branch `dev` on the second.
struct Repository {
    folder: std::path::PathBuf,
    first: String,
    second: String,
}

impl Repository {
    fn make(env: &TestEnv, name: &str) -> Self {
        let folder = env.path(name);
        builder::fsio::create_dir_all(&folder).unwrap();
        let mut made = Self {
            folder,
            first: String::new(),
            second: String::new(),
        };
        made.git(env, &["init", "--quiet", "--initial-branch=main"]);
        env.write(&format!("{name}/Dockerfile"), "FROM scratch\nCOPY . /\n");
        env.write(
            &format!("{name}/dir/Dockerfile"),
            "FROM scratch\nCOPY one /\n",
        );
        env.write(&format!("{name}/dir/one"), "1\n");
        let run = env.write(&format!("{name}/run"), "#!/bin/sh\n");
        builder::fsio::set_mode(run, 0o750).unwrap();
        builder::fsio::symlink("dir/one", made.folder.join("link")).unwrap();
        made.commit(env, "2020-01-01T00:00:00Z");
        made.first = made.git(env, &["rev-parse", "HEAD"]);
        made.git(env, &["tag", "--annotate", "--message=x", "v1"]);
        env.write(&format!("{name}/dir/one"), "2\n");
        made.commit(env, "2021-01-01T00:00:00Z");
        made.second = made.git(env, &["rev-parse", "HEAD"]);
        made.git(env, &["branch", "dev"]);
        made
    }

    fn commit(&self, env: &TestEnv, date: &str) {
        self.git(env, &["add", "--all"]);
        let mut command = self.command(env, &["commit", "--quiet", "--message=x"]);
        process::run(
            command
                .env("GIT_COMMITTER_DATE", date)
                .env("GIT_AUTHOR_DATE", date),
        )
        .succeeded();
        // For servers that only serve files.
        self.git(env, &["update-server-info"]);
    }

    fn git(&self, env: &TestEnv, arguments: &[&str]) -> String {
        let outcome = process::run(&mut self.command(env, arguments)).succeeded();
        outcome.line().to_owned()
    }

    fn command(&self, env: &TestEnv, arguments: &[&str]) -> std::process::Command {
        let mut command = env.tool("git");
        command
            .args(["-c", "user.name=n", "-c", "user.email=e@example.org"])
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(&self.folder);
        command
    }
}

/// `git daemon` for the scratch folder of a test.
struct GitDaemon {
    port: u16,
    _process: process::Daemon,
}

impl GitDaemon {
    fn start(env: &TestEnv) -> Self {
        let port = crate::support::http::free_port();
        let mut command = env.tool("git");
        command
            .args([
                "daemon",
                "--export-all",
                "--reuseaddr",
                "--listen=127.0.0.1",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", env.path("").display()));
        let log = env.path("git-daemon.log");
        let mut process = process::Daemon::start(&command, &log);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            process.expect_running(&log);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self {
            port,
            _process: process,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("git://127.0.0.1:{}/{path}", self.port)
    }
}
