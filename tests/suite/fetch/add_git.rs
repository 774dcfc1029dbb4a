//! ADD of Git repositories.

use super::{GitDaemon, Repository, build, built, text};
use crate::support::file_server::FileServer;
use crate::support::progress::Progress;
use crate::support::{TestEnv, process, require_capability};

/// 2020-01-01 and 2021-01-01.
const FIRST: &str = "1577836800";
const SECOND: &str = "1609459200";

fn add(env: &TestEnv, arguments: &str) {
    env.write(
        "context/Dockerfile",
        format!("FROM scratch\nADD {arguments} /d/\n"),
    );
}

#[test]
fn a_repository_is_a_tree_of_its_commit() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    let repository = Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    add(&env, &daemon.url("repo/.git#v1"));
    let (_, lines) = built(&env, &["context"]);
    let expected = [
        format!("0755 d/ {FIRST}"),
        format!("0644 d/Dockerfile {FIRST}"),
        format!("0755 d/dir/ {FIRST}"),
        format!("0644 d/dir/Dockerfile {FIRST}"),
        format!("0644 d/dir/one {FIRST}"),
        format!("0777 d/link {FIRST}"),
        format!("0755 d/run {FIRST}"),
    ];
    assert_eq!(lines, expected);

    // Branch, tag, whole commit, with and without directory: what is one commit is one layer.
    let mut seen = std::collections::BTreeMap::new();
    for (reference, content) in [
        ("", "2\n"),
        ("#main", "2\n"),
        ("#dev", "2\n"),
        ("#refs/heads/dev", "2\n"),
        ("?branch=dev", "2\n"),
        ("#v1", "1\n"),
        ("?tag=v1", "1\n"),
        (&format!("#{}", repository.first), "1\n"),
        (&format!("?commit={}", repository.second), "2\n"),
        (
            &format!("?ref=v1&checksum={}", &repository.first[..12]),
            "1\n",
        ),
    ] {
        add(&env, &daemon.url(&format!("repo/.git{reference}")));
        build(&env, &["context"]).succeeded();
        assert_eq!(text(&env, "d/dir/one"), content, "{reference}");
        let image = crate::support::layout::read(&env.path("out"));
        seen.entry(content)
            .or_insert_with(Vec::new)
            .push(image.layers[0].diff_id.clone());
    }
    for layers in seen.values() {
        assert!(layers.iter().all(|layer| *layer == layers[0]), "{seen:?}");
    }
    add(&env, &daemon.url("repo/.git#main:dir"));
    let (_, lines) = built(&env, &["context"]);
    let expected = [
        format!("0755 d/ {SECOND}"),
        format!("0644 d/Dockerfile {SECOND}"),
        format!("0644 d/one {SECOND}"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_commit_that_is_here_is_not_fetched_again() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    let repository = Repository::make(&env, "repo");
    let url = {
        let daemon = GitDaemon::start(&env);
        let url = daemon.url(&format!("repo/.git#{}", repository.first));
        add(&env, &url);
        built(&env, &["context"]);
        url
    };
    // The daemon is gone.
    add(&env, &url);
    let (again, _) = built(&env, &["context"]);
    Progress::read(&again.stderr).all_cached(1);
}

#[test]
fn a_branch_that_moved_is_noticed() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    let repository = Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    add(&env, &daemon.url("repo/.git"));
    built(&env, &["context"]);
    env.write("repo/dir/one", "3\n");
    repository.commit(&env, "2022-01-01T00:00:00Z");
    built(&env, &["context"]);
    assert_eq!(text(&env, "d/dir/one"), "3\n");
}

#[test]
fn the_folder_of_git_is_kept_if_asked_for() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    let repository = Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    for add_text in [
        format!("--keep-git-dir=true {}", daemon.url("repo/.git#v1")),
        daemon.url("repo/.git?ref=v1&keep-git-dir=true"),
    ] {
        add(&env, &add_text);
        built(&env, &["context"]);
        assert_eq!(text(&env, "d/.git/HEAD").trim(), repository.first);
        assert!(text(&env, "d/.git/config").contains(&daemon.url("repo/.git")));
    }
    add(
        &env,
        &format!("--keep-git-dir=false {}", daemon.url("repo/.git#v1")),
    );
    let (_, lines) = built(&env, &["context"]);
    assert!(!lines.iter().any(|line| line.contains(".git")), "{lines:?}");
}

#[test]
fn submodules_are_part_of_it() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    Repository::make(&env, "module");
    let repository = Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    let url = daemon.url("module/.git");
    repository.git(&env, &["submodule", "--quiet", "add", &url, "sub"]);
    repository.commit(&env, "2022-01-01T00:00:00Z");
    add(&env, &daemon.url("repo/.git"));
    built(&env, &["context"]);
    assert_eq!(text(&env, "d/sub/dir/one"), "2\n");
    add(&env, &daemon.url("repo/.git?submodules=false"));
    let (_, lines) = built(&env, &["context"]);
    assert!(
        lines.iter().any(|line| line.starts_with("0755 d/sub/ ")),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.contains("d/sub/dir")),
        "{lines:?}"
    );
}

#[test]
fn servers_that_only_serve_files_do() {
    require_capability!(Program("git"));
    let (env, server) = (TestEnv::new(), FileServer::start());
    let repository = Repository::make(&env, "repo");
    server.put_folder("/repo.git", &repository.folder.join(".git"));
    for reference in ["", "#v1", &format!("#{}", repository.first)] {
        add(&env, &server.url(&format!("/repo.git{reference}")));
        built(&env, &["context"]);
        let content = if reference.is_empty() { "2\n" } else { "1\n" };
        assert_eq!(text(&env, "d/dir/one"), content);
    }
}

