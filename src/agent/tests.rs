//! What gets through to an agent and what does not, against agents made here.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::rand_core::OsRng;
use rsa::signature::Verifier as _;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{EcdsaCurve, LineEnding, PrivateKey, PublicKey, Signature};

use super::wire::{
    FAILURE, IDENTITIES, LIST, MOST_BYTES, SIGN, SIGNATURE, put_string, take_number, take_string,
};
use super::*;

/// A folder with files of keys.
fn key_files(keys: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = keys
        .iter()
        .map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
        .collect();
    (folder, paths)
}

fn ed25519() -> PrivateKey {
    PrivateKey::new(Ed25519Keypair::from_seed(&[7; 32]).into(), "me@machine").unwrap()
}

fn openssh(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF).unwrap().to_string()
}

fn agents(source: AgentSource) -> Agents {
    let mut agents = Agents::default();
    agents.offer(DEFAULT_ID, source);
    agents
}

/// A client of a socket.
struct Caller(UnixStream);

impl Caller {
    fn new(served: &ServedAgent) -> Self {
        Self::at(served.path())
    }

    fn at(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self(stream)
    }

    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        let mut framed = Vec::new();
        put_string(&mut framed, request);
        self.0.write_all(&framed).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).unwrap();
        answer
    }

    /// Whether the other side hung up.
    fn is_cut_off(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

fn sign_request(public: &[u8], data: &[u8], flags: u32) -> Vec<u8> {
    let mut request = vec![SIGN];
    put_string(&mut request, public);
    put_string(&mut request, data);
    request.extend(flags.to_be_bytes());
    request
}

fn listed(mut answer: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(answer[0], IDENTITIES);
    answer = &answer[1..];
    let count = take_number(&mut answer).unwrap();
    let keys = (0..count)
        .map(|_| {
            let key = take_string(&mut answer).unwrap().to_vec();
            assert_eq!(take_string(&mut answer), Some(&b""[..]), "no comment");
            key
        })
        .collect();
    assert!(answer.is_empty());
    keys
}

#[track_caller]
fn verify(public: &[u8], data: &[u8], mut answer: &[u8], algorithm: &str) {
    assert_eq!(answer[0], SIGNATURE);
    answer = &answer[1..];
    let signature = Signature::try_from(take_string(&mut answer).unwrap()).unwrap();
    assert_eq!(signature.algorithm().as_str(), algorithm);
    let key = PublicKey::from_bytes(public).unwrap();
    key.key_data().verify(data, &signature).unwrap();
}

#[test]
fn key_files_are_listed_in_their_order_and_sign() {
    let rsa = rsa::RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
    let rsa = rsa.to_pkcs1_pem(LineEnding::LF).unwrap();
    let ecdsa = |curve| {
        let algorithm = ssh_key::Algorithm::Ecdsa { curve };
        openssh(&PrivateKey::random(&mut OsRng, algorithm).unwrap())
    };
    let (folder, paths) = key_files(&[
        ("ed25519", &openssh(&ed25519())),
        ("p256", &ecdsa(EcdsaCurve::NistP256)),
        ("p384", &ecdsa(EcdsaCurve::NistP384)),
        ("rsa", &rsa),
    ]);
    let agents = agents(AgentSource::open(&paths).unwrap());
    let place = folder.path().join("socket");
    let served = agents
        .serve("default", &place, Access::PRIVATE)
        .unwrap()
        .unwrap();
    let mut caller = Caller::new(&served);
    let keys = listed(&caller.ask(&[LIST]));
    assert_eq!(keys.len(), 4);
    for (key, algorithm) in keys.iter().zip([
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "rsa-sha2-512",
    ]) {
        let answer = caller.ask(&sign_request(key, b"data", 4));
        verify(key, b"data", &answer, algorithm);
    }
    let answer = caller.ask(&sign_request(&keys[3], b"data", 2));
    verify(&keys[3], b"data", &answer, "rsa-sha2-256");
    for refused in [
        // SHA-1, which no server takes any more.
        sign_request(&keys[3], b"data", 0),
        sign_request(b"another key", b"data", 0),
        sign_request(&keys[0], b"data", 0)[..20].to_vec(),
        vec![SIGN],
    ] {
        assert_eq!(caller.ask(&refused), [FAILURE], "{refused:?}");
    }
    assert!(
        agents
            .serve("other", &place, Access::PRIVATE)
            .unwrap()
            .is_none()
    );
    let shown = format!("{agents:?}");
    assert!(shown.contains("<4 keys>"), "{shown}");
}

#[test]
fn what_is_no_usable_key_is_named_with_a_way_out() {
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n";
    let cases = [
        (
            encrypted.to_owned(),
            "protected with a passphrase",
            "ssh-add",
        ),
        (
            pem("ENCRYPTED PRIVATE KEY"),
            "protected with a passphrase",
            "ssh-add",
        ),
        (pem("OPENSSH PRIVATE KEY"), "cannot read", "ssh-keygen -p"),
        (pem("RSA PRIVATE KEY"), "cannot read", "ssh-keygen -p"),
        (
            pem("EC PRIVATE KEY"),
            "kind `EC PRIVATE KEY` are not known",
            "ssh-keygen -p",
        ),
        (
            "ssh-ed25519 AAAA".to_owned(),
            "does not begin like one",
            "ssh-add",
        ),
        ("x".repeat(200 << 10), "too large", ""),
    ];
    for (text, message, hint) in cases {
        let (_folder, paths) = key_files(&[("key", &text)]);
        let error = AgentSource::open(&paths).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{error}");
    }
}

#[test]
fn one_socket_or_key_files() {
    let (folder, mut paths) = key_files(&[("key", &openssh(&ed25519()))]);
    let sockets: Vec<_> = ["a", "b"].map(|name| folder.path().join(name)).into();
    let _listening = sockets
        .clone()
        .iter()
        .map(UnixListener::bind)
        .collect::<Vec<_>>();
    let text = |paths: &[PathBuf]| AgentSource::open(paths).unwrap_err().to_string();
    assert_eq!(text(&sockets), "only single socket allowed");
    paths.push(sockets[0].clone());
    assert_eq!(text(&paths), "invalid combination of keys and sockets");
    let nothing = "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set";
    assert_eq!(text(&[]), nothing);
    assert_eq!(text(&[PathBuf::new()]), nothing);
    assert!(text(&[folder.path().join("gone")]).contains("gone"));
    assert!(AgentSource::open(&sockets[..1]).is_ok());
}

/// An agent that answers every request with `answer` and tells what it was asked.
fn fake_agent(folder: &Path, answer: &'static [u8]) -> (AgentSource, Receiver<Vec<u8>>) {
    let path = folder.join("real");
    let listener = UnixListener::bind(&path).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let mut length = [0; 4];
                while stream.read_exact(&mut length).is_ok() {
                    let mut request = vec![0; u32::from_be_bytes(length) as usize];
                    stream.read_exact(&mut request).unwrap();
                    tell.send(request).unwrap();
                    let mut framed = Vec::new();
                    put_string(&mut framed, answer);
                    stream.write_all(&framed).unwrap();
                }
            });
        }
    });
    (AgentSource::open(&[path]).unwrap(), told)
}

