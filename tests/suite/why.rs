//! Why steps ran: the line while they run, and `builder why` afterwards. Only COPY steps, which need no privileges.

use std::time::{Duration, SystemTime};

use builder::fsio;
use builder::solve::BuildRecord;
use builder::store::Store;
use serde_json::Value;

use crate::support::TestEnv;
use crate::support::progress::Progress;

struct Project(TestEnv);

impl Project {
    fn new(dockerfile: &str) -> Self {
        let env = TestEnv::new();
        env.write("context/Dockerfile", dockerfile);
        for name in ["a.py", "b.py", "c.py", "sub/d.py"] {
            env.write(&format!("context/src/{name}"), name);
        }
        Self(env)
    }

    fn write(&self, name: &str, content: &str) {
        self.0.write(&format!("context/{name}"), content);
    }

    /// What ran in a build, and why.
    fn reasons(&self, more: &[&str]) -> Vec<String> {
        let arguments = more.iter().copied().chain(["context"]);
        let outcome = self.0.build(arguments).succeeded();
        Progress::read(&outcome.stderr).reasons()
    }

    fn why(&self, arguments: &[&str]) -> String {
        self.0.builder("why", arguments).succeeded().stdout
    }

    fn store(&self) -> Store {
        Store::open(&self.0.root()).unwrap()
    }
}

#[test]
fn files_are_named_and_counted() {
    let project = Project::new("FROM scratch\nCOPY src/ /app/\n");
    let copy = |why: &str| vec![format!("COPY src/ /app/: {why}")];
    assert_eq!(project.reasons(&[]), copy("first build"));
    assert_eq!(project.reasons(&[]), [""; 0]);
    project.write("src/a.py", "changed");
    let why = "COPY src/: 1 of 4 files changed: src/a.py";
    assert_eq!(project.reasons(&[]), copy(why));
    for name in ["a.py", "b.py", "c.py", "sub/d.py"] {
        project.write(&format!("src/{name}"), "changed again");
    }
    let why = "COPY src/: 4 of 4 files changed: src/a.py, src/b.py, src/c.py, ...";
    assert_eq!(project.reasons(&[]), copy(why));
    project.write("src/sub/e.py", "new");
    assert_eq!(
        project.reasons(&[]),
        copy("COPY src/: 1 file added: src/sub/e.py")
    );
    fsio::remove_file(project.0.path("context/src/b.py")).unwrap();
    project.write("src/f.py", "new");
    project.write("src/c.py", "once more");
    let why = "COPY src/: 1 of 5 files changed: src/c.py; 1 added: src/f.py; 1 removed: src/b.py";
    assert_eq!(project.reasons(&[]), copy(why));
    fsio::create_dir_all(project.0.path("context/src/empty")).unwrap();
    assert_eq!(
        project.reasons(&[]),
        copy("COPY src/: a directory changed: src/empty/")
    );
}

#[test]
fn files_of_a_stage_and_of_a_wildcard_are_named() {
    let project = Project::new(
        "FROM scratch AS one\nCOPY src/*.py /out/\nFROM scratch\nCOPY --from=one /out /got\n",
    );
    project.reasons(&[]);
    project.write("src/b.py", "changed");
    project.write("src/g.py", "new");
    assert_eq!(
        project.reasons(&[]),
        [
            "COPY src/*.py /out/: COPY src/*.py: 1 of 4 files changed: src/b.py; 1 added: src/g.py",
            "COPY --from=one /out /got: COPY /out: 1 of 4 files changed: out/b.py; 1 added: out/g.py",
        ]
    );
}

#[test]
fn what_is_below_is_named() {
    let project = Project::new("FROM scratch\nCOPY src/a.py /\nCOPY src/b.py /\nCOPY src/c.py /\n");
    project.reasons(&[]);
    project.write("src/a.py", "changed");
    let made = "[2/4] COPY src/a.py / made something else";
    assert_eq!(
        project.reasons(&[]),
        [
            "COPY src/a.py /: COPY src/a.py: 1 of 1 file changed: src/a.py".to_owned(),
            format!("COPY src/b.py /: {made}"),
            format!("COPY src/c.py /: {made}"),
        ]
    );
}

