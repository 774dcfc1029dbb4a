//! `builder check`, `builder build --check` and `--call`, and the findings that a build ends with: whole runs of the program.

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
    hint: check the registry's address, the network and the proxy settings
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

#[test]
fn a_file_that_is_no_text_is_a_mistake_for_programs_too() {
    let env = TestEnv::new();
    env.write("context/Dockerfile", b"FROM scratch\n\xff\n");
    let json = check(&env, &["--format", "json"]).exited(1).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let message = json["buildError"]["message"].as_str().unwrap();
    assert!(message.contains("not valid UTF-8"), "{message}");
}

#[test]
fn the_json_is_that_of_the_reference_client() {
    let env = place(DOUBTFUL);
    let outcome = call(&env, &["--call=check,format=json"]).exited(1);
    assert_eq!(outcome.stdout, check(&env, &["--format", "json"]).stdout);
    let mut json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let data = json["sources"][0]["data"].take();
    let text = builder::oci::base64::decode(data.as_str().unwrap()).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), DOUBTFUL);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
    {
      "sources": [
        {
          "data": null,
          "filename": "Dockerfile",
          "language": "Dockerfile"
        }
      ],
      "warnings": [
        {
          "description": "Empty continuation lines will become errors in a future release",
          "detail": "Empty continuation line",
          "location": {
            "ranges": [
              {
                "end": {
                  "character": 0,
                  "line": 3
                },
                "start": {
                  "character": 0,
                  "line": 3
                }
              }
            ],
            "sourceIndex": 0
          },
          "ruleName": "NoEmptyContinuation",
          "url": "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"
        },
        {
          "description": "Variables should be defined before their use",
          "detail": "Usage of undefined variable '$NOPE'",
          "location": {
            "ranges": [
              {
                "end": {
                  "character": 24,
                  "line": 6
                },
                "start": {
                  "character": 17,
                  "line": 6
                }
              }
            ],
            "sourceIndex": 0
          },
          "ruleName": "UndefinedVar",
          "url": "https://docs.docker.com/go/dockerfile/rule/undefined-var/"
        }
      ]
    }
    "#);
}

#[test]
fn the_json_has_the_mistake_that_ends_the_build() {
    let env = place("FROM scratch\nCOPY a\n");
    let outcome = call(&env, &["--call=check,format=json"]).exited(1);
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json["buildError"]).unwrap(), @r#"
    {
      "location": {
        "ranges": [
          {
            "end": {
              "character": 6,
              "line": 2
            },
            "start": {
              "character": 0,
              "line": 2
            }
          }
        ],
        "sourceIndex": 0
      },
      "message": "dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined"
    }
    "#);
}

/// What the SARIF 2.1.0 schema demands of a log, for the properties that are used.
fn assert_sarif(log: &Value) {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    assert_eq!(log["version"], "2.1.0");
    assert!(text(&log["$schema"]));
    for run in log["runs"].as_array().unwrap() {
        let driver = &run["tool"]["driver"];
        assert!(text(&driver["name"]) && text(&driver["semanticVersion"]));
        let rules = driver["rules"].as_array().unwrap();
        for rule in rules {
            assert!(text(&rule["id"]) && text(&rule["shortDescription"]["text"]));
            assert!(
                rule.get("helpUri")
                    .is_none_or(|uri| uri.as_str().unwrap().starts_with("https://"))
            );
        }
        assert_eq!(run["columnKind"], "unicodeCodePoints");
        for invocation in run["invocations"].as_array().unwrap() {
            assert!(invocation["executionSuccessful"].is_boolean());
        }
        for result in run["results"].as_array().unwrap() {
            assert!(text(&result["message"]["text"]) && text(&result["ruleId"]));
            assert!(matches!(
                result["level"].as_str(),
                Some("warning" | "error")
            ));
            if let Some(index) = result.get("ruleIndex") {
                let index = usize::try_from(index.as_u64().unwrap()).unwrap();
                assert_eq!(rules[index]["id"], result["ruleId"]);
            }
            for location in result["locations"].as_array().unwrap() {
                let physical = &location["physicalLocation"];
                assert!(text(&physical["artifactLocation"]["uri"]));
                assert_region(&physical["region"]);
            }
            for fix in result["fixes"].as_array().into_iter().flatten() {
                for change in fix["artifactChanges"].as_array().unwrap() {
                    assert!(text(&change["artifactLocation"]["uri"]));
                    let replacements = change["replacements"].as_array().unwrap();
                    assert!(!replacements.is_empty());
                    for replacement in replacements {
                        assert_region(&replacement["deletedRegion"]);
                        assert!(replacement["insertedContent"]["text"].is_string());
                    }
                }
            }
        }
    }
}

