//! ADD of files at URLs.

use super::{build, built, tarball, text};
use crate::support::TestEnv;
use crate::support::file_server::{FileServer, Served};
use crate::support::progress::Progress;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const MODIFIED_SECONDS: u64 = 784_111_777;

fn dockerfile(env: &TestEnv, text: &str) {
    env.write("context/Dockerfile", text);
}

fn served(body: &str) -> Served {
    Served {
        body: body.into(),
        etag: Some("\"1\"".to_owned()),
        last_modified: Some(MODIFIED.to_owned()),
        ..Served::default()
    }
}

#[test]
fn a_file_has_its_name_mode_and_time() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.serve("/x/file.txt", served("content"));
    server.put("/", "nameless");
    dockerfile(
        &env,
        &format!(
            "FROM scratch\nARG VERSION=file\nADD {0}?v=1 /into/\nADD {0} /name\nADD {1} /into/\n",
            server.url("/x/${VERSION}.txt"),
            server.url("/")
        ),
    );
    let (_, lines) = built(&env, &["context"]);
    let expected = [
        "0755 into/ 315532800".to_owned(),
        format!("0600 into/file.txt {MODIFIED_SECONDS}"),
        format!("0600 name {MODIFIED_SECONDS}"),
        "0755 into/ 315532800".to_owned(),
        "0600 into/__unnamed__ 0".to_owned(),
    ];
    assert_eq!(lines, expected);
    assert_eq!(text(&env, "name"), "content");
}

#[test]
fn what_has_not_changed_is_not_sent_again_and_what_has_is_noticed() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.serve("/file", served("one"));
    dockerfile(
        &env,
        &format!("FROM scratch\nADD {} /\n", server.url("/file")),
    );
    built(&env, &["context"]);
    assert_eq!(server.take_log(), ["/file 200"]);

    let (again, _) = built(&env, &["context"]);
    assert_eq!(server.take_log(), ["/file 304"]);
    Progress::read(&again.stderr).all_cached(1);

    let changed = Served {
        body: "two".into(),
        etag: Some("\"2\"".to_owned()),
        ..served("")
    };
    server.serve("/file", changed);
    built(&env, &["context"]);
    assert_eq!(server.take_log(), ["/file 200"]);
    assert_eq!(text(&env, "file"), "two");

    // The same bytes under another validator and time: sent, but nothing runs again.
    let renewed = Served {
        body: "two".into(),
        etag: None,
        last_modified: Some("Mon, 07 Nov 1994 08:49:37 GMT".to_owned()),
        ..Served::default()
    };
    server.serve("/file", renewed);
    let (again, _) = built(&env, &["context"]);
    assert_eq!(server.take_log(), ["/file 200"]);
    Progress::read(&again.stderr).all_cached(1);
}

#[test]
fn a_checksum_is_demanded_and_saves_the_question() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.put("/file", "content");
    let add = |checksum: &str| {
        let url = server.url("/file");
        dockerfile(
            &env,
            &format!("FROM scratch\nADD --checksum={checksum} {url} /\n"),
        );
    };
    let right = "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    let wrong = format!("sha256:{}", "0".repeat(64));
    add(&wrong);
    let failed = build(&env, &["context"]).exited(1);
    let url = server.url("/file");
    let expected = format!("digest mismatch for {url}: {right} (expected: {wrong})");
    assert!(failed.stderr.contains(&expected), "{}", failed.stderr);
    assert!(failed.stderr.contains("Dockerfile:2"), "{}", failed.stderr);
    add(right);
    built(&env, &["context"]);
    server.take_log();
    let (again, _) = built(&env, &["context"]);
    assert_eq!(server.take_log(), [""; 0], "nobody has to be asked");
    Progress::read(&again.stderr).all_cached(1);
}

#[test]
fn archives_are_unpacked_only_if_asked_for() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.put("/a.tar", tarball(&[("dir/a", "a")]));
    server.put("/b.tar", tarball(&[("../../escape", "b")]));
    let (a, b) = (server.url("/a.tar"), server.url("/b.tar"));
    dockerfile(
        &env,
        &format!("FROM scratch\nADD {a} /\nADD --unpack=true {a} {b} /u/\n"),
    );
    let (outcome, lines) = {
        let outcome = build(&env, &["context"]).succeeded();
        let image = crate::support::layout::read(&env.path("out"));
        let rootfs = crate::support::rootfs::Rootfs::of(&image);
        let lines: Vec<String> = rootfs.paths().into_iter().map(str::to_owned).collect();
        (outcome, lines)
    };
    assert_eq!(
        lines,
        ["a.tar", "u", "u/dir", "u/dir/a", "u/escape"],
        "{}",
        outcome.stderr
    );
}

