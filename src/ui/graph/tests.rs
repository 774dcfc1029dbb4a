//! The forms of one graph, and properties of pictures of many.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::build::ForeseenBase;
use crate::oci::{Config, Digest, Platform};
use crate::plan::{BaseId, CopySource, CopyStep, Plan, PlannedImage, Step, WorkdirStep};
use crate::solve::{Forecast, MissReason};
use crate::source::Span;

fn platform() -> Platform {
    Platform::new("linux", "amd64", "")
}

fn step(label: &str, stage: usize, input: StateRef, from: Option<StateRef>) -> Step {
    let kind = match from {
        None => StepKind::Workdir(WorkdirStep {
            path: "/".into(),
            user: String::new(),
        }),
        Some(state) => StepKind::Copy(CopyStep {
            add: false,
            from: TreeSource::State(state),
            sources: vec![CopySource::Path("/".into())],
            destination: "/".into(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: None,
        }),
    };
    Step {
        label: label.to_owned(),
        span: Span::default(),
        stage,
        input,
        platform: platform(),
        no_cache: false,
        kind,
    }
}

fn foresight(bases: usize, steps: Vec<Step>, fates: Vec<Fate>, unneeded: usize) -> Foresight {
    let last = steps.len().checked_sub(1);
    let image = PlannedImage {
        state: last.map_or(StateRef::Scratch, |last| StateRef::Step(StepId(last))),
        config: Config::scratch(&platform()),
        base_history: Vec::new(),
        history: Vec::new(),
        platform: platform(),
    };
    Foresight {
        plan: Plan {
            steps,
            images: vec![image],
            ..Plan::default()
        },
        forecast: Forecast::new(fates),
        bases: (0..bases)
            .map(|base| ForeseenBase {
                name: format!("base{base}:1 <&\">"),
                digest: Digest::of("base"),
            })
            .collect(),
        unneeded: (0..unneeded).map(|n| (format!("u{n}"), n)).collect(),
    }
}

fn small() -> Foresight {
    let base = StateRef::Base(BaseId(0));
    let steps = vec![
        step("[build 2/3] WORKDIR /w", 0, base, None),
        step(
            "[build 3/3] RUN a \"b\" <c>",
            0,
            StateRef::Step(StepId(0)),
            None,
        ),
        step(
            "[stage-1 2/2] COPY --from=build / /",
            1,
            base,
            Some(StateRef::Step(StepId(1))),
        ),
    ];
    let fates = vec![
        Fate::Cached {
            took: Duration::from_millis(1234),
            imported: false,
        },
        Fate::Runs {
            reason: MissReason::FirstBuild,
        },
        Fate::MayRun {
            after: vec![StepId(1)],
        },
    ];
    foresight(1, steps, fates, 1)
}

#[test]
fn text_tells_the_fate_of_each_step() {
    let expected = "\
base base0:1 <&\"> sha256:be9c56889b33…
[build 2/3] WORKDIR /w: cached, took 1.2s when it ran
[build 3/3] RUN a \"b\" <c>: runs
    why: first build
[stage-1 2/2] COPY --from=build / /: may run
    depends on what [build 3/3] makes
image for linux/amd64
stage u0: not needed, 0 instructions
3 steps: 1 cached, 1 runs, 1 may run
";
    let text = graph(&small(), GraphFormat::Text);
    let digest = Digest::of("base").short();
    assert_eq!(text, expected.replace("be9c56889b33", &digest));
}

#[test]
fn json_has_all_of_it() {
    let json = graph(&small(), GraphFormat::Json);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let steps = &value["steps"];
    assert_eq!(steps[0]["fate"], "cached");
    assert_eq!(steps[0]["millis"], 1234);
    assert_eq!(steps[0]["on"], "base0");
    assert_eq!(steps[1]["why"], "first build");
    assert_eq!(steps[1]["reason"]["kind"], "first_build");
    assert_eq!(steps[2]["fate"], "may_run");
    assert_eq!(steps[2]["after"], serde_json::json!(["step1"]));
    assert_eq!(steps[2]["files_from"], serde_json::json!(["step1"]));
    assert_eq!(value["images"][0]["inputs"][0], "step2");
    assert_eq!(value["not_needed"][0]["stage"], "u0");
    assert_eq!(value["counts"]["may_run"], 1);
}

#[test]
fn drawing_languages_get_every_node_and_edge() {
    let dot = graph(&small(), GraphFormat::Dot);
    assert!(dot.contains(r#"step1 [label="[build 3/3] RUN a \"b\" <c>\nruns: first build""#));
    assert!(dot.contains("  step1 -> step2 [style=dashed];\n"));
    assert!(dot.contains("  base0 -> step0;\n"));
    assert!(dot.starts_with("digraph plan {\n") && dot.ends_with("}\n"));

    let mermaid = graph(&small(), GraphFormat::Mermaid);
    let line =
        "step1[\"#91;build 3/3#93; RUN a #34;b#34; #60;c#62;<br/>runs: first build\"]:::runs";
    assert!(mermaid.contains(line), "{mermaid}");
    assert!(mermaid.contains("  step1 -.-> step2\n"));
    assert!(mermaid.contains("  step2 --> image0\n"));
    assert!(mermaid.contains("  classDef may_run fill:"));
}

/// The boxes of a picture: left, top, right, bottom.
fn boxes(svg: &str, class: &str) -> Vec<[i64; 4]> {
    let document = roxmltree::Document::parse(svg).expect("well-formed XML");
    let rects = document
        .descendants()
        .filter(|node| node.has_tag_name("rect") && node.attribute("class") == Some(class));
    rects
        .map(|rect| {
            let [x, y, w, h] = ["x", "y", "width", "height"].map(|name| {
                rect.attribute(name)
                    .map_or(0, |value| value.parse().expect("a number"))
            });
            [x, y, x + w, y + h]
        })
        .collect()
}

/// The straight pieces of the edges of a picture.
fn edge_segments(svg: &str) -> Vec<[i64; 4]> {
    let document = roxmltree::Document::parse(svg).expect("well-formed XML");
    let paths = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("edge"));
    let mut segments = Vec::new();
    for path in paths {
        let way = path.attribute("d").expect("a way").replace(['M', 'L'], "");
        let points: Vec<(i64, i64)> = way
            .split(' ')
            .map(|point| {
                let (x, y) = point.split_once(',').expect("a point");
                (x.parse().expect("a number"), y.parse().expect("a number"))
            })
            .collect();
        segments.extend(points.windows(2).map(|p| [p[0].0, p[0].1, p[1].0, p[1].1]));
    }
    segments
}

fn assert_readable(foresight: &Foresight) {
    let svg = graph(foresight, GraphFormat::Svg);
    let nodes = boxes(&svg, "node");
    let counts = [
        foresight.bases.len(),
        foresight.plan.steps.len(),
        foresight.plan.images.len(),
        foresight.unneeded.len(),
    ];
    assert_eq!(nodes.len(), counts.iter().sum::<usize>());
    let paper = boxes(&svg, "paper")[0];
    let keys = boxes(&svg, "key");
    assert_eq!(keys.len(), Kind::ALL.len());
    let all: Vec<[i64; 4]> = nodes.into_iter().chain(keys).collect();
    for (index, a) in all.iter().enumerate() {
        assert!(
            a[2] <= paper[2] && a[3] <= paper[3],
            "{a:?} is off {paper:?}"
        );
        for b in &all[..index] {
            let apart = a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1];
            assert!(apart, "{a:?} meets {b:?}\n{svg}");
        }
    }
    let nodes = boxes(&svg, "node");
    let segments = edge_segments(&svg);
    assert!(segments.len() >= foresight.plan.images.len().min(foresight.plan.steps.len()));
    for [x1, y1, x2, y2] in segments {
        for node in &nodes {
            let beside = x1.max(x2) <= node[0] || x1.min(x2) >= node[2];
            let above_or_below = y1.max(y2) <= node[1] || y1.min(y2) >= node[3];
            assert!(beside || above_or_below, "an edge crosses {node:?}\n{svg}");
        }
    }
    let graph = Graph::new(foresight);
    let layout = layout::layout(&graph);
    for edge in &graph.edges {
        assert!(layout.nodes[edge.from].row < layout.nodes[edge.to].row);
    }
}

#[test]
fn a_picture_says_what_text_says() {
    let svg = graph(&small(), GraphFormat::Svg);
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> = document.descendants().filter_map(|n| n.text()).collect();
    for text in [
        "RUN a \"b\" <c>",
        "runs: first build",
        "3 steps: 1 cached, 1 runs, 1 may run",
        "not needed",
    ] {
        assert!(texts.contains(&text), "{text} is not in {texts:?}");
    }
    assert_readable(&small());
    assert_readable(&foresight(0, Vec::new(), Vec::new(), 0));
}

/// Steps with random inputs before them.
fn random() -> impl Strategy<Value = Foresight> {
    let step = (
        0..5_usize,
        any::<prop::sample::Index>(),
        any::<Option<prop::sample::Index>>(),
        0..3_u8,
        "\\PC{0,60}",
    );
    (0..4_usize, prop::collection::vec(step, 0..25), 0..6_usize).prop_map(
        |(bases, steps, unneeded)| {
            let state = |index: prop::sample::Index, before: usize| {
                // Scratch, a base, or an earlier step.
                match index.index(1 + bases + before) {
                    0 => StateRef::Scratch,
                    base if base <= bases => StateRef::Base(BaseId(base - 1)),
                    step => StateRef::Step(StepId(step - 1 - bases)),
                }
            };
            let mut fates = Vec::new();
            let steps = steps
                .into_iter()
                .enumerate()
                .map(|(at, (stage, on, from, fate, text))| {
                    fates.push(match fate {
                        0 => Fate::Runs {
                            reason: MissReason::NoCache,
                        },
                        1 => Fate::MayRun { after: Vec::new() },
                        _ => Fate::Cached {
                            took: Duration::ZERO,
                            imported: true,
                        },
                    });
                    let label = format!("[s{stage} 1/9] {text}");
                    self::step(
                        &label,
                        stage,
                        state(on, at),
                        from.map(|from| state(from, at)),
                    )
                });
            let steps: Vec<Step> = steps.collect();
            foresight(bases, steps, fates, unneeded)
        },
    )
}

proptest! {
    #[test]
    fn boxes_of_any_picture_are_apart_and_edges_go_down(foresight in random()) {
        assert_readable(&foresight);
        for format in [GraphFormat::Text, GraphFormat::Dot, GraphFormat::Mermaid] {
            let has_escapes = graph(&foresight, format).contains('\u{1b}');
            prop_assert!(!has_escapes);
        }
        let json = graph(&foresight, GraphFormat::Json);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }
}
