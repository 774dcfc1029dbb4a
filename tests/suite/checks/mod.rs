//! `builder check`, `builder build --check` and `--call`, and the findings that a build ends with: whole runs of the program.

mod calls;
mod programs;

use builder::fsio;
use serde_json::Value;

use crate::support::{Outcome, TestEnv, process};

/// Two findings, in two stages.
const DOUBTFUL: &str = "\
FROM scratch AS base
COPY a \\

  /a
FROM scratch
COPY --from=base $NOPE/a /a
";

/// Where nobody listens.
const NOWHERE: &str = "localhost:1/team/base:1";

fn place(dockerfile: &str) -> TestEnv {
    let env = TestEnv::new();
    env.write("context/Dockerfile", dockerfile);
    env.write("context/a", "a\n");
    env
}

/// All that a run said, and how it ended.
fn said(outcome: &Outcome) -> String {
    let mut text = outcome.stdout.clone();
    if !outcome.stderr.is_empty() {
        text.push_str("--- standard error\n");
        text.push_str(&outcome.stderr);
    }
    text.push_str(&format!("[exit code {}]\n", outcome.code.unwrap_or(-1)));
    text
}

fn check(env: &TestEnv, arguments: &[&str]) -> Outcome {
    env.builder("check", [&["context"], arguments].concat())
}

/// `builder build` without progress.
fn call(env: &TestEnv, arguments: &[&str]) -> Outcome {
    let quiet = ["--progress", "none", "context"];
    env.builder("build", [&quiet, arguments].concat())
}

