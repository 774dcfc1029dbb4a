//! The first pass of planning: which stages and images the target needs, from the target up. What a name means is in
//! `reach.rs`.

use super::lower::{Lowering, Trigger};
use super::options::NamedContext;
use super::reach::{self, Named};
use super::step::{BaseRequest, BaseSource};
use super::{Failure, fail};
use crate::dockerfile::ast::{Instruction, InstructionKind, Stage};
use crate::dockerfile::parse_trigger;
use crate::oci::{Platform, Reference};
use crate::source::Span;

impl Lowering<'_> {
    /// From the target up, since stages only use stages above them.
    pub(super) fn reach(&mut self) -> Result<(), Failure> {
        for index in (0..self.lines.len()).rev() {
            if !self.needed.contains(&index) {
                continue;
            }
            let line = self.lines[index].clone();
            let texts = match line.named {
                Named::Stage(base) => {
                    self.needed.insert(base);
                    onbuild_texts(&self.dockerfile.stages[base])
                }
                _ => match self.base_request(index)? {
                    Some(request) => {
                        let known = self
                            .resolved
                            .get(&request)
                            .map(|base| base.config.on_build());
                        self.requests
                            .insert(request, self.dockerfile.stages[index].from.span);
                        known.unwrap_or_default()
                    }
                    None => Vec::new(),
                },
            };
            self.triggers[index] = self.parse_triggers(index, &texts)?;
            self.reach_sources(index)?;
        }
        Ok(())
    }

    fn reach_sources(&mut self, index: usize) -> Result<(), Failure> {
        let dockerfile = self.dockerfile;
        let triggers = std::mem::take(&mut self.triggers[index]);
        let own = dockerfile.stages[index].instructions.iter();
        let mut all = triggers
            .iter()
            .map(|trigger| &trigger.instruction)
            .chain(own);
        let platform = self.lines[index].platform.clone();
        let result = all.try_for_each(|instruction| {
            let span = instruction.span;
            let at = (&platform, span);
            for reach::Mention { name, mount_target } in reach::mentions(instruction) {
                let options = self.options;
                // A wrong reference is reported when the instruction itself is lowered.
                let Ok(named) =
                    reach::reference(dockerfile, options, index, name, mount_target, at)
                else {
                    continue;
                };
                if let Named::Stage(used) = named {
                    self.needed.insert(used);
                } else if let Some(request) = self.image_request(&named, name, &platform, span)? {
                    self.requests.entry(request).or_insert(span);
                }
            }
            Ok(())
        });
        self.triggers[index] = triggers;
        result
    }

    /// What has to be resolved for a name that is no stage; nothing for `scratch` and for folders.
    pub(super) fn image_request(
        &self,
        named: &Named,
        name: &str,
        platform: &Platform,
        span: Span,
    ) -> Result<Option<BaseRequest>, Failure> {
        let source = match named {
            Named::Stage(_) => return Ok(None),
            Named::Context(context) => match &self.options.contexts[context] {
                NamedContext::Directory | NamedContext::Scratch | NamedContext::Stage(_) => {
                    return Ok(None);
                }
                NamedContext::Image(source) => source.clone(),
            },
            Named::Image if name == "scratch" => return Ok(None),
            Named::Image => {
                let parsed = name.parse::<Reference>();
                let bad = |error| {
                    let message = format!("failed to parse stage name \"{name}\": {error}");
                    let mut failure = fail("reference", span, message);
                    failure
                        .hints
                        .extend(reach::stage_hint(self.dockerfile, name));
                    failure
                };
                BaseSource::Reference(parsed.map_err(bad)?)
            }
        };
        let build = &self.options.build_platform;
        Ok(Some(BaseRequest::new(source, platform, build)))
    }

    pub(super) fn base_request(&self, index: usize) -> Result<Option<BaseRequest>, Failure> {
        let line = &self.lines[index];
        self.image_request(
            &line.named,
            &line.name,
            &line.wanted,
            self.dockerfile.stages[index].from.kind.image.span,
        )
    }

    fn parse_triggers(&mut self, stage: usize, texts: &[String]) -> Result<Vec<Trigger>, Failure> {
        let span = self.dockerfile.stages[stage].from.span;
        let mut triggers = Vec::new();
        for text in texts {
            let name = format!("ONBUILD of `{}`", self.lines[stage].name);
            let too_large =
                |error: crate::source::SourceError| fail("onbuild", span, error.to_string());
            let file = self
                .sources
                .add(name, text.clone().into_bytes())
                .map_err(too_large)?;
            let instruction = parse_trigger(&file).map_err(|diagnostics| {
                let why = diagnostics
                    .first()
                    .map_or("not an instruction", |d| d.message.as_str());
                fail(
                    "onbuild",
                    span,
                    format!("the base image's trigger `{text}` cannot be used: {why}"),
                )
            })?;
            triggers.push(Trigger { instruction });
        }
        Ok(triggers)
    }
}

fn onbuild_texts(stage: &Stage) -> Vec<String> {
    let text = |instruction: &Instruction| match &instruction.kind {
        InstructionKind::Onbuild(onbuild) => Some(onbuild.text.clone()),
        _ => None,
    };
    stage.instructions.iter().filter_map(text).collect()
}
