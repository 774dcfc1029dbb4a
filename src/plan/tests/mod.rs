//! Planning of small Dockerfiles, end to end.

mod platforms;

use serde_json::json;

use super::*;
use crate::oci::Platform;
use crate::source::SourceMap;

fn options() -> PlanOptions {
    PlanOptions {
        target: None,
        all_stages: false,
        build_args: std::collections::BTreeMap::new(),
        labels: Vec::new(),
        platform: None,
        build_platform: Platform::new("linux", "amd64", ""),
        context: MainContext::Directory,
        contexts: std::collections::BTreeMap::new(),
        network: NetworkMode::Default,
        no_cache: NoCache::Never,
        entitlements: Entitlements::default(),
    }
}

fn plan_with(text: &str, options: &PlanOptions) -> Result<Lowered, String> {
    plan_resolved(text, options, &ResolvedBases::new())
}

fn plan_resolved(
    text: &str,
    options: &PlanOptions,
    resolved: &ResolvedBases,
) -> Result<Lowered, String> {
    let mut sources = SourceMap::default();
    let file = sources.add("Dockerfile", text.as_bytes().to_vec()).unwrap();
    let parsed = crate::dockerfile::parse(&file);
    let dockerfile = parsed
        .dockerfile
        .unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
    lower(&dockerfile, &mut sources, options, resolved)
        .map_err(|diagnostics| diagnostics[0].message.clone())
}

fn plan(text: &str) -> Plan {
    match plan_with(text, &options()) {
        Ok(Lowered::Plan(plan)) => *plan,
        other => panic!("{other:?}"),
    }
}

fn error(text: &str) -> String {
    plan_with(text, &options()).unwrap_err()
}

fn texts(plan: &Plan) -> Vec<&str> {
    plan.images[0]
        .history
        .iter()
        .map(|entry| entry.created_by.as_str())
        .collect()
}

#[test]
fn only_what_the_target_needs_is_planned() {
    let file = "FROM busybox AS never\nRUN false\nFROM scratch AS a\nCOPY x /x\nFROM scratch\nCOPY --from=a /x /y\n";
    let plan = plan(file);
    assert_eq!(plan.bases, []);
    assert_eq!(plan.steps.len(), 2);
    assert_eq!(
        plan.steps[1].inputs(),
        [StateRef::Scratch, StateRef::Step(StepId(0))]
    );
}

#[test]
fn images_are_asked_for_before_there_is_a_plan() {
    let Ok(Lowered::Needs(needs)) = plan_with(
        "FROM a\nCOPY --from=b / /\nFROM c\nCOPY --from=0 / /\n",
        &options(),
    ) else {
        panic!()
    };
    assert_eq!(needs.len(), 3);
}

#[test]
fn a_number_is_a_stage_for_copy_and_an_image_for_a_mount() {
    let file = "FROM scratch\nFROM scratch\nRUN --mount=from=0,target=/m x\n";
    let Ok(Lowered::Needs(needs)) = plan_with(file, &options()) else {
        panic!()
    };
    assert_eq!(needs.len(), 1);
}

#[test]
fn values_of_one_env_see_the_environment_before_it() {
    let plan = plan("FROM scratch\nENV abc=hello\nENV abc=bye def=$abc\n");
    assert_eq!(texts(&plan), ["ENV abc=hello", "ENV abc=bye def=hello"]);
}

#[test]
fn args_reach_run_and_history_but_not_the_image() {
    let mut options = options();
    options
        .build_args
        .insert("A".to_owned(), "given".to_owned());
    let file = "ARG G=global\nFROM scratch\nARG A=1 B G\nRUN x\n";
    let Ok(Lowered::Plan(plan)) = plan_with(file, &options) else {
        panic!()
    };
    assert_eq!(
        texts(&plan),
        [
            "ARG A=given B G=global",
            "RUN |3 A=given B= G=global /bin/sh -c x # buildkit"
        ]
    );
    assert!(!format!("{:?}", plan.images[0].config).contains("given"));
    let StepKind::Run(run) = &plan.steps[0].kind else {
        panic!()
    };
    assert!(run.env.contains(&("A".to_owned(), "given".to_owned())));
}

