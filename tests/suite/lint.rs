//! The corpus of build checks: Dockerfiles beside what the checks find in them.
//!
//! `testdata/lint/RULE/CASE/Dockerfile`, in the context that its folder is, beside `findings.txt`: the rendered findings and
//! their edits, then the rules that fail the build. Cases of `control` are about `# check=`. `options`, where there is one,
//! says how the build was asked for, a word and its value a line. The image `shell` has a `SHELL`, others have not.
//! `UPDATE_EXPECT=1` writes the expectations; a missing one is a failure. The examples of `docs/rules` are checked too.

#![expect(
    clippy::disallowed_methods,
    reason = "files of a test need no atomic writes"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use builder::context::{IgnoreFile, LocalContext};
use builder::dockerfile::{self, Dockerfile};
use builder::lint::{self, Findings, RULES, Subject};
use builder::oci::{BaseImage, Config, Digest, Platform};
use builder::plan::{
    BaseRequest, BaseSource, Entitlements, Lowered, MainContext, NetworkMode, NoCache, Observation,
    Plan, PlanOptions, ResolvedBases, lower, observe,
};
use builder::source::{Diagnostic, SourceMap, Style, render};
use proptest::prelude::*;

use crate::support::expected;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lint")
}

fn options(case: &Path) -> PlanOptions {
    let mut options = PlanOptions {
        target: None,
        all_stages: false,
        build_args: BTreeMap::new(),
        labels: Vec::new(),
        platform: None,
        build_platform: Platform::new("linux", "amd64", ""),
        context: MainContext::Directory,
        contexts: BTreeMap::new(),
        network: NetworkMode::Default,
        no_cache: NoCache::Never,
        entitlements: Entitlements::default(),
    };
    let path = case.join("options");
    let text = match path.exists() {
        true => fs::read_to_string(path).unwrap(),
        false => String::new(),
    };
    for line in text.lines() {
        let (word, value) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "target" => options.target = Some(value.to_owned()),
            "all-stages" => options.all_stages = true,
            "platform" => options.platform = Some(value.parse().unwrap()),
            "build-arg" => {
                let (name, value) = value.split_once('=').unwrap();
                let args = &mut options.build_args;
                args.insert(name.to_owned(), value.to_owned());
            }
            other => panic!("{}: unknown option `{other}`", case.display()),
        }
    }
    options
}

/// A Dockerfile after everything that the checks look at is known.
struct Checked {
    sources: SourceMap,
    dockerfile: Dockerfile,
    plan: Option<Plan>,
    findings: Findings,
}

fn check(case: &Path, text: Vec<u8>) -> Checked {
    let options = options(case);
    let mut sources = SourceMap::new();
    let file = sources.add("Dockerfile", text).unwrap();
    let parsed = dockerfile::parse(&file);
    let dockerfile = parsed
        .dockerfile
        .unwrap_or_else(|| panic!("{}: {:?}", case.display(), parsed.diagnostics));
    let (plan, observations) = match plan(&dockerfile, &mut sources, &options) {
        Ok(plan) => {
            let observations = plan.observations.clone();
            (Some(plan), observations)
        }
        Err(observations) => (None, observations),
    };
    let ignore = IgnoreFile::read(case, Some(&case.join("Dockerfile"))).unwrap();
    let context = LocalContext::open(case, ignore).unwrap();
    let subject = Subject {
        dockerfile: &dockerfile,
        sources: &sources,
        remarks: &parsed.diagnostics,
        observations: &observations,
        plan: plan.as_ref(),
        context: Some(&context),
    };
    let control = lint::control(&dockerfile, &options.build_args).unwrap();
    let findings = lint::check(&subject, &control);
    Checked {
        sources,
        dockerfile,
        plan,
        findings,
    }
}

/// The plan, or what is noticed where there is none.
fn plan(
    dockerfile: &Dockerfile,
    sources: &mut SourceMap,
    options: &PlanOptions,
) -> Result<Plan, Vec<Observation>> {
    let mut resolved = ResolvedBases::new();
    loop {
        match lower(dockerfile, sources, options, &resolved) {
            Ok(Lowered::Plan(plan)) => return Ok(*plan),
            Ok(Lowered::Needs(needs)) => {
                for (request, _) in needs {
                    let image = image(&request);
                    resolved.insert(request, Arc::new(image));
                }
            }
            Err(_) => return Err(observe(dockerfile, sources, options, &resolved)),
        }
    }
}

