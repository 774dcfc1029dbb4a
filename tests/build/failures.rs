//! Builds that cannot succeed: what the user reads, the exit code, and that the next build works.

use std::ffi::OsString;

use crate::support::bases::{self, Base};
use crate::support::http;
use crate::support::progress::Progress;
use crate::support::{Outcome, TestEnv, require_capability};

/// Builds a Dockerfile of this text on busybox.
fn build(env: &TestEnv, dockerfile: impl AsRef<[u8]>) -> Outcome {
    env.write("context/Dockerfile", dockerfile);
    env.write("context/present.txt", "here\n");
    let mut arguments: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
    arguments.push("context".into());
    env.build(arguments)
}

/// Panics unless the message contains all of `words`.
#[track_caller]
fn says(outcome: &Outcome, words: &[&str]) {
    for word in words {
        assert!(
            outcome.stderr.contains(word),
            "no `{word}` in\n{}",
            outcome.stderr
        );
    }
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

#[test]
fn a_misspelt_instruction_gets_a_suggestion() {
    require_capability!(Base(Busybox));
    let outcome = build(&TestEnv::new(), "FROM base\nCOPPY a b\n").exited(1);
    says(&outcome, &["Dockerfile:2", "COPPY a b", "COPY?"]);
}

#[test]
fn a_missing_source_is_named_with_its_line() {
    require_capability!(Base(Busybox));
    let outcome = build(&TestEnv::new(), "FROM base\nCOPY absent.txt /\n").exited(1);
    says(
        &outcome,
        &["Dockerfile:2", "absent.txt", "COPY absent.txt /"],
    );
}

#[test]
fn a_failing_command_is_reported_and_the_next_build_works() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let dockerfile = "FROM base\nRUN echo before >/a\nRUN echo last words; exit 7\n";
    let outcome = build(&env, dockerfile).exited(1);
    says(&outcome, &["Dockerfile:3", "exit code: 7", "last words"]);
    let outcome = build(&env, "FROM base\nRUN echo before >/a\nRUN true\n").succeeded();
    assert_eq!(Progress::read(&outcome.stderr).ran(), ["RUN true"]);
}

#[test]
fn a_registry_that_does_not_answer_is_the_machines_fault() {
    let env = TestEnv::new();
    let base = format!("localhost:{}/absent:1", http::free_port());
    env.write("context/Dockerfile", format!("FROM {base}\n"));
    let outcome = env.build(["context"]).exited(3);
    says(&outcome, &["Dockerfile:1", &base]);
}

#[test]
fn a_context_that_is_not_there_is_named() {
    let env = TestEnv::new();
    let outcome = env.build(["nowhere"]);
    assert_ne!(outcome.code, Some(0));
    says(&outcome, &["nowhere"]);
}

#[test]
fn dockerfiles_that_are_none_are_refused() {
    require_capability!(Base(Busybox));
    let long = format!("FROM base\nLABEL text=\"{}\n", "x".repeat(100_000));
    for (dockerfile, words) in [
        (&b""[..], "Dockerfile"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"# only a comment\n", "no instructions"),
        (b"COPY a b\n", "FROM"),
        (long.as_bytes(), "Dockerfile:2"),
    ] {
        let outcome = build(&TestEnv::new(), dockerfile).exited(1);
        says(&outcome, &[words]);
        assert!(outcome.stderr.len() < 10_000, "a message for a person");
    }
}

#[test]
fn an_unknown_flag_is_wrong_usage() {
    let outcome = TestEnv::new().build(["--no-such-flag", "."]).exited(2);
    says(&outcome, &["--no-such-flag"]);
}
