//! What a build would do: `builder plan`, and `--require-cached`. Only COPY steps, which need no privileges.

use builder::fsio;
use serde_json::Value;

use crate::support::TestEnv;
use crate::support::progress::Progress;

const DOCKERFILE: &str = "\
FROM scratch AS one
COPY a /
FROM scratch AS two
COPY b /
FROM scratch AS unneeded
COPY c /
WORKDIR /x
FROM scratch
COPY --from=one / /
COPY --from=two / /
COPY --link c /
";

fn project() -> TestEnv {
    let env = TestEnv::new();
    env.write("context/Dockerfile", DOCKERFILE);
    for name in ["a", "b", "c"] {
        env.write(&format!("context/{name}"), name);
    }
    env
}

fn plan(env: &TestEnv, more: &[&str]) -> String {
    let arguments = more.iter().copied().chain(["context"]);
    env.builder("plan", arguments).succeeded().stdout
}

/// The fates of the steps in order, by the last word of each.
fn fates(env: &TestEnv, more: &[&str]) -> Vec<(String, String)> {
    let json = plan(env, &[&["--format", "json"], more].concat());
    let value: Value = serde_json::from_str(&json).unwrap();
    let steps = value["steps"].as_array().unwrap().iter();
    let text = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    steps
        .map(|step| (text(step, "instruction"), text(step, "fate")))
        .collect()
}

fn words(fates: &[(String, String)]) -> Vec<&str> {
    fates.iter().map(|(_, fate)| fate.as_str()).collect()
}

#[test]
fn a_plan_says_what_the_build_then_does() {
    let env = project();
    let before = fates(&env, &[]);
    assert_eq!(
        words(&before),
        ["runs", "runs", "may_run", "may_run", "runs"]
    );
    // Nothing was run: it is the same again.
    assert_eq!(fates(&env, &[]), before);
    env.build(["context"]).succeeded();
    assert_eq!(words(&fates(&env, &[])), ["cached"; 5]);

    env.write("context/b", "changed");
    let foreseen = fates(&env, &[]);
    assert_eq!(
        words(&foreseen),
        ["cached", "runs", "cached", "may_run", "cached"]
    );
    let text = plan(&env, &[]);
    assert!(
        text.contains("[two 2/2] COPY b /: runs\n    why: COPY b: 1 of 1 file changed: b\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "[stage-3 3/4] COPY --from=two / /: may run\n    depends on what [two 2/2] makes\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("stage unneeded: not needed, 2 instructions\n"),
        "{text}"
    );
    assert!(
        text.ends_with("5 steps: 3 cached, 1 runs, 1 may run\n"),
        "{text}"
    );
    let built = env.build(["context"]).succeeded();
    let progress = Progress::read(&built.stderr);
    assert_eq!(progress.ran(), ["COPY b /", "COPY --from=two / /"]);
    // The flags of a build that shape keys and graph.
    assert_eq!(
        words(&fates(&env, &["--no-cache-filter", "two"]))[1],
        "runs"
    );
    assert_eq!(fates(&env, &["--target", "two"]).len(), 1);
    assert_eq!(
        words(&fates(&env, &["--platform", "linux/arm64"]))[0],
        "runs"
    );
}

#[test]
fn a_plan_goes_to_a_file_in_every_form() {
    let env = project();
    for (format, start) in [
        ("text", "[one 2/2] COPY a /: runs\n"),
        ("json", "{\n"),
        ("dot", "digraph plan {\n"),
        ("mermaid", "flowchart TD\n"),
        ("svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" "),
    ] {
        let shown = plan(&env, &["--format", format]);
        assert!(shown.starts_with(start), "{format}: {shown}");
        assert_eq!(plan(&env, &["--format", format, "-o", "out"]), "");
        assert_eq!(fsio::read_to_string(env.path("out")).unwrap(), shown);
    }
    env.write("context/Dockerfile", "FROM scratch\nCOPY missing /\n");
    let failed = env.builder("plan", ["context"]).exited(1);
    assert!(
        failed.stderr.contains("COPY missing /"),
        "{}",
        failed.stderr
    );
    env.builder("plan", ["--format", "png", "context"])
        .exited(2);
}

#[test]
fn a_build_that_has_to_be_cached_runs_nothing_else() {
    let env = project();
    let refused = env.build(["--require-cached", "context"]).exited(1);
    let message = "\
error: 5 steps are not in the cache, and nothing was run:
       [one 2/2] COPY a /: first build
       [two 2/2] COPY b /: first build
       [stage-3 2/4] COPY --from=one / /: depends on what [one 2/2] makes
       [stage-3 3/4] COPY --from=two / /: depends on what [one 2/2], [two 2/2] makes
       [stage-3 4/4] COPY --link c /: first build
hint: build once without `--require-cached`
";
    assert!(refused.stderr.contains(message), "{}", refused.stderr);
    assert_eq!(Progress::read(&refused.stderr).steps().count(), 0);
    assert_eq!(
        fsio::read_dir_sorted(env.root().join("v1/layers"))
            .unwrap()
            .len(),
        0
    );

    env.build(["context"]).succeeded();
    env.build(["--require-cached", "-o", "type=oci,dest=x.tar", "context"])
        .succeeded();
    env.write("context/b", "changed");
    env.build(["--require-cached=one", "context"]).succeeded();
    env.build(["context"]).succeeded();
    env.write("context/a", "changed");
    for stage in ["one", "stage-3", "0"] {
        let refused = env
            .build([&format!("--require-cached={stage}"), "context"])
            .exited(1);
        let why = "COPY a /: COPY a: 1 of 1 file changed: a\n";
        assert!(refused.stderr.contains(why), "{stage}: {}", refused.stderr);
    }
    env.build(["--require-cached=two", "context"]).succeeded();
    for stage in ["unneeded", "nobody"] {
        let refused = env
            .build([&format!("--require-cached={stage}"), "context"])
            .exited(2);
        let message = format!("there is no stage `{stage}` in what is built");
        assert!(refused.stderr.contains(&message), "{}", refused.stderr);
    }
}

#[test]
fn a_plan_looks_into_imported_caches() {
    let env = project();
    env.build(["--cache-to", "type=local,dest=cache,mode=max", "context"])
        .succeeded();
    fsio::remove_tree(env.root()).unwrap();
    let from = ["--cache-from", "type=local,src=cache"];
    assert_eq!(words(&fates(&env, &from)), ["cached"; 5]);
    env.write("context/b", "changed");
    let text = plan(&env, &from);
    let why = "[two 2/2] COPY b /: runs\n    why: COPY b: files changed\n";
    assert!(text.contains(why), "{text}");
    assert!(
        text.contains("COPY a /: cached, in an imported cache, took "),
        "{text}"
    );
    // What others built explains what runs, where nothing was built here.
    let built = env.build(from.into_iter().chain(["context"])).succeeded();
    assert_eq!(
        Progress::read(&built.stderr).reasons(),
        [
            "COPY b /: COPY b: files changed",
            "COPY --from=two / /: COPY /: files changed",
        ]
    );
}