#[test]
fn only_requests_to_list_and_to_sign_reach_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let (source, told) = fake_agent(folder.path(), &[SIGNATURE, 0, 0, 0, 1, 9]);
    let place = folder.path().join("socket");
    let served = agents(source).serve("default", &place, Access::PRIVATE);
    let served = served.unwrap().unwrap();
    let mut caller = Caller::new(&served);
    // Add, remove, remove all, add and remove a smart card, lock, unlock, add with constraints, extensions; the old protocol.
    for kind in [17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 1, 3, 9, 0, 255] {
        assert_eq!(caller.ask(&[kind, 0, 0, 0, 0]), [FAILURE], "{kind}");
    }
    assert!(told.try_recv().is_err(), "nothing was forwarded");
    let request = sign_request(b"key", b"data", 0);
    assert_eq!(caller.ask(&request), [SIGNATURE, 0, 0, 0, 1, 9]);
    assert_eq!(told.recv().unwrap(), request);
    // An answer to something else is none, and nothing rides along with a request.
    assert_eq!(caller.ask(&[LIST, 1, 2, 3]), [FAILURE]);
    assert_eq!(told.recv().unwrap(), [LIST]);
}

#[test]
fn messages_have_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (source, told) = fake_agent(folder.path(), &[SIGNATURE]);
    let agents = agents(source);
    let place = folder.path().join("socket");
    let served = agents
        .serve("default", &place, Access::PRIVATE)
        .unwrap()
        .unwrap();
    let longest = [&[SIGN][..], &vec![0; MOST_BYTES - 1]].concat();
    assert_eq!(Caller::new(&served).ask(&longest), [SIGNATURE]);
    assert_eq!(told.recv().unwrap(), longest);
    for length in [0, u32::try_from(MOST_BYTES).unwrap() + 1, u32::MAX] {
        let mut caller = Caller::new(&served);
        caller.0.write_all(&length.to_be_bytes()).unwrap();
        assert!(caller.is_cut_off(), "{length}");
    }
}

#[test]
fn an_agent_that_is_gone_signs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("real");
    let listener = UnixListener::bind(&path).unwrap();
    let agents = agents(AgentSource::open(&[path]).unwrap());
    drop(listener);
    let place = folder.path().join("socket");
    let served = agents
        .serve("default", &place, Access::PRIVATE)
        .unwrap()
        .unwrap();
    let mut caller = Caller::new(&served);
    assert_eq!(caller.ask(&[LIST]), [FAILURE]);
    assert_eq!(caller.ask(&[LIST]), [FAILURE]);
}

#[test]
fn more_callers_than_are_served_at_a_time_wait_and_all_end_with_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let (source, _told) = fake_agent(folder.path(), &[IDENTITIES, 0, 0, 0, 0]);
    let agents = agents(source);
    // The path of a socket has about a hundred bytes; folders have more.
    let deep = folder.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let served = agents
        .serve("default", &deep.join("s"), Access::PRIVATE)
        .unwrap()
        .unwrap();
    let short = folder.path().join("link");
    std::os::unix::fs::symlink(deep.join("s"), &short).unwrap();
    let mut callers: Vec<_> = (0..40).map(|_| Caller::at(&short.join("agent"))).collect();
    for caller in callers.iter_mut().take(20) {
        assert_eq!(caller.ask(&[LIST]), [IDENTITIES, 0, 0, 0, 0]);
    }
    // The first hang up, the last get their turn.
    let mut rest = callers.split_off(20);
    drop(callers);
    assert_eq!(rest[19].ask(&[LIST]), [IDENTITIES, 0, 0, 0, 0]);
    let started = Instant::now();
    drop(served);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(rest.iter_mut().all(Caller::is_cut_off));
}