/// Every image is for this platform, whatever was asked for.
fn image(request: &BaseRequest) -> BaseImage {
    let BaseSource::Reference(reference) = &request.source else {
        panic!("{request:?}")
    };
    let mut config = Config::scratch(&Platform::new("linux", "amd64", ""));
    config.set_env("PATH", "/bin");
    if reference.repository().ends_with("/shell") {
        config.set("Shell", Some(serde_json::json!(["/bin/bash", "-c"])));
    }
    if reference.repository().ends_with("/entrypoint") {
        config.set("Entrypoint", Some(serde_json::json!(["/run"])));
    }
    BaseImage {
        name: reference.familiar(),
        digest: Digest::of("config"),
        config,
        layers: Vec::new(),
        time: None,
    }
}

fn rendered(checked: &Checked) -> String {
    let mut text = String::new();
    for finding in &checked.findings.warnings {
        write!(
            text,
            "{}",
            render(&checked.sources, finding, Style::default())
        )
        .unwrap();
        for edit in &finding.fix {
            let file = checked.sources.get(edit.span.file).unwrap();
            let at = file.line_column(edit.span.start);
            let (old, new) = (file.slice(edit.span), &edit.replacement);
            writeln!(text, "edit {}:{}: {old:?} → {new:?}", at.line, at.column).unwrap();
        }
        text.push('\n');
    }
    if !checked.findings.violated.is_empty() {
        writeln!(text, "violated: {}", checked.findings.violated.join(", ")).unwrap();
    }
    text
}

/// Rule and case of every folder.
fn cases() -> Vec<(String, PathBuf)> {
    let mut cases = Vec::new();
    for rule in fs::read_dir(folder()).unwrap() {
        let rule = rule.unwrap();
        for case in fs::read_dir(rule.path()).unwrap() {
            let name = rule.file_name().into_string().unwrap();
            cases.push((name, case.unwrap().path()));
        }
    }
    cases.sort();
    cases
}

#[test]
fn dockerfiles_are_judged_as_expected() {
    let mut failures = Vec::new();
    for (_, case) in cases() {
        let text = fs::read(case.join("Dockerfile")).unwrap();
        let actual = rendered(&check(&case, text));
        failures.extend(expected::compare(&case.join("findings.txt"), &actual).err());
    }
    expected::report(&failures);
}

#[test]
fn every_rule_fires_in_a_case_and_is_silent_in_another() {
    let mut fires = BTreeSet::new();
    let mut silent = BTreeSet::new();
    for (rule, case) in cases() {
        let text = fs::read(case.join("Dockerfile")).unwrap();
        let findings = check(&case, text).findings.warnings;
        let which = match findings.iter().any(|finding| finding.code == rule) {
            true => &mut fires,
            false => &mut silent,
        };
        which.insert(rule);
    }
    for rule in RULES {
        assert!(fires.contains(rule.name), "{} never fires", rule.name);
        assert!(silent.contains(rule.name), "{} always fires", rule.name);
        fires.remove(rule.name);
        silent.remove(rule.name);
    }
    let others: BTreeSet<_> = fires.union(&silent).collect();
    assert_eq!(others.into_iter().collect::<Vec<_>>(), ["control"]);
}

fn with_edits(text: &str, finding: &Diagnostic) -> String {
    let mut edits: Vec<_> = finding.fix.iter().collect();
    edits.sort_by_key(|edit| edit.span.start);
    let mut text = text.to_owned();
    for pair in edits.windows(2) {
        assert!(pair[0].span.end <= pair[1].span.start, "{finding:?}");
    }
    for edit in edits.into_iter().rev() {
        text.replace_range(edit.span.range(), &edit.replacement);
    }
    text
}

/// The config and the history that a plan leads to.
fn image_of(checked: &Checked) -> Option<(String, Vec<String>)> {
    let image = &checked.plan.as_ref()?.images[0];
    let history = image.history.iter().map(|entry| {
        // The ports of an `EXPOSE` are sorted by how they are written.
        let mut words: Vec<&str> = entry.created_by.split(['[', ' ', ']']).collect();
        words.sort_unstable();
        words.join(" ")
    });
    Some((format!("{:?}", image.config.raw()), history.collect()))
}

#[test]
fn edits_remove_their_finding_and_leave_the_image_as_it_was() {
    // A command without its shell and a label instead of an author are what these rules ask for.
    let changing = ["JSONArgsRecommended", "MaintainerDeprecated"];
    let mut tried = 0;
    for (_, case) in cases() {
        let text = fs::read_to_string(case.join("Dockerfile")).unwrap();
        let before = check(&case, text.clone().into_bytes());
        let count = |checked: &Checked, code| {
            let findings = checked.findings.warnings.iter();
            findings.filter(|finding| finding.code == code).count()
        };
        for finding in &before.findings.warnings {
            if finding.fix.is_empty() {
                continue;
            }
            tried += 1;
            let fixed = with_edits(&text, finding);
            let after = check(&case, fixed.clone().into_bytes());
            let left = count(&after, finding.code);
            assert!(left < count(&before, finding.code), "{finding:?}\n{fixed}");
            if !changing.contains(&finding.code) {
                assert_eq!(image_of(&before), image_of(&after), "{finding:?}\n{fixed}");
            }
            assert_eq!(
                before.dockerfile.stages.len(),
                after.dockerfile.stages.len()
            );
        }
    }
    assert!(tried >= 20, "only {tried} edits");
}