#[test]
fn redirects_are_followed_and_logins_are_not_passed_on() {
    let (env, server, other) = (TestEnv::new(), FileServer::start(), FileServer::start());
    let elsewhere = other.url("/file");
    server.serve(
        "/start",
        Served {
            redirect: Some(elsewhere),
            authorization: Some("Bearer hunter2".to_owned()),
            ..Served::default()
        },
    );
    other.put("/file", "content");
    env.write("token", "hunter2\n");
    dockerfile(
        &env,
        &format!("FROM scratch\nADD {} /\n", server.url("/start")),
    );
    let refused = build(&env, &["context"]).exited(3);
    assert!(
        refused.stderr.contains("invalid response status 401"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("HTTP_AUTH_TOKEN_"),
        "{}",
        refused.stderr
    );
    env.write("header", "Bearer hunter2\n");
    for secret in [
        "id=HTTP_AUTH_TOKEN_127.0.0.1,src=token",
        "id=HTTP_AUTH_HEADER_127.0.0.1,src=header",
    ] {
        let (outcome, _) = built(&env, &["--secret", secret, "context"]);
        // The name is that of the URL as written.
        assert_eq!(text(&env, "start"), "content");
        assert!(!outcome.stderr.contains("hunter2"));
        assert_eq!(other.take_log(), ["/file 200"], "{secret}");
    }
}

#[test]
fn a_login_in_a_url_is_used_and_shown_nowhere() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.serve(
        "/file",
        Served {
            // user:hunter2
            authorization: Some("Basic dXNlcjpodW50ZXIy".to_owned()),
            ..served("content")
        },
    );
    let url = server
        .url("/file")
        .replace("http://", "http://user:hunter2@");
    dockerfile(&env, &format!("FROM scratch\nADD {url} /\n"));
    let (outcome, _) = built(&env, &["context"]);
    assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    for found in walkdir::WalkDir::new(env.path("out"))
        .into_iter()
        .chain(walkdir::WalkDir::new(env.root()))
    {
        let found = found.unwrap();
        if found.file_type().is_file() {
            let bytes = builder::fsio::read(found.path()).unwrap();
            let leaked = bytes.windows(7).any(|window| window == b"hunter2");
            assert!(!leaked, "{}", found.path().display());
        }
    }
}

#[test]
fn a_moments_trouble_passes() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.serve(
        "/file",
        Served {
            trouble: 1,
            breaks: 1,
            ..served("content")
        },
    );
    dockerfile(
        &env,
        &format!("FROM scratch\nADD {} /\n", server.url("/file")),
    );
    built(&env, &["context"]);
    assert_eq!(text(&env, "file"), "content");
    assert_eq!(server.take_log(), ["/file 503", "/file 200", "/file 200"]);
}

#[test]
fn what_is_not_there_is_an_error_with_its_line() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    dockerfile(
        &env,
        &format!(
            "FROM scratch\nCOPY Dockerfile /\nADD {} /\n",
            server.url("/none")
        ),
    );
    let failed = build(&env, &["context"]).exited(1);
    assert!(
        failed.stderr.contains("invalid response status 404"),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains("Dockerfile:3"), "{}", failed.stderr);
    // Nobody listens there: the machine's fault, not the author's.
    let port = crate::support::http::free_port();
    dockerfile(
        &env,
        &format!("FROM scratch\nADD http://127.0.0.1:{port}/x /\n"),
    );
    let failed = build(&env, &["context"]).exited(3);
    assert!(
        failed.stderr.contains("connection refused")
            && failed.stderr.contains("check the address, the network"),
        "{}",
        failed.stderr
    );
}

#[test]
fn sources_of_all_kinds_in_one_instruction() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.put("/remote", "r");
    env.write("context/local", "l");
    env.write("context/pack.tar", tarball(&[("packed", "p")]));
    let url = server.url("/remote");
    dockerfile(
        &env,
        &format!(
            "FROM scratch\nADD --chown=0:0 --chmod=644 {url} local pack.tar <<inline /d/\ni\ninline\n"
        ),
    );
    let (_, lines) = built(&env, &["context"]);
    let mut names: Vec<&str> = lines
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["d/", "d/inline", "d/local", "d/packed", "d/remote"]);
}

#[test]
fn of_several_sources_to_one_file_the_last_one_wins_wherever_it_is_from() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.put("/remote", "r");
    env.write("context/local", "l");
    let url = server.url("/remote");
    for (sources, expected) in [(format!("{url} local"), "l"), (format!("local {url}"), "r")] {
        dockerfile(&env, &format!("FROM scratch\nADD {sources} /f\n"));
        built(&env, &["context"]);
        assert_eq!(text(&env, "f"), expected, "{sources}");
    }
}
