//! Which contexts a Dockerfile takes files from, as far as its text says: no image is resolved, so that what triggers of a base
//! take is not known.

use std::collections::BTreeSet;

use crate::dockerfile::ast::{CopySource, InstructionKind, RunInstruction, Word};
use crate::dockerfile::{Dockerfile, parse};
use crate::plan::context_name;
use crate::source::SourceFile;

/// The contexts that a Dockerfile names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Whether it takes files from the main context.
    pub main: bool,
    /// What stands in `FROM`, `--from` and the `from` of mounts, as names of contexts are compared. Stages are among them.
    pub names: BTreeSet<String>,
}

/// What all stages of a Dockerfile mention; nothing if it cannot be parsed.
#[must_use]
pub fn mentions(file: &SourceFile) -> Option<Mentions> {
    let dockerfile = parse(file).dockerfile?;
    let mut mentions = Mentions::default();
    mentions.read(&dockerfile);
    Some(mentions)
}

impl Mentions {
    fn read(&mut self, dockerfile: &Dockerfile) {
        for stage in &dockerfile.stages {
            self.name(&stage.from.kind.image.text);
            for instruction in &stage.instructions {
                match &instruction.kind {
                    InstructionKind::Copy(copy) => match &copy.from {
                        Some(from) => self.name(&from.text),
                        None => self.main |= copy.sources.iter().any(is_path),
                    },
                    InstructionKind::Add(add) => self.main |= add.sources.iter().any(is_path),
                    InstructionKind::Run(run) => self.mounts(run),
                    _ => {}
                }
            }
        }
    }

    fn mounts(&mut self, run: &RunInstruction) {
        for mount in &run.mounts {
            let last = |key: &str| {
                let given = mount
                    .fields
                    .iter()
                    .rev()
                    .find(|field| field.key.value == key);
                given.and_then(|field| field.value.as_ref())
            };
            let from = last("from").filter(|from| !from.text.is_empty());
            match (from, last("type")) {
                (Some(from), _) => self.name(&from.text),
                (None, kind) => self.main |= kind.is_none_or(may_be_bind),
            }
        }
    }

    fn name(&mut self, name: &str) {
        self.names.insert(context_name(name));
    }
}

/// A path of the context, as opposed to a heredoc, a URL and a repository.
fn is_path(source: &CopySource) -> bool {
    match source {
        CopySource::Path(word) => !word.text.contains("://") && !word.text.starts_with("git@"),
        CopySource::Heredoc(_) => false,
    }
}

fn may_be_bind(kind: &Word) -> bool {
    kind.text.eq_ignore_ascii_case("bind") || kind.text.contains('$')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn of(instruction: &str) -> Mentions {
        let text = format!("FROM scratch\n{instruction}");
        mentions(&SourceFile::new(FileId(0), "Dockerfile", text).unwrap()).unwrap()
    }

    #[test]
    fn what_takes_files_from_the_main_context() {
        for instruction in [
            "COPY a b",
            "COPY <<EOF a b\nEOF",
            "ADD https://a.io/x a b",
            "RUN --mount=target=/x a",
            "RUN --mount=type=cache,target=/x --mount=type=bind,from=,target=/x a",
        ] {
            assert!(of(instruction).main, "{instruction}");
        }
        for instruction in [
            "RUN a",
            "COPY --from=a a b",
            "COPY <<EOF b\nEOF",
            "ADD https://a.io/x b",
            "ADD git@a.io:x b",
            "RUN --mount=type=cache,target=/x a",
            "RUN --mount=from=a,target=/x a",
            "ONBUILD COPY a b",
        ] {
            assert!(!of(instruction).main, "{instruction}");
        }
    }

    #[test]
    fn names_are_as_contexts_are_compared() {
        let names = of("COPY --from=docker.io/library/Ab:latest a b").names;
        assert!(names.contains("scratch"), "{names:?}");
        let names = of("RUN --mount=from=docker.io/library/ab:latest,target=/x a").names;
        assert!(names.contains("ab"), "{names:?}");
    }
}
