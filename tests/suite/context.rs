//! `builder context`, what ignore files that cannot be used say in a build, and what reading a context costs.

use std::io::Write as _;
use std::time::Duration;

use builder::fsio;
use insta::assert_snapshot;

use crate::support::process::run;
use crate::support::{TestEnv, require_capability};

/// After this long a file counts as at rest.
const SETTLED: Duration = Duration::from_millis(2500);

/// A context with an ignore file that does most of what there is to do.
fn context() -> TestEnv {
    let env = TestEnv::new();
    env.write("app/Dockerfile", "FROM scratch\nCOPY src /\n");
    env.write(
        "app/.dockerignore",
        "# what git has\n.git\n*.log\ndocs\n!docs/keep.md\nnode_modules\n",
    );
    env.write("app/.git/pack", "x".repeat(2000));
    env.write("app/a.log", "x".repeat(300));
    env.write("app/b.log", "");
    env.write("app/docs/keep.md", "x".repeat(20));
    env.write("app/docs/other.md", "x".repeat(40));
    env.write("app/src/main", "x".repeat(1500));
    env
}

#[test]
fn what_is_in_and_what_is_out() {
    let shown = context().builder("context", ["app"]).succeeded();
    assert_snapshot!(shown.stdout, @r##"
    Context: app
    Ignore file: app/.dockerignore
    In: 1.6kB in 4 files and 1 folder
    Out: 2.34kB in 4 files

    LINE   RULE    FILES OUT   SIZE
       2   .git            1    2kB
       3   *.log           2   300B
       4   docs            1    40B

    Rules that decide about nothing:
      line 6: node_modules

     SIZE   LARGEST FILES
    1.5kB   src/main
      58B   .dockerignore
      24B   Dockerfile
      20B   docs/keep.md

    SIZE   FILES   STAYS OUT   BY
     2kB       1   .git        .dockerignore:2
    300B       1   a.log       .dockerignore:3
      0B       1   b.log       .dockerignore:3
     40B       1   docs        .dockerignore:4
    "##);
    assert_eq!(shown.stderr, "");
}

#[test]
fn every_entry_has_its_rule() {
    let shown = context().builder("context", ["app", "--all"]).succeeded();
    assert_snapshot!(shown.stdout, @r##"
    Context: app
    Ignore file: app/.dockerignore
    In: 1.6kB in 4 files and 1 folder
    Out: 2.34kB in 4 files

    LINE   RULE    FILES OUT   SIZE
       2   .git            1    2kB
       3   *.log           2   300B
       4   docs            1    40B

    Rules that decide about nothing:
      line 6: node_modules

     SIZE         PATH            BY
      58B   in    .dockerignore
            out   .git/           .dockerignore:2
      2kB   out   .git/pack       .dockerignore:2
      24B   in    Dockerfile
     300B   out   a.log           .dockerignore:3
       0B   out   b.log           .dockerignore:3
            out   docs/           .dockerignore:4
      20B   in    docs/keep.md    .dockerignore:5
      40B   out   docs/other.md   .dockerignore:4
            in    src/
    1.5kB   in    src/main
    "##);
}

#[test]
fn as_json() {
    let shown = context().builder("context", ["--json", "app"]).succeeded();
    assert_snapshot!(shown.stdout, @r##"
    {"bytes":1602,"directories":1,"excluded":[{"bytes":2000,"files":1,"path":".git","rule":{"file":".dockerignore","line":2,"pattern":".git"}},{"bytes":300,"files":1,"path":"a.log","rule":{"file":".dockerignore","line":3,"pattern":"*.log"}},{"bytes":0,"files":1,"path":"b.log","rule":{"file":".dockerignore","line":3,"pattern":"*.log"}},{"bytes":40,"files":1,"path":"docs","rule":{"file":".dockerignore","line":4,"pattern":"docs"}}],"files":4,"folder":"app","idleRules":[{"file":".dockerignore","line":6,"pattern":"node_modules"}],"ignoreFile":"app/.dockerignore","largest":[{"bytes":1500,"path":"src/main"},{"bytes":58,"path":".dockerignore"},{"bytes":24,"path":"Dockerfile"},{"bytes":20,"path":"docs/keep.md"}],"moreExcluded":0,"name":null,"rules":[{"bytes":2000,"files":1,"rule":{"file":".dockerignore","line":2,"pattern":".git"}},{"bytes":300,"files":2,"rule":{"file":".dockerignore","line":3,"pattern":"*.log"}},{"bytes":40,"files":1,"rule":{"file":".dockerignore","line":4,"pattern":"docs"}}],"used":true}
    "##);
    let all = context().builder("context", ["--json", "--all", "app"]);
    let value: serde_json::Value = serde_json::from_str(&all.succeeded().stdout).unwrap();
    assert_eq!(value["entries"][0]["path"], ".dockerignore");
    assert_eq!(value["entries"].as_array().unwrap().len(), 11);
}

#[test]
fn contexts_that_nothing_uses() {
    let env = context();
    env.write(
        "other/own.Dockerfile",
        "FROM scratch\nCOPY --from=extra a /\nADD https://a.io/x /\n",
    );
    env.write("other/own.Dockerfile.dockerignore", "app\n!app/src\n");
    env.write("extra/a", "12");
    env.write("unused/b", "1");
    let arguments = [
        "-f",
        "other/own.Dockerfile",
        "app",
        "--build-context=extra=extra",
        "--build-context=unused=unused",
    ];
    let shown = env.builder("context", arguments).succeeded();
    assert_snapshot!(shown.stdout, @r##"
    Context: app
    Ignore file: other/own.Dockerfile.dockerignore
    In: 3.94kB in 8 files and 3 folders
    Out: 0B in 0 files
    Nothing in the Dockerfile takes files from it.

    Rules that decide about nothing:
      line 1: app
      line 2: !app/src

     SIZE   LARGEST FILES
      2kB   .git/pack
    1.5kB   src/main
     300B   a.log
      58B   .dockerignore
      40B   docs/other.md
      24B   Dockerfile
      20B   docs/keep.md

    Context `extra`: extra
    Ignore file: none
    In: 2B in 1 file and 0 folders
    Out: 0B in 0 files

    SIZE   LARGEST FILES
      2B   a

    Context `unused`: unused
    Ignore file: none
    In: 1B in 1 file and 0 folders
    Out: 0B in 0 files
    Nothing in the Dockerfile takes files from it.

    SIZE   LARGEST FILES
      1B   b
    "##);
}

#[test]
fn what_is_no_context() {
    let env = context();
    let outcome = env.builder("context", ["none"]).exited(2);
    assert!(
        outcome
            .stderr
            .contains("unable to prepare context: path \"none\" not found"),
        "{}",
        outcome.stderr
    );
    let image = ["app", "--build-context=a=docker-image://busybox"];
    let outcome = env.builder("context", image).exited(2);
    assert!(
        outcome.stderr.contains("the context `a` is no folder"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn an_ignore_file_that_is_wrong_names_its_line() {
    let env = context();
    for (line, message) in [
        (
            "!",
            "failed parsing app/.dockerignore: line 2: illegal exclusion pattern: \"!\"",
        ),
        (
            "[a",
            "failed parsing app/.dockerignore: line 2: syntax error in pattern `[a`",
        ),
    ] {
        env.write("app/.dockerignore", format!("a\n{line}\n"));
        let listed = env.builder("context", ["app"]).exited(2);
        assert!(listed.stderr.contains(message), "{}", listed.stderr);
        let built = env.build(["app"]);
        assert_ne!(built.code, Some(0));
        assert!(built.stderr.contains(message), "{}", built.stderr);
    }
}

#[test]
fn a_dockerfile_and_ignore_files_that_are_ignored_are_read_and_not_copied() {
    let env = context();
    let copied = |file: &str| {
        env.build(["-f", file, "-o", "type=oci,tar=false,dest=out", "app"])
            .succeeded();
        let listed = env.builder("context", ["-f", file, "app"]).succeeded();
        let largest = listed.stdout.split("LARGEST FILES").nth(1).unwrap();
        let names = largest
            .lines()
            .skip(1)
            .map_while(|line| line.split_whitespace().nth(1));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    };
    env.write("app/Dockerfile", "FROM scratch\nCOPY . /\n");
    env.write(
        "app/.dockerignore",
        "Dockerfile*\n.dockerignore\n**/*.log\ndocs\n.git\n",
    );
    assert_eq!(copied("app/Dockerfile"), ["src/main"]);
    // A file of its own takes the place of the other, which is not looked at, and may be ignored by itself.
    env.write("app/.dockerignore", "[\n");
    env.write("app/Dockerfile.dockerignore", "*\n!docs\n!a.log\n");
    assert_eq!(
        copied("app/Dockerfile"),
        ["a.log", "docs/keep.md", "docs/other.md"]
    );
    let missing = env.write("app/other", "FROM scratch\nCOPY Dockerfile /\n");
    env.write("app/other.dockerignore", "Dockerfile\n");
    let refused = env
        .build(["-f", missing.to_str().unwrap(), "app"])
        .exited(1);
    assert!(
        refused.stderr.contains("other.dockerignore"),
        "{}",
        refused.stderr
    );
}

/// What a build of `app` asked the operating system about the files whose name begins with `name`: how many calls opened one,
/// and how many looked at one.
fn calls(env: &TestEnv, names: [&str; 2]) -> [(usize, usize); 2] {
    let trace = env.path("trace");
    let build = env.command("build", ["--progress", "plain", "app"]);
    let mut strace = env.tool("strace");
    let kinds = "trace=open,openat,openat2,stat,lstat,statx,newfstatat";
    strace.args(["-f", "-qq", "-y", "-e", kinds, "-o"]);
    strace.arg(&trace).arg(build.get_program());
    strace.args(build.get_args()).current_dir(env.path(""));
    run(&mut strace).succeeded();
    let text = fsio::read_to_string(&trace).unwrap();
    names.map(|name| {
        let calls = || text.lines().filter(|line| line.contains(name));
        let opens = calls().filter(|line| line.contains(" open")).count();
        (opens, calls().count() - opens)
    })
}

#[test]
fn an_unchanged_context_costs_a_stat_a_file() {
    require_capability!(Program("strace"));
    const FILES: usize = 50;
    let env = TestEnv::new();
    env.write(
        "app/Dockerfile",
        "FROM scratch\nCOPY many /many/\nCOPY one /one/\n",
    );
    for number in 0..FILES {
        env.write(&format!("app/many/file-{number}"), format!("{number:04}"));
    }
    let one = env.write("app/one/changing", "old!");
    let calls = || calls(&env, ["file-", "changing"]);
    // What has only just changed is read again in any case.
    std::thread::sleep(SETTLED);
    let [(opens, _), _] = calls();
    assert!(
        opens >= FILES,
        "{opens} files were opened by the first build"
    );
    assert_eq!(calls(), [(0, FILES), (0, 1)], "nothing changed");

    // The same size, and the time of the old content: only the time of the change itself tells.
    let before = fsio::metadata(&one).unwrap();
    {
        let mut file = std::fs::File::options().write(true).open(&one).unwrap();
        file.write_all(b"new!").unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
    }
    let [many, (opens, _)] = calls();
    assert_eq!(many, (0, FILES), "what did not change is not read");
    assert!(opens > 0, "what changed is read");
    // It is too young for its times to say that it did not change once more.
    let [many, (opens, _)] = calls();
    assert_eq!(many, (0, FILES));
    assert!(opens > 0, "what may have changed is read");
}

#[test]
fn contexts_do_not_share_what_they_know() {
    require_capability!(Program("strace"));
    let env = TestEnv::new();
    env.write("app/Dockerfile", "FROM scratch\nCOPY src /src/\n");
    env.write("app/src/file-1", "1");
    let opens = || calls(&env, ["file-1", "-"])[0].0;
    std::thread::sleep(SETTLED);
    opens();
    assert_eq!(opens(), 0);
    // The same device, inodes and times, below another root.
    fsio::rename(env.path("app"), env.path("moved")).unwrap();
    fsio::symlink("moved", env.path("app")).unwrap();
    assert!(opens() > 0, "another path is another context");
}