#[test]
fn findings_are_counted_and_shown_with_their_source() {
    let env = place(DOUBTFUL);
    insta::assert_snapshot!(said(&call(&env, &["--check"])), @r#"
    Check complete, 2 warnings have been found!

    WARNING: NoEmptyContinuation - https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/
    Empty continuation line
    Dockerfile:3
    --------------------
       1 |     FROM scratch AS base
       2 |     COPY a \
       3 | >>>
       4 |       /a
       5 |     FROM scratch
    --------------------

    WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/
    Usage of undefined variable '$NOPE'
    Dockerfile:6
    --------------------
       4 |       /a
       5 |     FROM scratch
       6 | >>> COPY --from=base $NOPE/a /a
    --------------------
    [exit code 1]
    "#);
    assert_eq!(
        call(&env, &["--check"]).stdout,
        call(&env, &["--call=check"]).stdout
    );
    assert!(
        fsio::symlink_metadata(env.root()).is_err(),
        "a check stores nothing"
    );
}

#[test]
fn one_finding_and_none_have_words_of_their_own() {
    let env = place("FROM scratch\nCOPY $NOPE/a /a\n");
    let one = check(&env, &[]).exited(1);
    assert!(one.stdout.starts_with(
        "Check complete, 1 warning has been found!\n\nWARNING: UndefinedVar - https://"
    ));
    let env = place("FROM scratch\nCOPY a /a\n");
    insta::assert_snapshot!(said(&check(&env, &[])), @r#"
    Check complete, no warnings found.
    [exit code 0]
    "#);
}

#[test]
fn findings_are_no_failure_if_the_user_says_so() {
    let env = place(DOUBTFUL);
    let outcome = call(&env, &["--call=check,ignorestatus=true"]).succeeded();
    assert!(
        outcome
            .stdout
            .starts_with("Check complete, 2 warnings have been found!\n")
    );
}

#[test]
fn rules_that_the_reference_does_not_have_fail_only_our_own_command() {
    let env = place("FROM scratch\nRUN <<EOF\na\nb\nEOF\n");
    let own = check(&env, &[]).exited(1);
    assert!(
        own.stdout.contains("HeredocWithoutErrexit"),
        "{}",
        own.stdout
    );
    assert!(own.stdout.contains("\nhint: "), "{}", own.stdout);
    let reference = call(&env, &["--check"]).exited(0);
    assert_eq!(reference.stdout, "Check complete, no warnings found.\n");
}

#[test]
fn a_mistake_is_told_after_the_findings() {
    let env = place("FROM scratch\nCOPY a \\\n\n /a\nCOPI b /b\n");
    insta::assert_snapshot!(said(&check(&env, &[])), @r#"
    Check complete, 1 warning has been found!

    WARNING: NoEmptyContinuation - https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/
    Empty continuation line
    Dockerfile:3
    --------------------
       1 |     FROM scratch
       2 |     COPY a \
       3 | >>>
       4 |      /a
       5 |     COPI b /b
    --------------------
    --- standard error
    error: dockerfile parse error on line 5: unknown instruction: COPI (did you mean COPY?)
     --> Dockerfile:5:1
      |
    5 | COPI b /b
      | ^^^^
    [exit code 1]
    "#);
}

#[test]
fn a_base_out_of_reach_ends_the_check_of_a_build() {
    let env = place(&format!(
        "FROM scratch AS x\nCOPY a \\\n\n /a\nFROM {NOWHERE}\nCOPY --from=x /a /\n"
    ));
    insta::assert_snapshot!(said(&call(&env, &["--check"])), @r#"
    Check complete, 1 warning has been found!

    WARNING: NoEmptyContinuation - https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/
    Empty continuation line
    Dockerfile:3
    --------------------
       1 |     FROM scratch AS x
       2 |     COPY a \
       3 | >>>
       4 |      /a
       5 |     FROM localhost:1/team/base:1
    --------------------
    --- standard error
    error: cannot resolve `localhost:1/team/base:1`: connection refused at `http://localhost:1/v2/` (after 3 attempts)
     --> Dockerfile:5:1
      |
    5 | FROM localhost:1/team/base:1
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: check the address, the network and the proxy settings
    hint: a stand-in can be given with `--build-context localhost:1/team/base:1=oci-layout://FOLDER`
    [exit code 1]
    "#);
}

#[test]
fn an_image_that_is_not_there_may_have_been_meant_for_a_stage() {
    let hints = |line: &str| {
        let env = place(&format!(
            "FROM scratch AS builder\nFROM scratch\n{line}\nFROM scratch AS last\n"
        ));
        // Nobody listens there, so no registry is asked.
        let mut build = env.command("build", ["--progress", "none", "--check", "context"]);
        let said = process::run(build.env("HTTPS_PROXY", "http://127.0.0.1:1")).stderr;
        let hints = said
            .lines()
            .filter(|line| line.starts_with("hint: ") && line.contains("stage"));
        hints.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(hints("COPY --from=nothing-like-it a /"), [""; 0]);
    assert_eq!(
        hints("COPY --from=biulder a /"),
        ["hint: did you mean the stage `builder`?"]
    );
    let below =
        "hint: `last` is a stage too, but not above this line: only stages above can be used";
    assert_eq!(hints("FROM last"), [below]);
}

#[test]
fn a_base_out_of_reach_does_not_hide_findings() {
    let env = place(&format!(
        "FROM {NOWHERE} AS x\nWORKDIR $HOME_OF_BASE/x\nFROM x AS y\nWORKDIR $HOME_OF_BASE/y\nFROM scratch\nCOPY --from=y $NOPE/a /\n"
    ));
    insta::assert_snapshot!(said(&check(&env, &[])), @r#"
    Check complete, 1 warning has been found!

    WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/
    Usage of undefined variable '$NOPE'
    Dockerfile:6
    --------------------
       4 |     WORKDIR $HOME_OF_BASE/y
       5 |     FROM scratch
       6 | >>> COPY --from=y $NOPE/a /
    --------------------
    --- standard error
    note: base image localhost:1/team/base:1 could not be looked at, so what depends on it was not checked: cannot resolve `localhost:1/team/base:1`: connection refused at `http://localhost:1/v2/`
    [exit code 1]
    "#);
    let env = place(&format!("FROM {NOWHERE}\nWORKDIR $HOME_OF_BASE/x\n"));
    let outcome = check(&env, &[]).succeeded();
    assert_eq!(outcome.stdout, "Check complete, no warnings found.\n");
    assert!(
        outcome
            .stderr
            .starts_with("note: base image localhost:1/team/base:1 ")
    );
}

#[test]
fn without_a_target_every_stage_is_checked() {
    let env = place("FROM scratch AS one\nCOPY $A/a /\nFROM scratch AS two\nCOPY $B/a /\n");
    let both = check(&env, &[]).exited(1).stdout;
    assert!(both.contains("'$A'") && both.contains("'$B'"), "{both}");
    let one = check(&env, &["--target", "one"]).exited(1).stdout;
    assert!(one.starts_with("Check complete, 1 warning "), "{one}");
    assert!(one.contains("'$A'"), "{one}");
}

#[test]
fn arguments_and_contexts_are_those_of_a_build() {
    let env = place("ARG BASE=localhost:1/x\nFROM $BASE\nARG DIR\nCOPY --from=more $DIR /x\n");
    env.write("more/a", "a\n");
    let outcome = check(
        &env,
        &[
            "--build-arg",
            "BASE=scratch",
            "--build-arg",
            "DIR=/a",
            "--build-context",
            "more=more",
            "--platform",
            "linux/arm64",
        ],
    );
    assert!(
        outcome.stdout.contains("no warnings found"),
        "{}",
        said(&outcome)
    );
}

#[test]
fn a_text_on_standard_input_is_checked_without_a_store() {
    let env = place("FROM scratch\n");
    env.write("text", "FROM scratch as x\n");
    let run = |arguments: &[&str]| {
        let mut command = env.command("check", ["-f", "-", "context"]);
        let text = fsio::open(env.path("text")).unwrap();
        process::run(command.args(arguments).stdin(text))
    };
    let outcome = run(&[]).exited(1);
    assert!(outcome.stdout.contains("WARNING: FromAsCasing"));
    let outcome = run(&["--fix"]).exited(2);
    assert!(
        outcome.stderr.contains("can be mended"),
        "{}",
        outcome.stderr
    );
    assert!(fsio::symlink_metadata(env.root()).is_err());
}

#[test]
fn what_add_names_is_not_fetched() {
    let env = place("FROM scratch\nADD http://localhost:1/x /x\nADD http://localhost:1/y.git /y\n");
    for outcome in [check(&env, &[]), call(&env, &["--check"])] {
        let text = said(&outcome);
        assert_eq!(text, "Check complete, no warnings found.\n[exit code 0]\n");
    }
}

/// What a build says of its findings.
fn findings_of(outcome: &Outcome) -> &str {
    let start = outcome
        .stderr
        .find("warning found")
        .or_else(|| outcome.stderr.find("warnings found"));
    let start = start.unwrap_or_else(|| panic!("no findings in {}", outcome.stderr));
    let line = outcome.stderr[..start].rfind('\n').map_or(0, |end| end + 1);
    let end = outcome
        .stderr
        .find("warning: the image has no name")
        .unwrap_or(outcome.stderr.len());
    &outcome.stderr[line..end]
}

#[test]
fn a_build_ends_with_its_findings() {
    let env = place("FROM scratch\nCOPY a \\\n\n /a\nCOPY ${NOPE}a /b\n");
    let short = env.build(["context"]).succeeded();
    insta::assert_snapshot!(findings_of(&short), @r#"
    2 warnings found (use --debug to expand):
    - NoEmptyContinuation: Empty continuation line (line 3)
    - UndefinedVar: Usage of undefined variable '$NOPE' (line 5)
    "#);
    let long = env.build(["--debug", "context"]).succeeded();
    insta::assert_snapshot!(findings_of(&long), @r#"
     2 warnings found:
     - NoEmptyContinuation: Empty continuation line (line 3)
    Empty continuation lines will become errors in a future release
    More info: https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/
    hint: remove the line, or let the line before it end the instruction
    Dockerfile:3
    --------------------
       1 |     FROM scratch
       2 |     COPY a \
       3 | >>>
       4 |      /a
       5 |     COPY ${NOPE}a /b
    --------------------

     - UndefinedVar: Usage of undefined variable '$NOPE' (line 5)
    Variables should be defined before their use
    More info: https://docs.docker.com/go/dockerfile/rule/undefined-var/
    hint: declare it with `ARG NOPE` or `ENV NOPE=...` above; as it is, it is empty
    Dockerfile:5
    --------------------
       3 |
       4 |      /a
       5 | >>> COPY ${NOPE}a /b
    --------------------
    "#);
    let silent = env.builder("build", ["--quiet", "context"]).succeeded();
    assert!(!silent.stderr.contains("warning"), "{}", silent.stderr);
}

#[test]
fn programs_get_findings_as_events() {
    let env = place("FROM scratch\nCOPY a \\\n\n /a\n");
    let outcome = env
        .builder("build", ["--progress", "rawjson", "context"])
        .succeeded();
    let events: Vec<Value> = outcome
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let findings: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "finding")
        .collect();
    assert_eq!(findings.len(), 1, "{}", outcome.stderr);
    assert_eq!(findings[0]["rule"], "NoEmptyContinuation");
    assert_eq!(findings[0]["message"], "Empty continuation line");
    assert_eq!(findings[0]["line"], 3);
    assert!(
        findings[0]["url"]
            .as_str()
            .unwrap()
            .ends_with("/no-empty-continuation/")
    );
}