fn assert_region(region: &Value) {
    let number = |key: &str| {
        region[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {region}"))
    };
    let start = (number("startLine"), number("startColumn"));
    let end = (number("endLine"), number("endColumn"));
    assert!(
        start >= (1, 1) && end.0 >= 1 && end.1 >= 1 && start <= end,
        "{region}"
    );
}

#[test]
fn sarif_has_rules_results_and_regions() {
    let env = place(DOUBTFUL);
    let outcome = check(&env, &["--format", "sarif"]).exited(1);
    let log: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_sarif(&log);
    let run = &log["runs"][0];
    assert_eq!(run["artifacts"][0]["location"]["uri"], "context/Dockerfile");
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    let mut result = results[1].clone();
    assert!(result["ruleIndex"].take().is_number());
    insta::assert_snapshot!(serde_json::to_string_pretty(&result).unwrap(), @r#"
    {
      "level": "warning",
      "locations": [
        {
          "physicalLocation": {
            "artifactLocation": {
              "index": 0,
              "uri": "context/Dockerfile"
            },
            "region": {
              "endColumn": 25,
              "endLine": 6,
              "startColumn": 18,
              "startLine": 6
            }
          }
        }
      ],
      "message": {
        "text": "Usage of undefined variable '$NOPE'"
      },
      "ruleId": "UndefinedVar",
      "ruleIndex": null
    }
    "#);
}

#[test]
fn sarif_has_mistakes_and_bases_out_of_reach() {
    let env = place("FROM scratch\nCOPI a /\n");
    let log = check(&env, &["--format", "sarif"]).exited(1).stdout;
    let log: Value = serde_json::from_str(&log).unwrap();
    assert_sarif(&log);
    assert_eq!(
        log["runs"][0]["invocations"][0]["executionSuccessful"],
        false
    );
    assert_eq!(log["runs"][0]["results"][0]["level"], "error");

    let env = place(&format!("FROM {NOWHERE}\n"));
    let log = check(&env, &["--format", "sarif"]).succeeded().stdout;
    let log: Value = serde_json::from_str(&log).unwrap();
    assert_sarif(&log);
    let note = &log["runs"][0]["invocations"][0]["toolExecutionNotifications"][0];
    assert_eq!(note["level"], "note");
    assert!(note["message"]["text"].as_str().unwrap().contains(NOWHERE));
}

/// Comments that describe, arguments of every kind, mounts.
const DESCRIBED: &str = "\
# VERSION what to build
ARG VERSION=1.2
ARG IMAGE=library/app
ARG BASE=$IMAGE:$VERSION
ARG UNUSED=1
# tools has what the others need
FROM scratch AS tools
ARG ONLY_TOOLS=x

# not about build, its first word is another
# build makes it
FROM --platform=$BUILDPLATFORM localhost:1/$BASE AS Build
# VERSION is said better above
ARG VERSION
# EXTRA more of it

# MODE how
ARG EXTRA MODE=$VERSION-fast
ARG TARGETARCH
ENV KEY=key
RUN --mount=type=secret,id=$KEY,required --mount=type=secret,id=other make
RUN --mount=type=secret,id=other,required --mount=type=ssh make
FROM scratch
COPY --from=Build /a /a
";

#[test]
fn an_outline_lists_what_a_target_takes() {
    let env = place(DESCRIBED);
    insta::assert_snapshot!(said(&call(&env, &["--call=outline", "--target=build"])), @r#"
    TARGET:      build
    DESCRIPTION: makes it

    BUILD ARG   VALUE             DESCRIPTION
    VERSION     1.2               what to build
    IMAGE       library/app
    BASE        library/app:1.2
    EXTRA                         more of it
    MODE        1.2-fast          how

    SECRET   REQUIRED
    key      true
    other    true

    SSH       REQUIRED
    default
    [exit code 0]
    "#);
    insta::assert_snapshot!(said(&call(&env, &["--call=outline", "--target=tools"])), @r#"
    TARGET:      tools
    DESCRIPTION: has what the others need

    BUILD ARG    VALUE   DESCRIPTION
    ONLY_TOOLS   x
    [exit code 0]
    "#);
    let given = [
        "--call=outline",
        "--build-arg=VERSION=2",
        "--build-arg=BASE=x:1",
    ];
    insta::assert_snapshot!(said(&call(&env, &given)), @r#"
    BUILD ARG   VALUE    DESCRIPTION
    BASE        x:1
    VERSION     2        is said better above
    EXTRA                more of it
    MODE        2-fast   how

    SECRET   REQUIRED
    key      true
    other    true

    SSH       REQUIRED
    default
    [exit code 0]
    "#);
    let json = call(&env, &["--call=outline,format=json", "--target=build"]).succeeded();
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["name"], "build");
    assert_eq!(json["args"][0]["location"]["ranges"][0]["start"]["line"], 2);
    assert_eq!(json["secrets"][0]["name"], "key");
    assert_eq!(json["secrets"][0]["required"], true);
    assert_eq!(json["ssh"][0]["name"], "default");
    assert_eq!(json["ssh"][0].get("required"), None);
}

#[test]
fn arguments_may_be_made_of_each_other_without_end() {
    use std::fmt::Write as _;
    let mut text = "ARG A0=x\n".to_owned();
    for number in 1..20_000 {
        writeln!(text, "ARG A{number}=$A{}", number - 1).unwrap();
    }
    let env = place(&format!("{text}FROM $A19999\n"));
    let outline = call(&env, &["--call=outline,format=json"]).succeeded();
    let outline: Value = serde_json::from_str(&outline.stdout).unwrap();
    let arguments = outline["args"].as_array().unwrap();
    assert_eq!(arguments.len(), 20_000);
    assert_eq!(arguments[19_999]["value"], "x");
}

#[test]
fn targets_are_listed_with_what_the_comments_say() {
    let env = place(DESCRIBED);
    insta::assert_snapshot!(said(&call(&env, &["--call=targets"])), @r#"
    TARGET      DESCRIPTION
    tools       has what the others need
    build       makes it
    (default)
    [exit code 0]
    "#);
    let json = call(&env, &["--call=targets,format=json"]).succeeded();
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let build = &json["targets"][1];
    assert_eq!(build["name"], "build");
    assert_eq!(build["base"], "localhost:1/$BASE");
    assert_eq!(build["platform"], "$BUILDPLATFORM");
    assert_eq!(build["description"], "makes it");
    assert_eq!(build.get("default"), None);
    assert_eq!(json["targets"][2]["default"], true);
    assert_eq!(json["targets"][2].get("name"), None);
}

#[test]
fn the_methods_are_listed_and_others_refused() {
    let env = place("FROM scratch\n");
    insta::assert_snapshot!(said(&call(&env, &["--call=subrequests.describe"])), @r#"
    NAME                   VERSION   DESCRIPTION
    outline                1.0.0     Arguments, secrets and SSH agents of a target
    targets                1.0.0     Stages that can be built
    lint                   1.0.0     Doubts about the Dockerfile
    subrequests.describe   1.0.0     This list
    [exit code 0]
    "#);
    let json = call(&env, &["--call=subrequests.describe,format=json"]).succeeded();
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json[0]["name"], "frontend.outline");
    for wrong in [
        "--call=dance",
        "--call=check,format=xml",
        "--call=check,outline",
    ] {
        let outcome = call(&env, &[wrong]).exited(2);
        assert!(outcome.stderr.contains("--call"), "{}", outcome.stderr);
    }
    let outcome = call(&env, &["--call=outline", "--target=nope"]).exited(1);
    assert!(
        outcome
            .stderr
            .contains("target stage \"nope\" could not be found")
    );
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
