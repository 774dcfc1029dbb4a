//! What fuzzing calls: plain functions over bytes that panic where the code under test breaks a promise.

use std::path::Path;
use std::sync::Arc;

use builder::context::{Glob, IgnoreFile};
use builder::dockerfile::ast::{Dockerfile, InstructionKind, Word};
use builder::dockerfile::mount::resolve;
use builder::dockerfile::word::{Mode, expand, expand_words};
use builder::dockerfile::{dump, parse as parse_dockerfile, parse_trigger};
use builder::oci::{BaseImage, Config, Digest, Platform, Reference};
use builder::plan::{FileMode, Lowered, PlanOptions, ResolvedBases, dump as dump_plan, lower};
use builder::source::{Diagnostic, SourceMap, Span, Style, render};

/// Parses bytes as a Dockerfile. Whatever they are, there is a tree or an error, every place is inside the text, and
/// everything can be shown.
pub fn parse(bytes: &[u8]) {
    let mut sources = SourceMap::new();
    let Ok(file) = sources.add("Dockerfile", bytes.to_vec()) else {
        assert!(
            std::str::from_utf8(bytes).is_err(),
            "text was refused as no text"
        );
        return;
    };
    let parsed = parse_dockerfile(&file);
    let has_error = parsed.diagnostics.iter().any(Diagnostic::is_error);
    assert_eq!(
        parsed.dockerfile.is_none(),
        has_error,
        "no tree and no reason, or both"
    );
    for diagnostic in &parsed.diagnostics {
        for label in &diagnostic.labels {
            inside(file.text(), label.span);
        }
        assert!(!render(&sources, diagnostic, Style { colour: true }).is_empty());
    }
    if let Some(dockerfile) = parsed.dockerfile {
        spans(file.text(), &dockerfile);
        assert!(!dump(&dockerfile, &file).is_empty());
    }
    if let Ok(trigger) = parse_trigger(&file) {
        inside(file.text(), trigger.span);
    }
}

fn spans(text: &str, dockerfile: &Dockerfile) {
    for stage in &dockerfile.stages {
        inside(text, stage.from.span);
        let mut end = stage.from.span.end;
        for instruction in &stage.instructions {
            inside(text, instruction.span);
            assert!(end <= instruction.span.start, "instructions overlap");
            end = instruction.span.end;
        }
    }
}

fn inside(text: &str, span: Span) {
    assert!(
        text.get(span.range()).is_some(),
        "{span:?} is no place of the text"
    );
}

/// Expands bytes as a word, in every way there is. The first byte says which variables are set.
pub fn word(bytes: &[u8]) {
    let (Some(&set), Ok(text)) = (bytes.first(), std::str::from_utf8(bytes)) else {
        return;
    };
    let word = Word {
        text: text.to_owned(),
        span: Span::default(),
    };
    let env = |name: &str| {
        let number = name.bytes().fold(0_u8, u8::wrapping_add) % 8;
        (set >> number & 1 == 1).then(|| name.repeat(3))
    };
    for escape in ['\\', '`'] {
        for mode in [Mode::Argument, Mode::Heredoc] {
            let result = expand(&word, escape, &env, mode);
            if !text.contains(['$', '\'', '"', '\\', '`']) {
                assert_eq!(result.unwrap().value, text, "plain text was changed");
            }
        }
        if let Ok(words) = expand_words(&word, escape, &env) {
            assert!(
                words.values.iter().all(|word| !word.is_empty()),
                "an empty word"
            );
        }
    }
}

/// Reads bytes as an ignore file, and the first line of them as a path that it judges.
pub fn ignore(bytes: &[u8]) {
    let first = bytes.split(|&byte| byte == b'\n').next();
    let path = String::from_utf8_lossy(first.unwrap_or_default()).into_owned();
    if let Ok(glob) = Glob::new(Path::new(&path)) {
        for path in ["a/b.c", &path] {
            let _matches: bool = glob.matches(Path::new(path));
        }
    }
    let Ok(ignore) = IgnoreFile::parse(Path::new(".dockerignore"), bytes) else {
        return;
    };
    let components: Vec<&str> = path
        .split('/')
        .filter(|name| !matches!(*name, "" | "." | ".."))
        .collect();
    let path = components.join("/");
    let path = Path::new(&path);
    let verdict = ignore.patterns().judge(path);
    // Judged step by step on the way down, as a walk does it, the same comes out.
    let mut trail = ignore.patterns().root();
    for name in path {
        let alone = ignore.patterns().judge_name(&trail, name);
        trail = ignore.patterns().enter(&trail, name);
        assert_eq!(
            alone,
            trail.verdict(),
            "a name and a folder of that name differ"
        );
    }
    if path.components().next().is_some() {
        assert_eq!(
            verdict,
            trail.verdict(),
            "a walk and a look-up differ about {path:?}"
        );
    }
    assert_eq!(verdict.rule.is_some(), ignore.which_rule(path).is_some());
}

