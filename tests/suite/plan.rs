//! The corpus of planning: Dockerfiles beside the instruction graph and image that they must become.
//!
//! `testdata/plan/CASE/Dockerfile` beside `plan.txt`, the plan or the rendered diagnostics; `options`, where there is one,
//! says how the build was asked for, a word and its value a line. Every image has the config of [`BASE`].
//! `UPDATE_EXPECT=1` writes the expectations; a missing one is a failure.

#![expect(
    clippy::disallowed_methods,
    reason = "files of a test need no atomic writes"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use builder::dockerfile;
use builder::oci::{BaseImage, Config, Digest, Platform};
use builder::plan::{
    BaseSource, GitSource, Lowered, MainContext, NamedContext, Origin, PlanOptions, ResolvedBases,
    context_name, dump, lower,
};
use builder::source::{Diagnostic, SourceMap, Style, render};

use crate::support::expected;

/// The config of every image that a case names.
const BASE: &str = r#"{
    "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
    "config": {
        "Env": ["PATH=/bin", "FROM_BASE=yes"], "Cmd": ["/bin/sh"], "Labels": {"k": "base"},
        "OnBuild": ["ENV TRIGGERED=$FROM_BASE"]
    }
}"#;

/// Fewer cases than this mean that they were not found.
const LEAST: usize = 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plan")
}

fn options(case: &Path) -> PlanOptions {
    let mut options = PlanOptions::new(Platform::new("linux", "amd64", ""));
    let path = case.join("options");
    let text = if path.exists() {
        fs::read_to_string(path).unwrap()
    } else {
        String::new()
    };
    for line in text.lines() {
        let (word, value) = line.split_once(' ').unwrap();
        let pair = || {
            let (key, value) = value.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        };
        match word {
            "target" => options.target = Some(value.to_owned()),
            "platform" => options.platform = Some(value.parse().unwrap()),
            "build-arg" => options.build_args.extend([pair()]),
            "label" => options.labels.push(pair()),
            "context" => {
                let name = context_name(value);
                options.contexts.insert(name, NamedContext::Directory);
            }
            "git-context" => {
                let source = GitSource::parse(value).unwrap();
                options.context = MainContext::Base(BaseSource::Tree(Origin::Git(source)));
            }
            "no-context" => options.context = MainContext::Empty,
            other => panic!("{}: unknown option `{other}`", case.display()),
        }
    }
    options
}

/// The plan of a case, or what is wrong with it, as text.
fn planned(case: &Path) -> String {
    let mut sources = SourceMap::new();
    let text = fs::read(case.join("Dockerfile")).unwrap();
    let file = sources.add("Dockerfile", text).unwrap();
    let parsed = dockerfile::parse(&file);
    let Some(dockerfile) = parsed.dockerfile else {
        return rendered(&sources, &parsed.diagnostics);
    };
    let options = options(case);
    let mut resolved = ResolvedBases::new();
    loop {
        match lower(&dockerfile, &mut sources, &options, &resolved) {
            Ok(Lowered::Plan(plan)) => return dump(&plan),
            Ok(Lowered::Needs(needs)) => {
                for (request, _) in needs {
                    let image = BaseImage {
                        name: "base".to_owned(),
                        digest: Digest::of(BASE),
                        config: Config::parse(BASE.as_bytes()).unwrap(),
                        layers: Vec::new(),
                        time: Some(1_700_000_000),
                    };
                    resolved.insert(request, Arc::new(image));
                }
            }
            Err(diagnostics) => return rendered(&sources, &diagnostics),
        }
    }
}

fn rendered(sources: &SourceMap, diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        writeln!(text, "{}", render(sources, diagnostic, Style::default())).unwrap();
    }
    text
}

#[test]
fn dockerfiles_become_their_plans() {
    let entries = fs::read_dir(folder()).unwrap();
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= LEAST, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let actual = planned(case);
        failures.extend(expected::compare(&case.join("plan.txt"), &actual).err());
    }
    expected::report(&failures);
}
