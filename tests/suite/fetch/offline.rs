//! `--offline`: what was fetched before is used whatever its age, and nothing else is.

use super::{GitDaemon, Repository, build, text};
use crate::support::file_server::FileServer;
use crate::support::{TestEnv, require_capability};

#[test]
fn a_url_is_what_it_was() {
    let (env, server) = (TestEnv::new(), FileServer::start());
    server.put("/file", "then");
    let add = |arguments: &str| {
        let dockerfile = format!("FROM scratch\nADD {arguments} /\n");
        env.write("context/Dockerfile", dockerfile);
    };
    let url = server.url("/file");
    add(&url);
    let cold = build(&env, &["context", "--offline"]).exited(3);
    for words in [
        &url,
        "is not on this machine",
        "run once without `--offline`",
    ] {
        assert!(cold.stderr.contains(words), "{}", cold.stderr);
    }
    assert_eq!(server.take_log(), [""; 0]);

    build(&env, &["context"]).succeeded();
    server.put("/file", "now");
    server.take_log();
    build(&env, &["context", "--offline", "--no-cache", "--pull"]).succeeded();
    assert_eq!(text(&env, "file"), "then");
    // Another file than is demanded is none.
    let now = builder::oci::Digest::of("now");
    add(&format!("--checksum={now} {url}"));
    let other = build(&env, &["context", "--offline"]).exited(3);
    assert!(
        other.stderr.contains("is not on this machine"),
        "{}",
        other.stderr
    );
    assert_eq!(server.take_log(), [""; 0]);
}

#[test]
fn a_branch_is_the_commit_that_it_was() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    let repository = Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    let add = |reference: &str| {
        let url = daemon.url(&format!("repo/.git{reference}"));
        let dockerfile = format!("FROM scratch\nADD {url} /d/\n");
        env.write("context/Dockerfile", dockerfile);
    };
    for reference in ["", "#main", "#v1"] {
        add(reference);
        let cold = build(&env, &["context", "--offline"]).exited(3);
        assert!(
            cold.stderr.contains("is not on this machine"),
            "{}",
            cold.stderr
        );
        build(&env, &["context"]).succeeded();
    }
    env.write("repo/dir/one", "3\n");
    repository.commit(&env, "2022-01-01T00:00:00Z");
    let offline = |reference: &str| {
        add(reference);
        build(&env, &["context", "--offline"])
    };
    for (reference, content) in [
        ("", "2\n"),
        ("#main", "2\n"),
        ("#v1", "1\n"),
        (&format!("#{}", repository.first), "1\n"),
        (
            &format!("?ref=main&checksum={}", &repository.second[..12]),
            "2\n",
        ),
    ] {
        offline(reference).succeeded();
        assert_eq!(text(&env, "d/dir/one"), content, "{reference}");
    }
    for missing in [
        "#dev",
        "#main:dir",
        &format!("?ref=main&checksum={}", repository.first),
    ] {
        let outcome = offline(missing).exited(3);
        assert!(
            outcome.stderr.contains("is not on this machine"),
            "{}",
            outcome.stderr
        );
    }
}
