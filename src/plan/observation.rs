//! What planning notices about a Dockerfile on its way. Facts only: whether an author should hear of one, and in which words,
//! is for `lint` to say.

use super::lower::Lowering;
use super::stage::StageState;
use crate::oci::Platform;
use crate::source::Span;

/// Something noticed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The place; for the trigger of a base it may be in the trigger's own text.
    pub span: Span,
    /// What.
    pub fact: Fact,
}

/// What planning can notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A variable that is not set was expanded in a stage.
    UndefinedVariable {
        /// Its name.
        name: String,
        /// A name in scope that is close to it.
        similar: Option<String>,
        /// Whether the global scope has a value for it, so that `ARG NAME` would bring it in.
        global: bool,
    },
    /// A `FROM` line uses a name that no global `ARG` declares.
    UndeclaredFromArgument {
        /// The name.
        name: String,
        /// A declared name that is close to it.
        similar: Option<String>,
    },
    /// Without build arguments the name in a `FROM` line would be empty or no image name.
    DefaultBaseName {
        /// The name as written.
        written: String,
    },
    /// An image is for another system or processor than was asked for.
    BasePlatform {
        /// The image as named.
        image: String,
        /// What it is for.
        found: Platform,
        /// What was asked for.
        expected: Platform,
    },
    /// The first `WORKDIR` of this file's stages is relative, so that it depends on the base.
    RelativeWorkdir {
        /// The path, expanded.
        path: String,
    },
    /// A `CMD` or `ENTRYPOINT` in shell form where no `SHELL` says which shell.
    ShellForm {
        /// Whether the image has nothing that the command is put together with: no `ENTRYPOINT` for a `CMD`, no `CMD` for an
        /// `ENTRYPOINT`.
        alone: bool,
    },
    /// A port was exposed.
    ExposedPort {
        /// One port or range, expanded, with the protocol and host parts that the author wrote.
        spec: String,
    },
}

impl Lowering<'_> {
    pub(super) fn notice(&mut self, span: Span, fact: Fact) {
        self.observations.push(Observation { span, fact });
    }

    /// Notices the variables that an expansion in a stage missed. Declared without a value is not undefined.
    pub(super) fn notice_undefined(&mut self, state: &StageState, names: Vec<String>, span: Span) {
        for name in names {
            if state.declares(&name) {
                continue;
            }
            let mut known: Vec<&str> = state.names().collect();
            known.extend(self.globals.automatic().map(|name| -> &str { name }));
            let similar = similar(&name, known.into_iter());
            let global = self.globals.get(&name).is_some();
            self.notice(
                span,
                Fact::UndefinedVariable {
                    name,
                    similar,
                    global,
                },
            );
        }
    }
}

/// The name that is closest to what was written, if any is close and none is the same.
pub(super) fn similar<'n>(
    written: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Option<String> {
    const FURTHEST: usize = 2;
    if names.clone().any(|name| name == written) {
        return None;
    }
    let length = written.chars().count();
    let distances = names
        // Cheaper than to compare, and as far away at the least.
        .filter(|name| name.chars().count().abs_diff(length) <= FURTHEST)
        .map(|name| (strsim::levenshtein(written, name), name));
    let (distance, name) = distances.min()?;
    (distance <= FURTHEST).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_suggested() {
        let known = ["PATH", "DIR_ASSETS", "DIR_CONFIG"];
        for (written, expected) in [
            ("PAHT", Some("PATH")),
            ("DIR_ASSET", Some("DIR_ASSETS")),
            ("PATH", None),
            ("HOME", None),
        ] {
            let found = similar(written, known.iter().copied());
            assert_eq!(found.as_deref(), expected, "of {written}");
        }
    }
}
