//! Several platforms in one graph, against a plan of each on its own.

use proptest::prelude::*;

use super::super::*;
use super::{options, plan_with};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/arm/v7"];

fn plan_for(text: &str, platform: &str) -> Plan {
    let options = PlanOptions {
        platform: Some(platform.parse().unwrap()),
        ..options()
    };
    match plan_with(text, &options) {
        Ok(Lowered::Plan(plan)) => *plan,
        other => panic!("{text}\n{other:?}"),
    }
}

fn merged(text: &str, platforms: &[&str]) -> Plan {
    merge(platforms.iter().map(|p| plan_for(text, p)).collect())
}

fn labels(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.label.as_str()).collect()
}

/// All that an image is made of, without the numbers of its steps.
fn unfolded(plan: &Plan, image: &PlannedImage) -> String {
    let mut text = format!("{:?} {:?}\n", image.platform, image.config);
    for entry in &image.history {
        text.push_str(&format!("{} {}\n", entry.created_by, entry.step.is_some()));
    }
    unfold(plan, image.state, &mut text);
    text
}

fn unfold(plan: &Plan, state: StateRef, text: &mut String) {
    let StateRef::Step(id) = state else {
        text.push_str("scratch ");
        return;
    };
    let step = plan.step(id);
    let mut plain = step.clone();
    plain.map_states(&mut |_| StateRef::Scratch);
    text.push_str(&format!("{} {:?}\n", plain.platform, plain.kind));
    for input in step.inputs() {
        text.push('(');
        unfold(plan, input, text);
        text.push(')');
    }
}

#[test]
fn what_runs_on_the_build_platform_runs_once() {
    let file = "FROM --platform=$BUILDPLATFORM scratch AS tools\nRUN make\nFROM scratch\nCOPY --from=tools /a /a\nRUN /a\n";
    let plan = merged(file, &["linux/amd64", "linux/arm64"]);
    assert_eq!(
        labels(&plan),
        [
            "[linux/amd64 tools 2/2] RUN make",
            "[linux/amd64 stage-1 2/3] COPY --from=tools /a /a",
            "[linux/amd64 stage-1 3/3] RUN /a",
            "[linux/arm64 stage-1 2/3] COPY --from=tools /a /a",
            "[linux/arm64 stage-1 3/3] RUN /a",
        ]
    );
    let platforms: Vec<String> = plan.images.iter().map(|i| i.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
}

#[test]
fn a_step_that_knows_its_target_runs_for_each() {
    let file = "FROM --platform=$BUILDPLATFORM scratch AS b\nARG TARGETARCH\nRUN make\nFROM scratch\nCOPY --from=b / /\n";
    let plan = merged(file, &["linux/arm64", "linux/arm/v7"]);
    assert_eq!(
        labels(&plan)[..2],
        [
            "[linux/amd64->arm64 b 2/2] RUN make",
            "[linux/arm64 stage-1 2/2] COPY --from=b / /",
        ]
    );
    assert_eq!(labels(&plan)[2], "[linux/amd64->arm/v7 b 2/2] RUN make");
}

#[test]
fn one_plan_stays_as_it_is() {
    let file = "FROM scratch AS a\nRUN x\nFROM scratch AS b\nRUN x\nFROM scratch\nCOPY --from=a / /a\nCOPY --from=b / /b\n";
    let alone = plan_for(file, "linux/arm64");
    assert_eq!(dump(&merge(vec![alone.clone()])), dump(&alone));
}

#[test]
fn a_warning_is_given_once() {
    let file = "FROM scratch\nCOPY $nothing /x\n";
    assert_eq!(merged(file, &PLATFORMS).observations.len(), 1);
}

/// Numbers that a stage is made of: whether it is for the build platform, what it starts from, what it does.
type StageNumbers = (bool, usize, Vec<(usize, usize)>);

/// A Dockerfile of stages that use each other.
fn dockerfile(stages: &[StageNumbers]) -> String {
    let mut text = String::new();
    for (index, (on_build, base, instructions)) in stages.iter().enumerate() {
        let from = match base % (index + 1) {
            0 => "scratch".to_owned(),
            earlier => format!("s{}", earlier - 1),
        };
        let platform = if *on_build {
            "--platform=$BUILDPLATFORM "
        } else {
            ""
        };
        text.push_str(&format!("FROM {platform}{from} AS s{index}\n"));
        for (kind, number) in instructions {
            let number = number % 3;
            text.push_str(&match kind % 5 {
                0 => format!("RUN command {number}\n"),
                1 if index > 0 => format!("COPY --from=s{} /a /{number}\n", number % index),
                1 | 2 => format!("COPY file{number} /\n"),
                3 if index > 0 => format!("RUN --mount=from=s{},target=/m x\n", number % index),
                3 => "ENV A=$TARGETARCH\n".to_owned(),
                _ => "ARG TARGETARCH\n".to_owned(),
            });
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_merged_graph_makes_what_separate_ones_make(
        stages in proptest::collection::vec(
            (any::<bool>(), 0_usize..4, proptest::collection::vec((0_usize..5, 0_usize..6), 0..5)),
            1..5,
        ),
        count in 1_usize..4,
    ) {
        let text = dockerfile(&stages);
        let platforms = &PLATFORMS[..count];
        let separate: Vec<Plan> = platforms.iter().map(|p| plan_for(&text, p)).collect();
        let merged = merge(separate.clone());
        prop_assert_eq!(merged.images.len(), count);
        for (plan, image) in separate.iter().zip(&merged.images) {
            prop_assert_eq!(unfolded(plan, &plan.images[0]), unfolded(&merged, image));
        }
        for (index, step) in merged.steps.iter().enumerate() {
            for input in step.inputs() {
                prop_assert!(!matches!(input, StateRef::Step(id) if id.0 >= index), "{}", text);
            }
        }
        // No step of one platform is there again for another one.
        let most = separate.iter().map(|plan| equal_pairs(&plan.steps)).sum::<usize>();
        prop_assert!(equal_pairs(&merged.steps) <= most, "{}", text);
    }
}

fn equal_pairs(steps: &[Step]) -> usize {
    let pairs = steps.iter().enumerate().map(|(index, step)| {
        let later = steps[index + 1..].iter();
        later.filter(|other| other.does_the_same(step)).count()
    });
    pairs.sum()
}