#[test]
fn entrypoint_resets_an_inherited_cmd_only() {
    let cmd = |file: &str| plan(file).images[0].config.get::<Vec<String>>("Cmd");
    assert_eq!(
        cmd("FROM scratch AS a\nCMD [\"x\"]\nFROM a\nENTRYPOINT [\"y\"]\n"),
        None
    );
    assert_eq!(
        cmd("FROM scratch\nCMD [\"x\"]\nENTRYPOINT [\"y\"]\n"),
        Some(vec!["x".to_owned()])
    );
}

#[test]
fn triggers_of_a_stage_run_once_downstream() {
    let file = "FROM scratch AS a\nONBUILD ENV X=1\nFROM a AS b\nFROM b\n";
    let plan = plan(file);
    assert_eq!(texts(&plan), ["ENV X=1"]);
    assert_eq!(plan.images[0].config.on_build(), Vec::<String>::new());
}

#[test]
fn wrong_references() {
    for (file, expected) in [
        (
            "FROM scratch AS a\nCOPY --from=a / /\n",
            "circular dependency detected on stage: a",
        ),
        (
            "FROM scratch AS a\nCOPY --from=b / /\nFROM a AS b\n",
            "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"",
        ),
        ("FROM scratch\nCOPY --from=7 / /\n", "invalid stage index 7"),
        (
            "# syntax=foo/bar:1\nFROM scratch\n",
            "unknown frontend `foo/bar:1`",
        ),
        ("FROM $X\n", "base name ($X) should not be blank"),
        ("FROM a:b:c\n", "failed to parse stage name \"a:b:c\""),
        ("FROM scratch\nSTOPSIGNAL FOO\n", "invalid signal: FOO"),
        (
            "FROM scratch\nRUN --network=host x\n",
            "network.host is not allowed",
        ),
    ] {
        let error = error(file);
        assert!(error.contains(expected), "{file}: {error}");
    }
}

#[test]
fn stages_stand_in_for_images_and_contexts_for_platforms() {
    let mut options = options();
    let stage = NamedContext::Stage("mine".to_owned());
    options
        .contexts
        .insert(context_name("golang:latest"), stage.clone());
    options
        .contexts
        .insert(context_name("base::linux/aarch64"), NamedContext::Scratch);
    let file = "FROM scratch AS mine\nCOPY a /a\nFROM --platform=linux/arm64 base\nCOPY --from=golang /a /b\n";
    let Ok(Lowered::Plan(plan)) = plan_with(file, &options) else {
        panic!()
    };
    assert_eq!(
        plan.steps[1].inputs(),
        [StateRef::Scratch, StateRef::Step(StepId(0))]
    );
    let Ok(Lowered::Needs(needs)) = plan_with("FROM base\n", &options) else {
        panic!()
    };
    assert_eq!(needs.len(), 1);
    for (file, expected) in [
        ("FROM golang AS mine\n", "circular dependency detected"),
        (
            "FROM golang\nFROM scratch AS mine\n",
            "needs to be defined before",
        ),
        ("FROM golang\n", "could not be found"),
    ] {
        let error = plan_with(file, &options).unwrap_err();
        assert!(error.contains(expected), "{file}: {error}");
    }
}

