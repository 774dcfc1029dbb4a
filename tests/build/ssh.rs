//! `RUN --mount=type=ssh` and `--ssh`: what a step can do with an agent that is not its own, and what is left of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::fsio;

use crate::support::bases::{self, Base};
use crate::support::process::Daemon;
use crate::support::progress::Progress;
use crate::support::rootfs::Rootfs;
use crate::support::{Outcome, TestEnv, layout, process, require_capability};

/// A client of the agent protocol, for steps: `ask(request)` is one connection, one question and its answer.
const CLIENT: &str = r#"
import os, socket, struct, sys

def string(data):
    return struct.pack(">I", len(data)) + data

def ask(request):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(os.environ["SSH_AUTH_SOCK"])
        agent.sendall(string(request))
        answer = agent.makefile("rb")
        return answer.read(struct.unpack(">I", answer.read(4))[0])

def keys():
    answer = ask(b"\x0b")
    assert answer[0] == 12, answer
    count, rest, keys = struct.unpack(">I", answer[1:5])[0], answer[5:], []
    for _ in range(count):
        parts = []
        for _ in "blob", "comment":
            size = struct.unpack(">I", rest[:4])[0]
            parts.append(rest[4:4 + size])
            rest = rest[4 + size:]
        keys.append(parts[0])
    return keys

def sign(key, data, flags=0):
    answer = ask(b"\x0d" + string(key) + string(data) + struct.pack(">I", flags))
    return answer[5:] if answer[0] == 14 else None
"#;

/// A place with a key, and a context with the client.
struct Place {
    env: TestEnv,
}

impl Place {
    fn new() -> Self {
        let env = TestEnv::new();
        env.write("context/agent.py", CLIENT);
        Self { env }
    }

    /// Makes a private key, and its public half beside it.
    fn key(&self, name: &str, kind: &[&str], passphrase: &str) -> PathBuf {
        let path = self.env.path(name);
        let mut tool = self.env.tool("ssh-keygen");
        tool.args(["-q", "-C", "somebody@somewhere", "-N", passphrase, "-f"])
            .arg(&path)
            .args(kind);
        process::run(&mut tool).succeeded();
        path
    }