#[test]
fn inserted_and_removed_instructions_do_not_confuse_the_others() {
    let project = Project::new("FROM scratch\nCOPY src/a.py /\nCOPY src/b.py /\nCOPY src/c.py /\n");
    project.reasons(&[]);
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY src/a.py /\nWORKDIR /new\nCOPY src/b.py /\nCOPY src/c.py /\n",
    );
    project.write("src/c.py", "changed");
    let new = "new below it: [3/5] WORKDIR /new";
    assert_eq!(
        project.reasons(&[]),
        [
            "WORKDIR /new: first build of this instruction".to_owned(),
            format!("COPY src/b.py /: {new}"),
            format!("COPY src/c.py /: COPY src/c.py: 1 of 1 file changed: src/c.py; {new}"),
        ]
    );
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY src/a.py /\nWORKDIR /new\nCOPY src/c.py /\n",
    );
    assert_eq!(
        project.reasons(&[]),
        ["COPY src/c.py /: no longer below it: COPY src/b.py /"]
    );
    project.write(
        "Dockerfile",
        "FROM scratch AS other\nCOPY src/b.py /\nFROM scratch\nCOPY --from=other / /x\nCOPY src/a.py /\nWORKDIR /new\nCOPY --chmod=600 src/c.py /\n",
    );
    let new = "new below it: [stage-1 2/5] COPY --from=other / /x";
    assert_eq!(
        project.reasons(&[]),
        [
            "COPY src/b.py /: first build of this instruction".to_owned(),
            "COPY --from=other / /x: first build of this instruction".to_owned(),
            format!("COPY src/a.py /: {new}"),
            format!("WORKDIR /new: {new}"),
            format!("COPY --chmod=600 src/c.py /: COPY src/c.py: chmod (none) → 600; {new}"),
        ]
    );
}

#[test]
fn a_base_that_moved_is_named() {
    let project = Project::new("FROM localhost/base:1\nCOPY src/a.py /\nCOPY src/b.py /\n");
    project
        .0
        .write("base/Dockerfile", "FROM scratch\nCOPY file /\n");
    let base = |content: &str| {
        project.0.write("base/file", content);
        let made = project.0.build(["-t", "localhost/base:1", "base"]);
        made.succeeded();
    };
    base("one");
    project.reasons(&[]);
    base("two");
    let reasons = project.reasons(&[]);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    for reason in &reasons {
        let moved = "/: base localhost/base:1 moved: sha256:";
        assert!(reason.contains(moved), "{reason}");
        assert!(reason.contains("… → sha256:"), "{reason}");
    }
    let file = "FROM scratch\nCOPY src/a.py /\nCOPY src/b.py /\n";
    project.write("Dockerfile", file);
    assert_eq!(
        project.reasons(&[])[0],
        "COPY src/a.py /: base localhost/base:1 → scratch"
    );
}

#[test]
fn results_that_are_gone_and_platforms_that_are_new() {
    let project = Project::new("FROM scratch\nCOPY src/ /app/\n");
    let copy = |why: &str| vec![format!("COPY src/ /app/: {why}")];
    project.reasons(&[]);
    let record = project.store().builds::<BuildRecord>().next().unwrap();
    let key = record.steps[0].key.unwrap();
    let layer = project.store().step(key).unwrap().diff_id;
    let forget = || {
        let folder = project.0.root().join("v1/layers").join(layer.hex());
        fsio::remove_tree(folder).unwrap();
    };
    forget();
    let lost = "built before, but its result is no longer in the store";
    assert_eq!(project.reasons(&[]), copy(lost));
    forget();
    #[expect(clippy::disallowed_methods, reason = "an eviction some time ago")]
    let when = SystemTime::now() - Duration::from_secs(14 * 3600 + 60);
    project.store().note_evicted(layer, when).unwrap();
    assert_eq!(project.reasons(&[]), copy("evicted 14 h ago"));
    let arm = "--platform=linux/arm64";
    assert_eq!(project.reasons(&[arm]), copy("never built for linux/arm64"));
    assert_eq!(project.reasons(&[arm]), [""; 0]);
    project.write("src/a.py", "changed");
    let changed = copy("COPY src/: 1 of 4 files changed: src/a.py");
    // Each platform has a past of its own.
    assert_eq!(project.reasons(&[arm]), changed);
    assert_eq!(project.reasons(&[]), changed);
    assert_eq!(project.reasons(&["--no-cache"]), copy("--no-cache"));
}

