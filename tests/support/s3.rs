//! `moto`, a server that speaks the protocol of S3, on a loopback port, empty at first, gone with its value.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::http;
use super::process::{self, Daemon};

/// Where `.ci/setup` puts it.
pub fn program() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../moto/bin/moto_server")
}

/// A running server with one bucket, `bucket`.
#[derive(Debug)]
pub struct S3 {
    // Dropped in this order: the daemon before its files.
    _daemon: Daemon,
    folder: tempfile::TempDir,
    port: u16,
}

impl S3 {
    /// Starts one and waits until it answers.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let log = folder.path().join("log");
        let port = http::free_port();
        let program = program();
        let mut command = process::hermetic(program.to_str().expect("a path"), folder.path());
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut daemon = Daemon::start(&command, &log);
        while !http::get(port, "/").is_ok_and(|answer| answer.status == 200) {
            daemon.expect_running(&log);
            std::thread::sleep(Duration::from_millis(50));
        }
        let server = Self {
            _daemon: daemon,
            folder,
            port,
        };
        assert!(server.request("PUT", "/bucket").starts_with("HTTP/1.1 200"));
        server
    }

    /// The keys of a cache flag that lead there.
    pub fn keys(&self) -> String {
        format!(
            "type=s3,bucket=bucket,region=us-east-1,endpoint_url=http://127.0.0.1:{},use_path_style=true",
            self.port
        )
    }

    /// The names of all objects.
    #[track_caller]
    pub fn objects(&self) -> Vec<String> {
        let listing = http::get(self.port, "/bucket?list-type=2")
            .expect("a listing")
            .body;
        let keys = listing.split("<Key>").skip(1);
        keys.filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()))
            .collect()
    }

    /// Empties an object.
    pub fn empty(&self, name: &str) {
        self.request("PUT", &format!("/bucket/{name}"));
    }

    /// What it was asked since the last call, as `METHOD /path status`.
    #[track_caller]
    pub fn requests(&self) -> Vec<String> {
        let log = self.folder.path().join("log");
        let text = builder::fsio::read_to_string(&log).expect("the log");
        let seen = self.folder.path().join("seen");
        let before = builder::fsio::read_to_string(&seen).ok();
        let before = before.and_then(|count| count.parse().ok()).unwrap_or(0);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(" HTTP/1."))
            .collect();
        builder::fsio::write_atomic(
            &seen,
            lines.len().to_string().as_bytes(),
            builder::fsio::Durability::Cached,
        )
        .expect("a note");
        let request = |line: &&str| {
            let mut parts = line.splitn(3, '"');
            let what = parts.nth(1)?.split(" HTTP/").next()?;
            // Without the colours that some answers have.
            let what = what.trim_start_matches(|c: char| !c.is_ascii_uppercase());
            let status = parts.next()?.split_whitespace().next()?;
            Some(format!("{what} {status}"))
        };
        lines[before..].iter().filter_map(request).collect()
    }

    fn request(&self, method: &str, path: &str) -> String {
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("a connection");
        let head = "Host: localhost\r\nContent-Length: 0\r\nConnection: close";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n").expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}
