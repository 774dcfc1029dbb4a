//! Edits that are made, and edits that are refused.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::build::resolve::{Found, ImageResolver};
use crate::build::{
    ContextSource, DeviceSettings, DockerfileSource, PlanRequest, ResolveError, SourceRequest,
};
use crate::plan::{BaseRequest, Entitlements, NetworkMode, NoCache};
use crate::sandbox::Cancel;
use crate::solve::{BuildEvent, RunSettings};
use crate::source::{FileId, Span};

fn finding(code: &'static str, range: std::ops::Range<usize>, text: &str) -> Diagnostic {
    let span = Span::new(FileId(0), range);
    Diagnostic::warning(code, "x").at(span, "").edit(span, text)
}

/// A resolver that finds nothing.
#[derive(Debug)]
struct Nowhere;

impl ImageResolver for Nowhere {
    fn resolve(&self, _: &BaseRequest) -> Result<Found, ResolveError> {
        Err(ResolveError::NoStore)
    }
}

struct Silence;

impl EventSink for Silence {
    fn emit(&mut self, _: BuildEvent) {}
}

fn request(dockerfile: &Path) -> Request {
    Request {
        source: SourceRequest {
            context: ContextSource::Scratch,
            dockerfile: Some(DockerfileSource::Path(dockerfile.to_owned())),
            named_contexts: BTreeMap::new(),
        },
        plan: PlanRequest {
            target: None,
            all_stages: false,
            build_args: BTreeMap::new(),
            labels: Vec::new(),
            platforms: Vec::new(),
            network: NetworkMode::Default,
            no_cache: NoCache::Never,
            entitlements: Entitlements::default(),
        },
        run: RunSettings::default(),
        devices: DeviceSettings::default(),
        cache: crate::cache::Request::default(),
        outputs: Vec::new(),
        names: Vec::new(),
        index: false,
        root: PathBuf::new(),
        registry: crate::registry::Settings::default(),
        pull: false,
        tag_age: Duration::ZERO,
        cache_max: None,
        require_cached: None,
        image_id_file: None,
        jobs: 1,
        clock: || SystemTime::UNIX_EPOCH,
    }
}

fn reader() -> Reader<'static> {
    Reader {
        resolver: &Nowhere,
        store: None,
        stdin: || Box::new(std::io::empty()),
        cancel: Cancel::new(),
    }
}

#[test]
fn a_text_that_somebody_else_changed_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Dockerfile");
    let write = |text: &str| {
        fsio::write_atomic(&path, text.as_bytes(), fsio::Durability::Cached).unwrap();
    };
    write("FROM scratch as x\n");
    let fixed = fix(&request(&path), &reader(), &mut Silence).unwrap();
    assert_eq!(fixed.after, "FROM scratch AS x\n");
    write("FROM scratch as y\n");
    let refused = fixed.write().unwrap_err();
    assert!(
        matches!(refused, BuildError::DockerfileChanged),
        "{refused}"
    );
    assert_eq!(fsio::read_to_string(&path).unwrap(), "FROM scratch as y\n");
    write("FROM scratch as x\n");
    fixed.write().unwrap();
    assert_eq!(fsio::read_to_string(&path).unwrap(), fixed.after);
}

/// What becomes of a text if a finding of some rule edits it.
fn applied(rule: &'static str, text: &str, edits: &[(&str, &str)]) -> Result<String, Refusal> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Dockerfile");
    fsio::write_atomic(&path, text.as_bytes(), fsio::Durability::Cached).unwrap();
    let request = request(&path);
    let (mut sources, mut sink) = (Sources::default(), Silence);
    let mut vertices = Vertices::new(&mut sink);
    let opened = source::open(&request, &reader(), &mut sources, &mut vertices).unwrap();
    let file = opened.file.clone();
    let mut bench = Bench {
        request: &request,
        resolver: Substitutes::new(&Nowhere),
        opened,
        vertices,
    };
    let mut finding = Diagnostic::warning(rule, "x");
    for (old, new) in edits {
        let at = text.find(old).unwrap();
        finding = finding.edit(file.span(at..at + old.len()), *new);
    }
    bench.apply(&file, rule, &[&finding], 1)
}

#[test]
fn what_would_make_another_image_is_refused() {
    let other = Err(Refusal::Image);
    let text = "FROM scratch AS a\nENV A=1\nFROM scratch\nENV B=2\n";
    let cases = [
        ("ENV B=2", "ENV B=3", other.clone()),
        // Also in a stage that is not the last one, and where only the order changes.
        ("ENV A=1", "ENV A=2", other.clone()),
        (
            "FROM scratch AS a\nENV A=1",
            "FROM scratch AS a",
            other.clone(),
        ),
        ("FROM scratch AS a", "FROM other AS a", other.clone()),
        ("ENV A=1", "EMV A=1", Err(Refusal::Invalid)),
        ("ENV A=1", "ENV A=1", Err(Refusal::Useless)),
        (
            "ENV A=1",
            "env  A=\"1\"",
            Ok(text.replace("ENV A=1", "env  A=\"1\"")),
        ),
    ];
    for (old, new, expected) in cases {
        assert_eq!(applied("Rule", text, &[(old, new)]), expected, "{new}");
    }
    let twice = [("ENV A", "env A"), ("A=1", "A='1'")];
    assert_eq!(applied("Rule", text, &twice), Err(Refusal::Overlap));
}