#[test]
fn logins_reach_the_host_and_nobody_else() {
    require_capability!(Program("git"));
    let (env, server) = (TestEnv::new(), FileServer::start());
    let repository = Repository::make(&env, "repo");
    server.put_folder("/repo.git", &repository.folder.join(".git"));
    // x-access-token:hunter2
    server.demand("/repo.git", "Basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==");
    add(
        &env,
        &format!("--keep-git-dir=true {}", server.url("/repo.git")),
    );
    let refused = build(&env, &["context"]).exited(3);
    assert!(
        refused.stderr.contains("GIT_AUTH_TOKEN"),
        "{}",
        refused.stderr
    );
    env.write("token", "hunter2\n");
    let (outcome, _) = built(
        &env,
        &["--secret", "id=GIT_AUTH_TOKEN,src=token", "context"],
    );
    assert!(!outcome.stderr.contains("hunter2"));
    assert!(!text(&env, "d/.git/config").contains("hunter2"));
    env.write("header", "Basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==\n");
    let header = ["--secret", "id=GIT_AUTH_HEADER,src=header", "context"];
    build(&env, &header).succeeded();
    // Only for another host: as if there were none. The commit is known, but whether it is still the branch's is not.
    let other = [
        "--secret",
        "id=GIT_AUTH_TOKEN.example.org,src=token",
        "context",
    ];
    build(&env, &other).exited(3);
    let own = [
        "--secret",
        "id=GIT_AUTH_TOKEN.127.0.0.1,src=token",
        "context",
    ];
    build(&env, &own).succeeded();
}

#[test]
fn an_agent_is_lent_to_git() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    // Nobody asks it anything: this transport has no use for it.
    let socket = env.path("agent");
    let _agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let offer = format!("--ssh=default={}", socket.display());
    add(&env, &daemon.url("repo/.git"));
    build(&env, &[&offer, "context"]).succeeded();
    assert_eq!(text(&env, "d/dir/one"), "2\n");
    let program = env.write(
        "ssh",
        "#!/bin/sh\ntest -S \"$SSH_AUTH_SOCK\" && echo \"lent: $SSH_AUTH_SOCK\" >&2\nexit 1\n",
    );
    builder::fsio::set_mode(&program, 0o755).unwrap();
    add(&env, "git@a.example:x");
    let mut command = env.command("build", [&offer, "context"]);
    command.env("GIT_SSH_COMMAND", &program);
    let failed = process::run(&mut command).exited(3);
    assert!(failed.stderr.contains("lent: "), "{}", failed.stderr);
    let own = socket.to_str().unwrap();
    assert!(!failed.stderr.contains(own), "{}", failed.stderr);
}

#[test]
fn what_does_not_exist_or_does_not_fit_is_said() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    let repository = Repository::make(&env, "repo");
    let daemon = GitDaemon::start(&env);
    let wrong = "0123456789abcdef0123456789abcdef01234567";
    for (arguments, message) in [
        (
            daemon.url("repo/.git#none"),
            "repository does not contain ref none, output: \"".to_owned(),
        ),
        (
            daemon.url("repo/.git#mian"),
            "did you mean `main`?".to_owned(),
        ),
        (
            daemon.url(&format!("repo/.git#{}", &repository.first[..8])),
            "a commit is named by its whole hash".to_owned(),
        ),
        (
            daemon.url(&format!("repo/.git#{wrong}")),
            format!("repository does not contain ref {wrong}"),
        ),
        (
            daemon.url("repo/.git#:none"),
            "invalid subdir none".to_owned(),
        ),
        (
            daemon.url("repo/.git#:dir/one"),
            "invalid subdir dir/one".to_owned(),
        ),
        (
            format!("--checksum={wrong} {}", daemon.url("repo/.git#v1")),
            format!(
                "expected checksum to match {wrong}, got {}",
                repository.first
            ),
        ),
    ] {
        add(&env, &arguments);
        let failed = build(&env, &["context"]).exited(1);
        assert!(failed.stderr.contains(&message), "{}", failed.stderr);
        assert!(failed.stderr.contains("Dockerfile:2"), "{}", failed.stderr);
    }
}

#[test]
fn nothing_of_a_repository_is_run_and_no_link_leads_out() {
    require_capability!(Program("git"));
    let env = TestEnv::new();
    let repository = Repository::make(&env, "repo");
    builder::fsio::symlink("/etc", repository.folder.join("out")).unwrap();
    env.write("repo/.gitattributes", "* filter=evil text eol=crlf\n");
    repository.commit(&env, "2022-01-01T00:00:00Z");
    let daemon = GitDaemon::start(&env);
    // What the user configured must not reach the tree either.
    let marker = env.path("ran");
    env.write(
        "home/.gitconfig",
        format!(
            "[filter \"evil\"]\n\tsmudge = touch {0}; cat\n[core]\n\thooksPath = {1}\n\tautocrlf = true\n",
            marker.display(),
            env.path("hooks").display()
        ),
    );
    let hook = env.write(
        "hooks/post-checkout",
        format!("#!/bin/sh\ntouch {}\n", marker.display()),
    );
    builder::fsio::set_mode(hook, 0o755).unwrap();
    add(&env, &daemon.url("repo/.git"));
    built(&env, &["context"]);
    assert!(!marker.exists(), "a program was run");
    add(&env, &daemon.url("repo/.git#:out"));
    let failed = build(&env, &["context"]).exited(1);
    assert!(
        failed.stderr.contains("invalid subdir out"),
        "{}",
        failed.stderr
    );
}
