//! What fuzzing calls: plain functions over bytes that panic where the code under test breaks a promise.

use builder::dockerfile::ast::{Dockerfile, Word};
use builder::dockerfile::word::{Mode, expand, expand_words};
use builder::dockerfile::{dump, parse as parse_dockerfile, parse_trigger};
use builder::source::{SourceMap, Span, Style, render};

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
    let has_error = parsed
        .diagnostics
        .iter()
        .any(builder::source::Diagnostic::is_error);
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
