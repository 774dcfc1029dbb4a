//! `FROM` lines: what they name and for which platform, expanded with the global scope.

use std::collections::BTreeMap;

use super::globals::Globals;
use super::lower::Lowering;
use super::observation::{Fact, Observation, similar};
use super::options::PlanOptions;
use super::reach::{self, Named};
use super::{Failure, expanded, fail};
use crate::dockerfile::ast::Word;
use crate::oci::{Platform, Reference};
use crate::source::Span;

/// The `FROM` line of a stage, expanded.
#[derive(Clone, Debug)]
pub(super) struct FromLine {
    pub(super) name: String,
    pub(super) named: Named,
    /// For which platform its image is looked for.
    pub(super) wanted: Platform,
    /// For which platform the stage is built.
    pub(super) platform: Platform,
}

impl Lowering<'_> {
    /// Reads every `FROM` line.
    pub(super) fn read_from_lines(&mut self) -> Result<(), Failure> {
        self.notice_default_base_names();
        for index in 0..self.dockerfile.stages.len() {
            let line = self.read_from_line(index)?;
            self.lines.push(line);
        }
        Ok(())
    }

    /// What a name that nobody declares, in the word of a `FROM` line, was probably meant to be.
    fn similar_argument(&self, word: Span) -> String {
        let similar = |observation: &Observation| match &observation.fact {
            Fact::UndeclaredFromArgument { similar, .. } if observation.span == word => {
                similar.clone()
            }
            _ => None,
        };
        let found = self.observations.iter().rev().find_map(similar);
        found.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
    }

    fn read_from_line(&mut self, index: usize) -> Result<FromLine, Failure> {
        let from = &self.dockerfile.stages[index].from.kind;
        let name = self.expand_from(&from.image)?;
        if name.trim().is_empty() {
            let message = format!("base name ({}) should not be blank", from.image.text);
            return Err(fail("blank-base", from.image.span, message));
        }
        let explicit: Option<Platform> = match &from.platform {
            Some(word) => {
                let text = self.expand_from(word)?;
                if text.is_empty() {
                    let similar = self.similar_argument(word.span);
                    let message = format!(
                        "empty platform value from expression {}{similar}",
                        word.text
                    );
                    return Err(fail("platform", word.span, message));
                }
                let parsed = text.parse().map_err(|error: crate::oci::PlatformError| {
                    fail("platform", word.span, error.to_string())
                })?;
                Some(parsed)
            }
            None => None,
        };
        let wanted = explicit.clone().unwrap_or_else(|| self.target_platform());
        let named = reach::base(self.dockerfile, self.options, index, &name, &wanted)?;
        let mut line = FromLine {
            name,
            named,
            platform: wanted.clone(),
            wanted,
        };
        match line.named {
            _ if explicit.is_some() => {}
            Named::Stage(base) => line.platform = self.lines[base].platform.clone(),
            _ if self.options.platform.is_none() => self.adopt_platform(&mut line, index),
            _ => {}
        }
        Ok(line)
    }

    /// Nobody asked for a platform: the stage takes that of its base, which may exist for one other platform only.
    fn adopt_platform(&self, line: &mut FromLine, index: usize) {
        let span = self.dockerfile.stages[index].from.kind.image.span;
        let request = self.image_request(&line.named, &line.name, &line.wanted, span);
        // A name that is wrong is reported if the stage is needed.
        if let Ok(Some(request)) = request
            && let Some(base) = self.resolved.get(&request)
        {
            let found = base.config.platform();
            let known = !found.os.is_empty() && !found.arch.is_empty();
            let other = (&found.os, &found.arch) != (&line.wanted.os, &line.wanted.arch);
            if known && other {
                line.platform = found;
            }
        }
    }

    /// Expands a word of a `FROM` line, which sees the global scope.
    fn expand_from(&mut self, word: &Word) -> Result<String, Failure> {
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
    fn notice_default_base_names(&mut self) {
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

    /// The platform that stages are for that say nothing else.
    pub(super) fn target_platform(&self) -> Platform {
        self.options
            .platform
            .clone()
            .unwrap_or_else(|| self.options.build_platform.clone())
    }
}