#[test]
fn a_stage_adopts_the_platform_of_its_base_if_nobody_asked_for_one() {
    let image = |arch: &str| {
        let config = format!(
            r#"{{"os":"linux","architecture":"{arch}","config":{{}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        );
        std::sync::Arc::new(crate::oci::BaseImage {
            time: None,
            name: "base".to_owned(),
            digest: crate::oci::Digest::of("base"),
            config: crate::oci::Config::parse(config.as_bytes()).unwrap(),
            layers: Vec::new(),
        })
    };
    let built = |file: &str, platform: Option<&str>| {
        let options = PlanOptions {
            platform: platform.map(|p| p.parse().unwrap()),
            ..options()
        };
        let mut resolved = ResolvedBases::new();
        loop {
            match plan_resolved(file, &options, &resolved).unwrap() {
                Lowered::Plan(plan) => break *plan,
                Lowered::Needs(needs) => {
                    let found = needs
                        .into_iter()
                        .map(|(request, _)| (request, image("arm64")));
                    resolved.extend(found);
                }
            }
        }
    };
    let file = "FROM base AS a\nFROM a\nRUN x\n";
    let plan = built(file, None);
    assert_eq!(plan.steps[0].platform.to_string(), "linux/arm64");
    assert_eq!(plan.observations, []);
    let plan = built(file, Some("linux/amd64"));
    assert_eq!(plan.steps[0].platform.to_string(), "linux/amd64");
    let fact = &plan.observations[0].fact;
    assert!(matches!(fact, Fact::BasePlatform { .. }), "{fact:?}");
    assert_eq!(plan.images[0].config.platform().to_string(), "linux/amd64");
}

#[test]
fn branches_of_a_stage_do_not_see_each_other() {
    let plan = plan(
        "FROM scratch AS large\nENV A=1\nEXPOSE 80\nLABEL l=1\nCMD [\"a\"]\n\
         FROM large AS left\nENV A=2\nEXPOSE 81\nLABEL l=2\nUSER 1\n\
         FROM large AS right\nENV B=3\nEXPOSE 80-82/udp\nRUN x\n\
         FROM right\nCOPY --from=left a /\nWORKDIR /w\n",
    );
    let config = plan.images[0].config.raw()["config"].clone();
    let ports = ["80/tcp", "80/udp", "81/udp", "82/udp"].map(|port| (port, json!({})));
    let ports: serde_json::Map<_, _> = ports.map(|(k, v)| (k.to_owned(), v)).into_iter().collect();
    assert_eq!(config["ExposedPorts"], json!(ports));
    assert_eq!(config["Labels"], json!({"l": "1"}));
    assert_eq!(config.get("User"), None);
    let path = format!("PATH={DEFAULT_PATH}");
    assert_eq!(config["Env"], json!([path, "A=1", "B=3"]));
    assert_eq!(
        texts(&plan),
        [
            "ENV A=1",
            "EXPOSE [80/tcp]",
            "LABEL l=1",
            "CMD [\"a\"]",
            "ENV B=3",
            "EXPOSE [80/udp 81/udp 82/udp]",
            "RUN /bin/sh -c x # buildkit",
            "COPY a / # buildkit",
            "WORKDIR /w",
        ]
    );
}

#[test]
fn a_name_that_is_no_image_may_have_been_meant_for_a_stage() {
    let mut sources = SourceMap::default();
    let text = b"FROM scratch AS Builder\nFROM scratch AS x\nFROM scratch AS web\n".to_vec();
    let file = sources.add("Dockerfile", text).unwrap();
    let dockerfile = crate::dockerfile::parse(&file).dockerfile.unwrap();
    let hint = |name: &str| stage_hint(&dockerfile, name);
    for slip in ["build", "biulder", "Buildr", "builder2:latest"] {
        let meant = "did you mean the stage `builder`?";
        assert_eq!(hint(slip).as_deref(), Some(meant), "{slip}");
    }
    let below = "`web` is a stage too, but not above this line: only stages above can be used";
    assert_eq!(hint("web").as_deref(), Some(below));
    for other in [
        "",
        "y",
        "wob/x",
        "nginx",
        "node",
        "bundle",
        &"builder".repeat(9),
    ] {
        assert_eq!(hint(other), None, "{other}");
    }
    assert_eq!(
        hint("wep").as_deref(),
        Some("did you mean the stage `web`?")
    );
}
