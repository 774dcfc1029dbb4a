//! Main and named contexts that are no folder, and Dockerfiles from elsewhere.

use std::io::Write as _;
use std::process::Stdio;

use super::{GitDaemon, Repository, build, built, tarball, text};
use crate::support::file_server::FileServer;
use crate::support::progress::Progress;
use crate::support::{Outcome, TestEnv, layout, process, require_capability};

const DOCKERFILE: &str = "FROM scratch\nCOPY a sub /\n";

fn files() -> Vec<u8> {
    tarball(&[
        ("./Dockerfile", DOCKERFILE),
        ("./other.dockerfile", "FROM scratch\nCOPY a /b\n"),
        ("./.dockerignore", "a\n"),
        ("./a", "a"),
        ("./sub/c", "c"),
    ])
}

/// Builds with bytes on standard input, to the layout `out`.
fn piped(env: &TestEnv, input: &[u8], arguments: &[&str]) -> Outcome {
    builder::fsio::remove_tree(env.path("out")).unwrap();
    let mut command = env.command(
        "build",
        [
            "--progress",
            "plain",
            "--output",
            "type=oci,tar=false,dest=out",
        ],
    );
    command.args(arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who does not read all of it says why by itself.
    drop(stdin.write_all(input));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Outcome {
        command: format!("{command:?}"),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn an_archive_is_a_context_however_it_comes() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    let plain = files();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    let packed = [
        plain.clone(),
        gzip.finish().unwrap(),
        bzip2.finish().unwrap(),
        xz.finish().unwrap(),
        zstd::bulk::compress(&plain, 1).unwrap(),
    ];
    // Owners of the archive are not the image's; `.dockerignore` is a file like others.
    let expected = ["0640 a 1000000000", "0640 c 1000000000"];
    for archive in &packed {
        env.write("context.bin", archive);
        server.put("/context", archive.clone());
        assert_eq!(built(&env, &["context.bin"]).1, expected);
        assert_eq!(built(&env, &[&server.url("/context")]).1, expected);
        let outcome = piped(&env, archive, &["-"]).succeeded();
        assert!(
            outcome.stderr.contains("standard input"),
            "{}",
            outcome.stderr
        );
        assert_eq!(text(&env, "c"), "c");
    }
    // The third and later are the same content in another wrapping.
    let outcome = piped(&env, &packed[0], &["-"]).succeeded();
    Progress::read(&outcome.stderr).all_cached(1);
    let outcome = piped(&env, &packed[0], &["-f", "other.dockerfile", "-"]).succeeded();
    assert_eq!(text(&env, "b"), "a", "{}", outcome.stderr);
}

#[test]
fn a_dockerfile_comes_from_anywhere() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    env.write("context/a", "a");
    env.write("context/sub/c", "c");
    server.put("/some/Dockerfile", DOCKERFILE);
    env.write("elsewhere", DOCKERFILE);
    let url = server.url("/some/Dockerfile");
    for arguments in [["-f", "elsewhere", "context"], ["-f", &url, "context"]] {
        assert_eq!(built(&env, &arguments).1.len(), 2, "{arguments:?}");
    }
    piped(&env, DOCKERFILE.as_bytes(), &["-f", "-", "context"]).succeeded();
    assert_eq!(text(&env, "c"), "c");

    // Only a Dockerfile: there is nothing to copy from.
    let alone = "FROM scratch\nCOPY <<EOF /x\ny\nEOF\n";
    piped(&env, alone.as_bytes(), &["-"]).succeeded();
    assert_eq!(text(&env, "x"), "y\n");
    server.put("/alone", alone);
    built(&env, &[&server.url("/alone")]);
    assert_eq!(text(&env, "x"), "y\n");
    let failed = piped(&env, DOCKERFILE.as_bytes(), &["-"]).exited(1);
    assert!(
        failed.stderr.contains("\"/a\": not found"),
        "{}",
        failed.stderr
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    env.write("context/Dockerfile", "FROM scratch\n");
    env.write("text", "no archive");
    server.put("/large", vec![b'#'; (2 << 20) + 1]);
    env.write("large", vec![b'#'; (16 << 20) + 1]);
    for (arguments, code, message) in [
        (
            vec!["-f", "-", "-"],
            2,
            "invalid argument: can't use stdin for both build context and dockerfile",
        ),
        (
            vec!["-f", "x", "-"],
            2,
            "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles",
        ),
        (
            vec!["none"],
            2,
            "unable to prepare context: path \"none\" not found",
        ),
        (
            vec!["ftp://a.io/x"],
            2,
            "unsupported context `ftp://a.io/x`",
        ),
        (vec!["text"], 1, "`text` is not an archive"),
        (
            vec!["-f", &server.url("/large"), "context"],
            1,
            "is larger than 2097152 bytes",
        ),
        (
            vec!["-f", "large", "context"],
            1,
            "the Dockerfile `large` is larger than 16777216 bytes",
        ),
        (vec![&server.url("/none")], 1, "invalid response status 404"),
        (vec!["https://a.io/x.git?x=1"], 2, "unexpected query \"x\""),
        (
            vec!["--build-context", "x=text", "-f", "uses-x", "context"],
            1,
            "`text` is not an archive",
        ),
    ] {
        env.write("uses-x", "FROM x\n");
        let outcome = piped(&env, b"FROM scratch\n", &arguments).exited(code);
        assert!(
            outcome.stderr.contains(message),
            "{message}: {}",
            outcome.stderr
        );
    }
    // What is wrong with an archive is told of where it came from, not of where it was put.
    let marked = tarball(&[("Dockerfile", "FROM scratch\n"), (".wh.a", "")]);
    let outcome = piped(&env, &marked, &["-"]).exited(1);
    assert!(
        outcome
            .stderr
            .contains("cannot use `standard input`: cannot put `.wh.a` into the layer"),
        "{}",
        outcome.stderr
    );
    // An empty standard input is an empty Dockerfile.
    let outcome = piped(&env, b"", &["-"]).exited(1);
    assert!(
        outcome.stderr.contains("the Dockerfile cannot be empty"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_is_not_there_is_told_with_the_place_where_it_was_looked_for() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    env.write("context/Dockerfile", "FROM scratch\n");
    env.write("uses-x", "FROM x\n");
    server.put("/archive", files());
    for (arguments, code, message) in [
        (
            vec!["-f", "Dockerfile", "context"],
            1,
            "the one in the context is `-f context/Dockerfile`",
        ),
        (
            vec!["-f", "none", &server.url("/archive")],
            1,
            "failed to read dockerfile: `none` is not in the context",
        ),
        (
            vec!["--build-context", "x=none", "-f", "uses-x", "context"],
            2,
            "build context `x`: unable to prepare context: path \"none\" not found",
        ),
    ] {
        let failed = build(&env, &arguments).exited(code);
        assert!(failed.stderr.contains(message), "{}", failed.stderr);
    }
}

#[test]
fn a_repository_is_a_context() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    let repository = Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    let (outcome, lines) = built(&env, &[&daemon.url("repo/.git#v1")]);
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(
        outcome.stderr.contains("load build context"),
        "{}",
        outcome.stderr
    );
    assert_eq!(text(&env, "dir/one"), "1\n");
    // The Dockerfile of the directory, which is then all of the context.
    built(&env, &[&daemon.url("repo/.git#main:dir")]);
    assert_eq!(text(&env, "one"), "2\n");
    // `-f` is relative to the context; one of this machine is absolute.
    let failed = build(&env, &["-f", "dir/Dockerfile", &daemon.url("repo/.git")]).exited(1);
    assert!(
        failed.stderr.contains("\"/one\": not found"),
        "{}",
        failed.stderr
    );
    let own = env.write("own", "FROM scratch\nCOPY dir/one /mine\n");
    built(
        &env,
        &["-f", own.to_str().unwrap(), &daemon.url("repo/.git")],
    );
    assert_eq!(text(&env, "mine"), "2\n");
    // The commit's time is the context's.
    let url = daemon.url(&format!("repo/.git#{}", repository.first));
    built(&env, &["--build-arg", "SOURCE_DATE_EPOCH=context", &url]);
    let image = layout::read(&env.path("out"));
    assert_eq!(image.config["created"], "2020-01-01T00:00:00Z");
}

#[test]
fn an_image_is_a_context() {
    let env = TestEnv::new();
    env.write("context/Dockerfile", DOCKERFILE);
    env.write(
        "context/all",
        "FROM scratch\nCOPY a sub Dockerfile /files/\nCOPY . /\n",
    );
    env.write("context/a", "a");
    env.write("context/sub/c", "c");
    env.build([
        "-f",
        "context/all",
        "--output",
        "type=oci,tar=false,dest=layout",
        "context",
    ])
    .succeeded();
    let (_, lines) = built(&env, &["oci-layout://layout"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    built(&env, &["-f", "files/Dockerfile", "oci-layout://layout"]);
    let failed = build(&env, &["-f", "none", "oci-layout://layout"]).exited(1);
    assert!(
        failed
            .stderr
            .contains("failed to read dockerfile: `none` is not in the context"),
        "{}",
        failed.stderr
    );
}

#[test]
fn named_contexts_come_from_anywhere() {
    require_capability!(Program("git"));
    let (env, server) = (TestEnv::new(), FileServer::start());
    Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    server.put("/files", files());
    server.put("/x/file", "one file");
    env.write("files.tar", files());
    env.write(
        "context/Dockerfile",
        "FROM packed\nCOPY --from=git dir /git\nCOPY --from=url sub/c /url\nCOPY --from=file file /file\n",
    );
    let contexts = [
        "packed=files.tar".to_owned(),
        format!("git={}", daemon.url("repo/.git#v1")),
        format!("url={}", server.url("/files")),
        format!("file={}", server.url("/x/file")),
        // Nobody asks for it, so nobody goes there.
        format!("unused={}", server.url("/unused")),
    ];
    let mut arguments: Vec<&str> = contexts
        .iter()
        .flat_map(|c| ["--build-context", c])
        .collect();
    arguments.push("context");
    built(&env, &arguments);
    assert_eq!(text(&env, "git/one"), "1\n");
    assert_eq!(text(&env, "url"), "c");
    assert_eq!(text(&env, "file"), "one file");
    assert_eq!(text(&env, "sub/c"), "c");
    assert!(!server.take_log().iter().any(|line| line.contains("unused")));
}

#[test]
fn the_time_of_a_stage_that_only_fetches() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.serve(
        "/src",
        crate::support::file_server::Served {
            last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            ..Default::default()
        },
    );
    let url = server.url("/src");
    env.write(
        "context/Dockerfile",
        format!("ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nADD {url} /\nFROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL at=$SOURCE_DATE_EPOCH\nCOPY Dockerfile /\n"),
    );
    built(&env, &["context"]);
    let image = layout::read(&env.path("out"));
    assert_eq!(image.config["created"], "1994-11-06T08:49:37Z");
    assert_eq!(image.config["config"]["Labels"]["at"], "784111777");
    // The command line goes before it, and an empty value takes it away.
    built(&env, &["--build-arg", "SOURCE_DATE_EPOCH=1", "context"]);
    assert_eq!(
        layout::read(&env.path("out")).config["created"],
        "1970-01-01T00:00:01Z"
    );
    let outcome = process::run(&mut env.command(
        "build",
        [
            "--build-arg",
            "SOURCE_DATE_EPOCH=",
            "--print",
            "plan",
            "context",
        ],
    ))
    .succeeded();
    assert!(!outcome.stdout.contains("epoch"), "{}", outcome.stdout);
}