#[test]
fn targets_share_their_past() {
    let project = Project::new(
        "FROM scratch AS one\nCOPY src/a.py /\nFROM scratch AS two\nCOPY src/b.py /\n",
    );
    project.reasons(&["--target=one"]);
    assert_eq!(
        project.reasons(&["--target=two"]),
        ["COPY src/b.py /: first build of this instruction"]
    );
    project.write("src/a.py", "changed");
    assert_eq!(
        project.reasons(&["--target=one"]),
        ["COPY src/a.py /: COPY src/a.py: 1 of 1 file changed: src/a.py"]
    );
}

#[test]
fn the_last_build_is_told_afterwards() {
    let project = Project::new("FROM scratch\nCOPY src/ /app/\nCOPY src/a.py /\n");
    let refused = project.0.builder("why", [""; 0]).exited(2);
    assert!(refused.stderr.contains("no build is remembered"));
    project.reasons(&[]);
    for number in 0..210 {
        project.write(&format!("src/new/{number:03}"), "x");
    }
    project.reasons(&[]);
    let all = project.why(&[]);
    let path = project.0.path("context/Dockerfile").display().to_string();
    assert!(all.starts_with(&format!("{path}, built ")), "{all}");
    let why = "    why: COPY src/: 210 files added: src/new/000, src/new/001, src/new/002, ...\n";
    assert!(
        all.contains("[2/3] COPY src/ /app/: ran ") && all.contains(why),
        "{all}"
    );
    assert!(all.contains("[3/3] COPY src/a.py /: ran"), "{all}");
    assert!(all.contains("\n2 steps: 2 ran in "), "{all}");
    // By place, by number, by text; with -f and with the folder.
    let number = all
        .split('#')
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let number = number.unwrap();
    let one = project.why(&["2/3"]);
    // 200 of 210 files and the new directory.
    assert!(
        one.contains("    added    src/new/198\n    and 11 more\n"),
        "{one}"
    );
    assert!(!one.contains("its key is made of"));
    for words in [
        vec![number],
        vec!["/app"],
        vec!["2/3", "./context"],
        vec!["2/3", "-f", "context/Dockerfile"],
    ] {
        // The first line says how long ago that was.
        let [again, one] = [&project.why(&words), &one].map(|text| {
            let (_, rest) = text.split_once('\n').unwrap_or_default();
            rest.to_owned()
        });
        assert_eq!(again, one, "{words:?}");
    }
    let with_all = project.why(&["2/3", "--all"]);
    assert!(
        with_all.contains("its key is made of\n    destination  /app/\n"),
        "{with_all}"
    );
    // Several matches are listed.
    let several = project.why(&["copy"]);
    assert!(several.contains("[2/3]") && several.contains("[3/3]"));
    let json: Value = serde_json::from_str(&project.why(&["--json"])).unwrap();
    assert_eq!(
        json["steps"][0]["reason"]["changes"][0]["files"]["added"],
        210
    );
    assert_eq!(json["complete"], true);
    for (words, message) in [
        (vec!["9"], "has no step `9`"),
        (vec!["-f", "context/src/a.py"], "no build is remembered"),
    ] {
        let refused = project.0.builder("why", words).exited(2);
        assert!(refused.stderr.contains(message), "{}", refused.stderr);
    }
    // A build that finds all in the cache is told too.
    project.reasons(&[]);
    assert!(
        project
            .why(&[])
            .contains("\n2 steps: 2 cached, which took ")
    );
    assert!(
        project
            .why(&["2/3"])
            .contains("COPY src/ /app/: cached, took ")
    );
}

#[test]
fn a_failed_build_is_told_too() {
    let project = Project::new("FROM scratch\nCOPY src/ /app/\nCOPY --from=0 missing /\n");
    project.write("Dockerfile", "FROM scratch AS a\nCOPY src/ /app/\nFROM scratch\nCOPY --from=a /missing /\nCOPY src/a.py /\n");
    project.0.build(["context"]).exited(1);
    let told = project.why(&[]);
    assert!(told.contains("not completed\n"), "{told}");
    assert!(told.contains("COPY --from=a /missing /: failed"), "{told}");
    assert!(
        told.contains("1 ran in ") && told.contains("1 failed after"),
        "{told}"
    );
    assert!(told.ends_with("1 not reached\n"), "{told}");
    let step = project.why(&["/missing"]);
    assert!(step.contains("    error: "), "{step}");
}
