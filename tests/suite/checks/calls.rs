//! `builder build --call`: what a Dockerfile offers and takes.

use serde_json::Value;

use super::{call, place, said};

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