    /// Starts an agent.
    fn agent(&self) -> (Daemon, PathBuf) {
        let socket = self.env.path("agent.socket");
        let log = self.env.path("agent.log");
        let mut command = self.env.tool("ssh-agent");
        command.args(["-D", "-a"]).arg(&socket);
        let mut daemon = Daemon::start(&command, &log);
        while fsio::metadata(&socket).is_err() {
            daemon.expect_running(&log);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        (daemon, socket)
    }

    fn ssh_add(&self, socket: &Path, arguments: &[&str]) -> Outcome {
        let mut tool = self.env.tool("ssh-add");
        process::run(tool.env("SSH_AUTH_SOCK", socket).args(arguments))
    }

    /// `builder build` of a Dockerfile in the context, on `base`.
    fn command(&self, dockerfile: &str, base: Base, arguments: &[&str]) -> Command {
        self.env.write("context/Dockerfile", dockerfile);
        let mut all: Vec<OsString> = bases::build_context("base", base).into();
        all.extend(["--progress", "plain"].map(Into::into));
        all.extend(arguments.iter().map(OsString::from));
        all.push("context".into());
        self.env.command("build", all)
    }

    fn build(&self, dockerfile: &str, base: Base, arguments: &[&str]) -> Outcome {
        process::run(&mut self.command(dockerfile, base, arguments))
    }
}

/// A RUN of a Python program that knows the client.
fn python(flags: &str, program: &str) -> String {
    format!(
        "FROM base\nRUN {flags} --mount=target=/ctx PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/ctx python - <<END\nfrom agent import *\n{program}\nEND\n"
    )
}

fn text(path: &Path) -> String {
    fsio::read_to_string(path).expect("a file of the test")
}

#[test]
fn a_step_lists_and_signs_with_the_users_agent_and_can_do_nothing_else_to_it() {
    require_capability!(Root, Overlay, Base(Python), Program("ssh-agent"));
    let place = Place::new();
    let key = place.key("key", &["-t", "ed25519"], "");
    let public = text(&key.with_extension("pub"));
    let blob = public.split(' ').nth(1).expect("the key in base64");
    let (_daemon, socket) = place.agent();
    place
        .ssh_add(&socket, &[&key.display().to_string()])
        .succeeded();
    let program = r#"
import base64
[key] = keys()
print("key", base64.b64encode(key).decode())
print("signature", sign(key, b"data") is not None, len(sign(key, b"data")))
refused = [ask(bytes([kind]) + string(key)) for kind in (17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 1, 200)]
print("refused", set(refused))
print("left", len(keys()))"#;
    let mut command = place.command(
        &python("--mount=type=ssh", program),
        Base::Python,
        &["--ssh", "default"],
    );
    let outcome = process::run(command.env("SSH_AUTH_SOCK", &socket)).succeeded();
    let progress = Progress::read(&outcome.stderr);
    assert_eq!(
        progress.step("RUN").output,
        [
            &format!("key {blob}"),
            // The string of the algorithm and that of 64 bytes.
            "signature True 83",
            r"refused {b'\x05'}",
            "left 1",
        ]
    );
    let left = place.ssh_add(&socket, &["-l"]).succeeded();
    assert!(left.stdout.contains("somebody@somewhere"), "{left:?}");
}

#[test]
fn keys_from_files_sign_so_that_others_can_verify_it() {
    require_capability!(Root, Overlay, Base(Python), Program("ssh-agent"));
    let place = Place::new();
    let kinds: [(&str, &[&str]); 5] = [
        ("ed25519", &["-t", "ed25519"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("old", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
    ];
    let paths = kinds.map(|(name, kind)| place.key(name, kind, "").display().to_string());
    // What `ssh-keygen -Y verify` reads, put around a signature that says it was made with SHA-512 for the namespace `test`.
    let program = r#"
import base64, hashlib
data = b"SSHSIG" + string(b"test") + string(b"") + string(b"sha512") + string(hashlib.sha512(b"message\n").digest())
print("keys", len(keys()))
for key in keys():
    whole = b"SSHSIG" + struct.pack(">I", 1) + string(key) + string(b"test") + string(b"") + string(b"sha512")
    print(base64.b64encode(whole + string(sign(key, data, 4))).decode())"#;
    let ssh = format!("ci={}", paths.join(","));
    let dockerfile = python("--mount=type=ssh,id=ci,required", program);
    let outcome = place
        .build(&dockerfile, Base::Python, &["--ssh", &ssh])
        .succeeded();
    let progress = Progress::read(&outcome.stderr);
    let output = &progress.step("RUN").output;
    assert_eq!(
        (output[0].as_str(), output.len()),
        ("keys 5", 6),
        "{output:?}"
    );
    place.env.write("message", "message\n");
    for (path, signature) in paths.iter().zip(&output[1..]) {
        let public = text(Path::new(&format!("{path}.pub")));
        place.env.write("signers", format!("me {public}"));
        let armour =
            format!("-----BEGIN SSH SIGNATURE-----\n{signature}\n-----END SSH SIGNATURE-----\n");
        place.env.write("signature", armour);
        let script = "exec ssh-keygen -Y verify -f signers -I me -n test -s signature <message";
        let mut tool = place.env.tool("sh");
        tool.args(["-c", script]).current_dir(place.env.path("."));
        process::run(&mut tool).succeeded();
    }
}

#[test]
fn the_socket_has_its_mode_and_owner_and_leaves_nothing_behind() {
    require_capability!(Root, Overlay, Base(Busybox), Program("ssh-agent"));
    let place = Place::new();
    let key = place.key("key", &["-t", "ed25519"], "");
    let dockerfile = "FROM base\n\
        RUN --mount=type=ssh --mount=type=ssh,id=default,mode=0666,uid=1,gid=2 --mount=type=ssh,target=/home/mine \
        stat -c '%n %F %a %u %g' /run/buildkit/* /home/mine; echo $SSH_AUTH_SOCK; \
        chmod 777 /run/buildkit/ssh_agent.0 || true\n\
        RUN --mount=type=ssh,id=absent echo $SSH_AUTH_SOCK; ! ls /run 2>/dev/null\n";
    let folder = place.env.path("image");
    let output = format!("type=oci,dest={},tar=false", folder.display());
    let ssh = format!("default={}", key.display());
    let arguments = ["--ssh", &ssh, "-o", &output];
    let outcome = place
        .build(dockerfile, Base::Busybox, &arguments)
        .succeeded();
    let progress = Progress::read(&outcome.stderr);
    assert_eq!(
        progress.step("stat").output,
        [
            "/run/buildkit/ssh_agent.0 socket 600 0 0",
            "/run/buildkit/ssh_agent.1 socket 666 1 2",
            "/home/mine socket 600 0 0",
            "/run/buildkit/ssh_agent.0",
            "chmod: /run/buildkit/ssh_agent.0: Read-only file system",
        ]
    );
    assert_eq!(
        progress.step("absent").output,
        ["/run/buildkit/ssh_agent.0"]
    );
    let image = layout::read(&folder);
    let base = layout::read(&bases::layout(Base::Busybox));
    assert_eq!(Rootfs::of(&image).beyond(&Rootfs::of(&base)), "");
    let config = image.config.to_string();
    assert!(
        !config.contains("AUTH_SOCK=") && !config.contains("somebody"),
        "{config}"
    );
    // The key is no part of the step: another one, and none, give the same.
    let other = format!(
        "default={}",
        place.key("other", &["-t", "ed25519"], "").display()
    );
    let outcome = place
        .build(dockerfile, Base::Busybox, &["--ssh", &other])
        .succeeded();
    Progress::read(&outcome.stderr).all_cached(2);
    let secret = text(&key);
    let secret = secret.lines().nth(2).expect("a line of the key");
    assert!(!holds(&place.env.root(), secret), "the key is in the store");
}

/// Whether a file below a folder has a text in it.
fn holds(folder: &Path, text: &str) -> bool {
    let names = fsio::read_dir_sorted(folder).expect("a folder of the store");
    names.iter().any(|name| {
        let path = folder.join(name);
        let kind = fsio::symlink_metadata(&path).expect("an entry").file_type();
        if kind.is_dir() {
            return holds(&path, text);
        }
        let content = fsio::read(&path).unwrap_or_default();
        kind.is_file()
            && content
                .windows(text.len())
                .any(|part| part == text.as_bytes())
    })
}

#[test]
fn many_short_connections_need_few_descriptors() {
    require_capability!(Root, Overlay, Base(Python), Program("ssh-agent"));
    let place = Place::new();
    let key = place.key("key", &["-t", "ed25519"], "");
    let (_daemon, socket) = place.agent();
    place
        .ssh_add(&socket, &[&key.display().to_string()])
        .succeeded();
    let program = r#"
import threading
def work():
    for _ in range(50):
        assert len(keys()) == 1
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("answered", len(keys()))"#;
    let ssh = format!("default={}", socket.display());
    let command = place.command(
        &python("--mount=type=ssh", program),
        Base::Python,
        &["--ssh", &ssh],
    );
    // Four hundred connections, each with two ends, would not fit.
    let mut limited = place.env.tool("sh");
    limited.args(["-c", "ulimit -n 128; exec \"$@\"", "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(place.env.path("."));
    let outcome = process::run(&mut limited).succeeded();
    let progress = Progress::read(&outcome.stderr);
    assert_eq!(progress.step("RUN").output, ["answered 1"]);
}

#[test]
fn a_step_that_leaves_a_connection_open_ends_all_the_same() {
    require_capability!(Root, Overlay, Base(Python), Program("ssh-agent"));
    let place = Place::new();
    let key = place.key("key", &["-t", "ed25519"], "");
    let program = r#"
agents = [socket.socket(socket.AF_UNIX) for _ in range(40)]
for agent in agents: agent.connect(os.environ["SSH_AUTH_SOCK"])
agents[0].sendall(b"\0\0\1\0\x0b")
os._exit(0)"#;
    let ssh = format!("default={}", key.display());
    place
        .build(
            &python("--mount=type=ssh", program),
            Base::Python,
            &["--ssh", &ssh],
        )
        .succeeded();
}

#[test]
fn what_is_required_and_not_forwarded_is_said_before_the_command_runs() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    for (id, hint) in [("default", "--ssh default"), ("git", "--ssh git=SOCKET")] {
        let dockerfile = format!("FROM base\nRUN --mount=type=ssh,id={id},required echo ran\n");
        let outcome = place.build(&dockerfile, Base::Busybox, &[]).exited(1);
        let message = format!("no SSH key \"{id}\" forwarded from the client");
        assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(hint), "{}", outcome.stderr);
        assert_eq!(Progress::read(&outcome.stderr).step("RUN").output, [""; 0]);
    }
}

#[test]
fn wrong_values_of_the_flag_say_what_to_do() {
    require_capability!(Root, Program("ssh-agent"), Base(Busybox));
    let place = Place::new();
    let plain = place
        .key("plain", &["-t", "ed25519"], "")
        .display()
        .to_string();
    let encrypted = place.key("encrypted", &["-t", "ed25519"], "passphrase");
    let (_daemon, socket) = place.agent();
    let socket = socket.display().to_string();
    let says = |value: &str, words: &[&str]| {
        let outcome = place
            .build("FROM base\n", Base::Busybox, &["--ssh", value])
            .exited(2);
        for word in words {
            assert!(
                outcome.stderr.contains(word),
                "no `{word}` in {}",
                outcome.stderr
            );
        }
    };
    says(
        "default",
        &["invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"],
    );
    says(
        &format!("a={socket},{socket}"),
        &["only single socket allowed"],
    );
    says(
        &format!("a={socket},{plain}"),
        &["invalid combination of keys and sockets"],
    );
    let encrypted = encrypted.display().to_string();
    says(
        &format!("a={encrypted}"),
        &[
            "is protected with a passphrase",
            &format!("ssh-add {encrypted}"),
        ],
    );
    says(
        &format!("a={plain}.pub"),
        &["cannot read", "does not begin like one"],
    );
    says("a=/no/such/file", &["/no/such/file"]);
}
