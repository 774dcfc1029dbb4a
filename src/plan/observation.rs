//! What planning notices about a Dockerfile on its way. Facts only: whether an author should hear of one, and in which words,
//! is for `lint` to say.

use std::collections::BTreeMap;

use super::globals::Globals;
use super::lower::Lowering;
use super::options::PlanOptions;
use super::reach::{self, Named};
use super::stage::StageState;
use super::{Failure, expanded};
use crate::dockerfile::ast::Word;
use crate::oci::{Platform, Reference};
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
            let automatic = self.globals.automatic().map(str::to_owned);
            let known: Vec<String> = state.names().map(str::to_owned).chain(automatic).collect();
            let similar = similar(&name, known.iter().map(String::as_str));
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

    /// Expands a word of a `FROM` line, which sees the global scope.
    pub(super) fn expand_from(&mut self, word: &Word) -> Result<String, Failure> {
        let globals = &self.globals;
        let lookup = |name: &str| globals.get(name);
        let expansion = expanded(word, self.dockerfile.escape, &lookup)?;
        for name in expansion.unset {
            if self.globals.declares(&name) {
                continue;
            }
            let similar = similar(&name, self.globals.names());
            self.notice(word.span, Fact::UndeclaredFromArgument { name, similar });
        }
        Ok(expansion.value)
    }

    /// Looks at every `FROM` line as it would be without build arguments.
    pub(super) fn notice_default_base_names(&mut self) {
        let dockerfile = self.dockerfile;
        let options = PlanOptions {
            build_args: BTreeMap::new(),
            ..self.options.clone()
        };
        let target = reach::name_of(&dockerfile.stages[self.target]).cloned();
        // Where the defaults cannot be evaluated there is nothing to say about them.
        let Ok(globals) =
            Globals::new(dockerfile, &options, target.as_deref().unwrap_or("default"))
        else {
            return;
        };
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            let word = &stage.from.kind.image;
            let lookup = |name: &str| globals.get(name);
            let Ok(expansion) = expanded(word, dockerfile.escape, &lookup) else {
                return;
            };
            let wanted = self.target_platform();
            let named = reach::base(dockerfile, &options, index, &expansion.value, &wanted);
            if matches!(named, Ok(Named::Image)) && expansion.value.parse::<Reference>().is_err() {
                let written = word.text.clone();
                self.notice(word.span, Fact::DefaultBaseName { written });
            }
        }
    }

    /// What a name that nobody declares, in the word of a `FROM` line, was probably meant to be.
    pub(super) fn similar_argument(&self, word: Span) -> String {
        let similar = |observation: &Observation| match &observation.fact {
            Fact::UndeclaredFromArgument { similar, .. } if observation.span == word => {
                similar.clone()
            }
            _ => None,
        };
        let found = self.observations.iter().rev().find_map(similar);
        found.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
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
    let distances = names.map(|name| (strsim::levenshtein(written, name), name));
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
