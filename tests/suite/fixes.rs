//! `builder check --fix` and `--diff`: what is edited, what is left alone, and what becomes of the file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use builder::fsio;
use serde_json::Value;

use crate::support::{Outcome, TestEnv};

/// Something for most of the rules that a machine can follow.
const SLOPPY: &str = "\
# syntax=docker/dockerfile:1
FROM --platform=$TARGETPLATFORM scratch as Tools
MAINTAINER Somebody <somebody@example.com>
ENV OPTIONS -v  -x
copy a \\

    /a
EXPOSE 80/TCP
FROM scratch
COPY --from=Tools /a /a
CMD serve -p 80
";

fn place(dockerfile: &str) -> TestEnv {
    let env = TestEnv::new();
    env.write("Dockerfile", dockerfile);
    env.write("a", "a\n");
    env
}

fn text(env: &TestEnv) -> String {
    fsio::read_to_string(env.path("Dockerfile")).unwrap()
}

fn check(env: &TestEnv, arguments: &[&str]) -> Outcome {
    env.builder("check", arguments)
}

#[test]
fn what_a_machine_can_mend_is_mended() {
    let env = place(SLOPPY);
    let path = env.path("Dockerfile");
    fsio::set_mode(&path, 0o600).unwrap();
    let outcome = check(&env, &["--fix"]).succeeded();
    insta::assert_snapshot!(outcome.stdout, @r#"
    Mended 9 warnings in Dockerfile:
     - ConsistentInstructionCasing: Command 'copy' should match the case of the command majority (uppercase) (line 5)
     - ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase (line 8)
     - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 2)
     - JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 11)
     - LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (line 4)
     - MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 3)
     - RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior (line 2)
     - StageNameCasing: Stage name 'Tools' should be lowercase (line 2)
     - NoEmptyContinuation: Empty continuation line (line 6)

    Check complete, no warnings found.
    "#);
    insta::assert_snapshot!(text(&env), @r#"
    # syntax=docker/dockerfile:1
    FROM scratch AS tools
    LABEL org.opencontainers.image.authors="Somebody <somebody@example.com>"
    ENV OPTIONS="-v  -x"
    COPY a \
        /a
    EXPOSE 80/tcp
    FROM scratch
    COPY --from=Tools /a /a
    CMD ["serve", "-p", "80"]
    "#);
    let mode = fsio::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let names = fsio::read_dir_sorted(env.path("")).unwrap();
    assert_eq!(
        names,
        ["Dockerfile", "a", "home"],
        "nothing is left beside it"
    );

    let again = check(&env, &["--fix"]).succeeded();
    assert_eq!(again.stdout, "Check complete, no warnings found.\n");
}

#[test]
fn a_diff_leaves_the_file_alone() {
    let env = place(SLOPPY);
    let outcome = check(&env, &["--diff"]).exited(1);
    insta::assert_snapshot!(outcome.stdout, @r#"
    --- Dockerfile
    +++ Dockerfile
    @@ -1,11 +1,10 @@
     # syntax=docker/dockerfile:1
    -FROM --platform=$TARGETPLATFORM scratch as Tools
    -MAINTAINER Somebody <somebody@example.com>
    -ENV OPTIONS -v  -x
    -copy a \
    -
    +FROM scratch AS tools
    +LABEL org.opencontainers.image.authors="Somebody <somebody@example.com>"
    +ENV OPTIONS="-v  -x"
    +COPY a \
         /a
    -EXPOSE 80/TCP
    +EXPOSE 80/tcp
     FROM scratch
     COPY --from=Tools /a /a
    -CMD serve -p 80
    +CMD ["serve", "-p", "80"]
    "#);
    assert_eq!(
        check(&env, &["--fix", "--dry-run"]).exited(1).stdout,
        outcome.stdout
    );
    assert_eq!(text(&env), SLOPPY);

    check(&env, &["--fix"]).succeeded();
    assert_eq!(check(&env, &["--diff"]).succeeded().stdout, "");
}

#[test]
fn what_would_make_another_image_is_left_alone() {
    for dockerfile in [
        // An entry point in a shell does not see the command, and one without gets the command's shell.
        "FROM scratch\nENTRYPOINT start it\nCMD [\"x\"]\n",
        "FROM scratch\nENTRYPOINT [\"/start\"]\nCMD run it\n",
        "FROM scratch AS a\nENTRYPOINT [\"/start\"]\nFROM a\nCMD run it\n",
        // Who knows.
        "FROM localhost:1/unknown\nCMD run it\n",
    ] {
        let env = place(dockerfile);
        let outcome = check(&env, &["--fix"]).exited(1);
        assert!(outcome.stdout.contains("WARNING: JSONArgsRecommended"));
        assert_eq!(text(&env), dockerfile);
    }
}

#[test]
fn a_link_stays_a_link_and_a_mistake_stays_a_mistake() {
    let env = TestEnv::new();
    env.write("real", "FROM scratch as x\n");
    fsio::symlink("real", env.path("Dockerfile")).unwrap();
    check(&env, &["--fix"]).succeeded();
    assert_eq!(
        fsio::read_link(env.path("Dockerfile")).unwrap(),
        Path::new("real")
    );
    assert_eq!(text(&env), "FROM scratch AS x\n");

    let env = place("FROM scratch as x\nCOPI a b\n");
    let outcome = check(&env, &["--fix"]).exited(1);
    assert!(outcome.stderr.contains("unknown instruction: COPI"));
    assert_eq!(text(&env), "FROM scratch as x\nCOPI a b\n");
}

#[test]
fn line_ends_and_a_byte_order_mark_stay() {
    let env = place("\u{feff}FROM scratch as x\r\nCOPY a \\\r\n\r\n  /a\r\n");
    check(&env, &["--fix"]).succeeded();
    assert_eq!(
        text(&env),
        "\u{feff}FROM scratch AS x\r\nCOPY a \\\r\n  /a\r\n"
    );
}

#[test]
fn sarif_fixes_are_the_same_edits() {
    let env = place("FROM scratch\nLABEL größe sehr groß\n");
    let log = check(&env, &["--format", "sarif"]).exited(1).stdout;
    let log: Value = serde_json::from_str(&log).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let legacy = results
        .iter()
        .find(|result| result["ruleId"] == "LegacyKeyValueFormat")
        .unwrap();
    let change = &legacy["fixes"][0]["artifactChanges"][0];
    let expected = serde_json::json!({
        "artifactLocation": {"uri": "Dockerfile"},
        "replacements": [{
            "deletedRegion": {"startLine": 2, "startColumn": 7, "endLine": 2, "endColumn": 22},
            "insertedContent": {"text": "größe=\"sehr groß\""},
        }],
    });
    assert_eq!(*change, expected);
}