/// The first code block under a heading of a rule's page.
fn example(page: &str, heading: &str) -> String {
    let section = page.split(heading).nth(1).unwrap();
    let code = section.split("```dockerfile\n").nth(1).unwrap();
    code.split("```").next().unwrap().to_owned()
}

#[test]
fn examples_of_pages_are_what_they_say() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules");
    let readme = fs::read_to_string(pages.join("README.md")).unwrap();
    let case = folder().join("control/as-it-is");
    for rule in RULES {
        let line = readme
            .lines()
            .find(|line| line.starts_with(&format!("| [{}](", rule.name)))
            .unwrap_or_else(|| panic!("{} is not in the table", rule.name));
        let name = line.split(['(', ')']).nth(1).unwrap();
        let page = fs::read_to_string(pages.join(name)).unwrap();
        assert!(page.starts_with(&format!("# {}\n", rule.name)));
        // These depend on more than the text.
        if matches!(rule.name, "CopyIgnoredFile" | "InvalidBaseImagePlatform") {
            continue;
        }
        for (heading, fires) in [("## Bad", true), ("## Good", false)] {
            let text = example(&page, heading);
            let findings = check(&case, text.into_bytes()).findings.warnings;
            let fired = findings.iter().any(|finding| finding.code == rule.name);
            assert_eq!(fired, fires, "{heading} of {}", rule.name);
        }
    }
}

/// A Dockerfile of lines that rules look at, in any order, some of them continued in odd ways.
fn dockerfile_like() -> impl Strategy<Value = String> {
    let lines = prop::sample::select(vec![
        "FROM base\n",
        "from base as B\n",
        "FROM --platform=$TARGETPLATFORM b AS c\n",
        "FROM --platform=linux/arm64 ${X:-base} As arm64\n",
        "ARG X\n",
        "arg TOKEN=$Y é=\"b c\"\n",
        "ENV A b \\\n\n c\n",
        "ENV k \"v w\" x\n",
        "LABEL l 'm n'\n",
        "MAINTAINER \"é\" $x\n",
        "EXPOSE 80/TCP 1:2 [::1]:3:4/UdP $P\n",
        "WORKDIR a/$B\n",
        "CMD top -b\n",
        "ENTRYPOINT a é\n",
        "HEALTHCHECK NONE\n",
        "COPY . \\\n  \t\n# c\n\n /app\n",
        "COPY <<A <<\"B\" /x/\n\n$Q\nA\nB\n",
        "RUN cd /app && chown -R é:é . \"$A\" ${k} ; apt-get update\n",
        "RUN chmod --recursive -x '/app/*' && pip install 'é\n",
        "RUN <<EOF\nmake $(\nmake `a\n\"\nEOF\n",
        "RUN sh -x <<-EOF 2>&1 | cat\n\tapk add 'x'\n\tEOF\n",
        "RUN [\"chown\", \"-R\", \"\", \"/\"]\n",
        "ONBUILD run chown -R a $Z\n",
        "# check=skip=UndefinedVar\n",
        "# check=experimental=all\n",
        "# X is what\n",
        "\n",
        "RUN a \\\n\n",
    ]);
    prop::collection::vec(lines, 0..12).prop_map(|lines| format!("FROM base\n{}", lines.concat()))
}

proptest! {
    #[test]
    fn any_dockerfile_is_checked_and_edits_keep_it_one(text in dockerfile_like()) {
        let case = folder().join("control/as-it-is");
        let before = check(&case, text.clone().into_bytes());
        prop_assert_eq!(rendered(&before).is_empty(), before.findings.warnings.is_empty());
        for finding in &before.findings.warnings {
            if finding.fix.is_empty() {
                continue;
            }
            let after = check(&case, with_edits(&text, finding).into_bytes());
            let stages = |checked: &Checked| {
                let stages = checked.dockerfile.stages.iter();
                stages.map(|stage| stage.instructions.len()).collect::<Vec<_>>()
            };
            prop_assert_eq!(stages(&before), stages(&after));
            prop_assert_eq!(before.plan.is_some(), after.plan.is_some());
        }
    }
}