/// Reads bytes as an image reference and as a platform; what is one reads back as itself.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(reference) = text.parse::<Reference>() {
        for again in [reference.to_string(), reference.familiar()] {
            assert_eq!(again.parse().as_ref(), Ok(&reference), "of {text:?}");
        }
    }
    if let Ok(platform) = text.parse::<Platform>() {
        let again = platform.to_string();
        assert_eq!(
            again.parse::<Platform>().unwrap().to_string(),
            again,
            "of {text:?}"
        );
    }
    drop(text.parse::<Digest>());
}

/// Reads bytes as the value of `--mount`, its values expanded to what they are and to nothing.
pub fn mount(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut sources = SourceMap::new();
    let file = sources.add(
        "Dockerfile",
        format!("FROM a\nRUN --mount={text} b").into_bytes(),
    );
    let parsed = parse_dockerfile(&file.unwrap());
    let stages = parsed.dockerfile.map(|dockerfile| dockerfile.stages);
    for stage in stages.into_iter().flatten() {
        for instruction in stage.instructions {
            let InstructionKind::Run(run) = instruction.kind else {
                continue;
            };
            for spec in &run.mounts {
                drop(resolve(spec, &mut |word| Ok(word.text.clone())));
                drop(resolve(spec, &mut |_| Ok(String::new())));
            }
        }
    }
}

/// Reads bytes as a mode; what it makes of any mode are permission bits.
pub fn chmod(bytes: &[u8]) {
    let Some(mode) = std::str::from_utf8(bytes).ok().and_then(FileMode::parse) else {
        return;
    };
    for old in [0, 0o644, 0o755, 0o7777] {
        for directory in [false, true] {
            let new = mode.apply(old, directory);
            assert_eq!(new & !0o7777, 0, "{mode:?} of {old:o}");
            assert_eq!(mode.fixed().unwrap_or(new), new);
        }
    }
}

/// Parses bytes as a Dockerfile and plans it against images that all have the same config. Whatever it is, there is a plan
/// or an error that can be shown.
pub fn plan(bytes: &[u8]) {
    const BASE: &str = r#"{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Env": ["A=b"], "OnBuild": ["ENV TRIGGERED=$A"]}}"#;
    let mut sources = SourceMap::new();
    let Ok(file) = sources.add("Dockerfile", bytes.to_vec()) else {
        return;
    };
    let Some(dockerfile) = parse_dockerfile(&file).dockerfile else {
        return;
    };
    let options = PlanOptions::new(Platform::new("linux", "amd64", ""));
    let mut resolved = ResolvedBases::new();
    // Triggers may ask for more, but these do not.
    for _ in 0..3 {
        match lower(&dockerfile, &mut sources, &options, &resolved) {
            Ok(Lowered::Plan(plan)) => {
                assert!(!dump_plan(&plan).is_empty());
                return;
            }
            Ok(Lowered::Needs(needs)) => {
                for (request, _) in needs {
                    let image = BaseImage {
                        name: "base".to_owned(),
                        digest: Digest::of(BASE),
                        config: Config::parse(BASE.as_bytes()).unwrap(),
                        layers: Vec::new(),
                        time: None,
                    };
                    resolved.insert(request, Arc::new(image));
                }
            }
            Err(diagnostics) => {
                assert!(!diagnostics.is_empty(), "no plan and no reason");
                for diagnostic in &diagnostics {
                    assert!(!render(&sources, diagnostic, Style::default()).is_empty());
                }
                return;
            }
        }
    }
    panic!("planning does not come to an end");
}