#[test]
fn a_rule_may_change_what_it_is_about_and_nothing_else() {
    let maintainer = "FROM scratch\nMAINTAINER me\nENV A=1\n";
    let label = (
        "MAINTAINER me",
        "LABEL org.opencontainers.image.authors=\"me\"",
    );
    assert!(applied("MaintainerDeprecated", maintainer, &[label]).is_ok());
    assert_eq!(applied("Rule", maintainer, &[label]), Err(Refusal::Image));
    let both = [label, ("A=1", "A=2")];
    let refused = applied("MaintainerDeprecated", maintainer, &both);
    assert_eq!(refused, Err(Refusal::Image));

    let json = |text: &str| {
        applied(
            "JSONArgsRecommended",
            text,
            &[("run it", "[\"run\", \"it\"]")],
        )
    };
    assert!(json("FROM scratch\nCMD run it\n").is_ok());
    assert!(json("FROM scratch\nENTRYPOINT run it\n").is_ok());
    for text in [
        "FROM scratch\nENTRYPOINT [\"/start\"]\nCMD run it\n",
        "FROM scratch\nENTRYPOINT run it\nCMD [\"x\"]\n",
        "FROM scratch\nSHELL [\"/bin/bash\", \"-c\"]\nCMD run it\n",
    ] {
        assert_eq!(json(text), Err(Refusal::Image), "{text}");
    }
    let other = [("run it", "[\"run\", \"that\"]")];
    let text = "FROM scratch\nCMD run it\n";
    assert_eq!(
        applied("JSONArgsRecommended", text, &other),
        Err(Refusal::Image)
    );
}

/// Every Dockerfile of the test data.
fn dockerfiles(folder: &Path, found: &mut Vec<PathBuf>) {
    for name in fsio::read_dir_sorted(folder).unwrap() {
        let path = folder.join(&name);
        let name = name.to_string_lossy();
        if path.is_dir() {
            dockerfiles(&path, found);
        } else if name == "Dockerfile" || name.ends_with(".dockerfile") {
            found.push(path);
        }
    }
}

#[test]
fn a_second_run_has_nothing_left_to_do() {
    let mut found = Vec::new();
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    dockerfiles(&testdata, &mut found);
    assert!(found.len() > 50, "only {} files", found.len());
    let mut mended = 0;
    for path in found {
        // Not every file is a Dockerfile.
        let Ok(first) = fix(&request(&path), &reader(), &mut Silence) else {
            continue;
        };
        if first.before == first.after {
            assert_eq!(first.done, [], "{}", path.display());
            continue;
        }
        mended += 1;
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("Dockerfile");
        fsio::write_atomic(&copy, first.before.as_bytes(), fsio::Durability::Cached).unwrap();
        let first = fix(&request(&copy), &reader(), &mut Silence).unwrap();
        first.write().unwrap();
        let second = fix(&request(&copy), &reader(), &mut Silence).unwrap();
        assert_eq!(second.before, first.after, "{}", path.display());
        assert_eq!(second.after, first.after, "{}", path.display());
        assert_eq!(second.refused, first.refused, "{}", path.display());
    }
    assert!(mended > 3, "only {mended} files were mended");
}

#[test]
fn one_rule_at_a_time_and_those_that_move_lines_last() {
    let findings = [
        finding("B", 0..2, "\n"),
        finding("C", 0..2, "x"),
        finding("C", 1..3, "y"),
        finding("C", 5..6, "z"),
        Diagnostic::warning("A", "nothing to edit"),
    ];
    let mut refused = BTreeMap::new();
    let (rule, chosen) = next_rule(&findings, &refused).unwrap();
    assert_eq!((rule, chosen), ("C", vec![&findings[1], &findings[3]]));
    refused.insert("C", Refusal::Image);
    let (rule, chosen) = next_rule(&findings, &refused).unwrap();
    assert_eq!((rule, chosen), ("B", vec![&findings[0]]));
    refused.insert("B", Refusal::Image);
    assert_eq!(next_rule(&findings, &refused), None);
}

#[test]
fn a_command_without_its_shell_has_the_same_words() {
    let argv = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let plain = argv(&["nginx", "-g", "x"]);
    assert_eq!(
        words(&argv(&["/bin/sh", "-c", "nginx  -g x"])),
        words(&plain)
    );
    assert_ne!(
        words(&argv(&["/bin/bash", "-c", "nginx -g x"])),
        words(&plain)
    );
    assert_ne!(words(&argv(&["nginx -g", "x"])), words(&plain));
}
