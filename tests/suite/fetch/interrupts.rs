//! Ctrl-C while a server says nothing more: the program ends at once, whatever it waits for, and leaves nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use builder::fsio;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{TestEnv, process, require_capability};

/// Long enough for a busy machine, and far from the minute after which silence would end a wait by itself.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A server that takes every call, says the same to all and hangs on.
struct Silent {
    port: u16,
    called: Receiver<()>,
}

impl Silent {
    fn start(words: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, called) = channel();
        std::thread::spawn(move || {
            let mut calls = Vec::new();
            for call in listener.incoming() {
                let mut call = call.unwrap();
                if !words.is_empty() {
                    // Who is answered has asked.
                    let _asked = call.read(&mut [0; 4096]).unwrap();
                    call.write_all(words.as_bytes()).unwrap();
                }
                calls.push(call);
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
        Self { port, called }
    }
}

/// Interrupts a command once it has called, and expects that it ends.
#[track_caller]
fn interrupted(env: &TestEnv, (command, arguments): (&str, &[&str]), server: &Silent) {
    let child = start(env, command, arguments);
    server.called.recv_timeout(AT_ONCE).unwrap();
    ends(env, child, arguments);
    let mark = format!(":{}", server.port);
    let left: Vec<String> = fsio::read_dir_sorted("/proc")
        .unwrap()
        .iter()
        .filter_map(|id| fsio::read_to_string(Path::new("/proc").join(id).join("cmdline")).ok())
        .filter(|line| line.contains(&mark))
        .collect();
    assert_eq!(left, [""; 0], "{arguments:?}");
}

fn start(env: &TestEnv, command: &str, arguments: &[&str]) -> Child {
    let mut command = env.command(command, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn ends(env: &TestEnv, mut child: Child, arguments: &[&str]) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let asked = Instant::now();
    kill_process(pid, Signal::INT).unwrap();
    while child.try_wait().unwrap().is_none() {
        if asked.elapsed() > AT_ONCE {
            child.kill().unwrap();
            panic!("{arguments:?} goes on");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{stderr}");
    assert!(stderr.ends_with("error: interrupted\n"), "{stderr}");
    let scratch = env.root().join("v1/tmp");
    if fsio::metadata(&scratch).is_ok() {
        assert_eq!(fsio::read_dir_sorted(&scratch).unwrap().len(), 0);
    }
}

#[test]
fn a_download_is_broken_off() {
    let env = TestEnv::new();
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome of it";
    for words in ["", half] {
        let server = Silent::start(words);
        let url = format!("http://127.0.0.1:{}/file", server.port);
        env.write("context/Dockerfile", format!("FROM scratch\nADD {url} /\n"));
        interrupted(&env, ("build", &["context"]), &server);
        interrupted(&env, ("build", &[&url]), &server);
        interrupted(&env, ("build", &["-f", &url, "context"]), &server);
        interrupted(&env, ("build", &["--call=targets", &url]), &server);
    }
}

#[test]
fn a_registry_is_not_waited_for() {
    let (env, server) = (TestEnv::new(), Silent::start(""));
    let image = format!("127.0.0.1:{}/image", server.port);
    env.write("context/Dockerfile", format!("FROM {image}\n"));
    interrupted(&env, ("build", &["context"]), &server);
    interrupted(&env, ("check", &["context"]), &server);
}

#[test]
fn git_ends_with_its_build() {
    require_capability!(Program("git"));
    let (env, server) = (TestEnv::new(), Silent::start(""));
    let url = format!("git://127.0.0.1:{}/repository", server.port);
    interrupted(&env, ("build", &[&url]), &server);
    interrupted(&env, ("check", &[&url]), &server);
}

#[test]
fn helpers_of_git_end_with_it() {
    let env = TestEnv::new();
    // In the place of `git`: a program that waits for one of its own.
    let program = env.write(
        "bin/git",
        "#!/bin/sh\nsleep 600 &\necho $! > \"$HOME/child\"\nmv \"$HOME/child\" \"$HOME/waits\"\nwait\n",
    );
    fsio::set_mode(&program, 0o755).unwrap();
    let waits = env.path("home/waits");
    fsio::create_dir_all(env.path("home")).unwrap();
    let mut path = env.path("bin").into_os_string();
    path.push(":");
    path.push(process::host_variable("PATH").unwrap());
    let arguments = ["https://a.example/x.git"];
    let mut command = env.command("build", arguments);
    command.env("PATH", &path).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while fsio::metadata(&waits).is_err() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended early");
        assert!(started.elapsed() < AT_ONCE, "`git` was not started");
        std::thread::sleep(Duration::from_millis(5));
    }
    let helper = fsio::read_to_string(&waits).unwrap();
    ends(&env, child, &arguments);
    // A dead process has no command line, even if nobody has asked for its exit status yet.
    let line = fsio::read(format!("/proc/{}/cmdline", helper.trim()));
    assert!(line.unwrap_or_default().is_empty(), "{helper} goes on");
}

#[test]
fn git_ends_with_a_build_that_is_killed() {
    require_capability!(Program("git"));
    let (env, server) = (TestEnv::new(), Silent::start(""));
    let url = format!("git://127.0.0.1:{}/repository", server.port);
    let mut child = start(&env, "build", &[&url]);
    server.called.recv_timeout(AT_ONCE).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    let runs = || {
        let ids = fsio::read_dir_sorted("/proc").unwrap();
        let line = |id| fsio::read_to_string(Path::new("/proc").join(id).join("cmdline"));
        ids.iter()
            .any(|id| line(id).is_ok_and(|line| line.contains(&url)))
    };
    while runs() {
        assert!(killed.elapsed() < AT_ONCE, "git goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn standard_input_is_not_waited_for() {
    let env = TestEnv::new();
    env.write("context/Dockerfile", "FROM scratch\n");
    for arguments in [["-"].as_slice(), &["-f", "-", "context"]] {
        let mut child = start(&env, "build", arguments);
        // More than a pipe holds: once it is written, the program is reading.
        let text = vec![b'#'; 100 << 10];
        child.stdin.as_mut().unwrap().write_all(&text).unwrap();
        ends(&env, child, arguments);
    }
}
