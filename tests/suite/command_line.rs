//! Forms of flags that scripts have which were written for `docker buildx build`, and what is refused.

use builder::fsio;

use crate::support::{Outcome, TestEnv};

fn place() -> TestEnv {
    let env = TestEnv::new();
    env.write(
        "context/Dockerfile",
        "FROM scratch AS only\nARG A\nLABEL a=$A\n",
    );
    env
}

fn build(env: &TestEnv, flags: &str) -> Outcome {
    let flags = flags.split(' ').filter(|flag| !flag.is_empty());
    env.build(flags.chain(["context"]))
}

#[test]
fn flags_mean_what_they_mean_there() {
    let env = place();
    let id = |flags: &str| {
        build(&env, &format!("-q {flags}"))
            .succeeded()
            .line()
            .to_owned()
    };
    let plain = id("");
    assert!(plain.starts_with("sha256:"), "{plain}");
    for same in [
        "--platform local",
        "--platform=",
        "--no-cache=false --pull=false --push=false --check=false",
        "--build-arg NOBODY_HAS_IT",
        "--build-arg UNUSED=1",
        "--no-cache",
        "--no-cache-filter only,other",
        "--target ONLY",
        "--target 0",
    ] {
        let epoch = "--build-arg SOURCE_DATE_EPOCH=0";
        assert_eq!(id(&format!("{epoch} {same}")), id(epoch), "{same}");
    }
    assert_ne!(id("--build-arg A=1"), plain);
    assert_ne!(id("--label b=1"), plain);
    build(&env, "--iidfile id --quiet=false").succeeded();
    let written = fsio::read_to_string(env.path("id")).unwrap();
    assert!(written.starts_with("sha256:") && !written.ends_with('\n'));
    let called = build(&env, "--call=targets").succeeded().stdout;
    assert_eq!(build(&env, "--print=targets").succeeded().stdout, called);
}

#[test]
fn wrong_usage_is_said_before_anything_is_done() {
    let env = place();
    for (flags, message) in [
        ("--label =x", "invalid label \"=x\": empty name"),
        ("--label", "a value is required for '--label <KEY=VALUE>'"),
        ("--pull=perhaps", "expected true or false"),
        ("--print=all", "unknown method `all`"),
        ("--platform a/b/c/d", "failed to parse platform a/b/c/d"),
        (
            "--no-cache --no-cache-filter only",
            "--no-cache and --no-cache-filter cannot currently be used together",
        ),
        ("--tag Upper", "invalid tag \"Upper\""),
        (
            "--build-context x",
            "invalid context value: x, expected key=value",
        ),
        ("--progress=loud", "possible values: auto, plain, tty"),
        ("--nosuch", "unexpected argument '--nosuch'"),
    ] {
        let mut words: Vec<&str> = vec!["context"];
        words.extend(flags.split(' '));
        let failed = env.builder("build", &words).exited(2);
        assert!(
            failed.stderr.contains(message),
            "{flags}: {}",
            failed.stderr
        );
        assert_eq!(failed.stdout, "", "{flags}");
    }
    assert!(fsio::metadata(env.root()).is_err(), "nothing was begun");
}
