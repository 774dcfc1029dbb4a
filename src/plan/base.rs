//! What a stage starts from: another stage, an image, a folder, nothing.

use super::lower::{Lowering, Place};
use super::observation::Fact;
use super::options::NamedContext;
use super::reach::Named;
use super::stage::StageState;
use super::step::{BaseId, BaseRequest, CopyStep, StateRef, StepKind, TreeSource};
use super::{DEFAULT_PATH, Failure, fail};
use crate::source::Span;

impl Lowering<'_> {
    /// What a stage starts from.
    pub(super) fn base_state(&mut self, index: usize, count: usize) -> Result<StageState, Failure> {
        let line = self.lines[index].clone();
        if let Named::Stage(base) = line.named {
            // A base that failed has been reported; nothing more can be said of this stage.
            let missing = || {
                fail(
                    "base-stage",
                    self.dockerfile.stages[index].from.span,
                    "its base stage has errors",
                )
            };
            return Ok(self.finished[base].as_ref().ok_or_else(missing)?.derived());
        }
        let Some(request) = self.base_request(index)? else {
            let mut state = StageState::scratch(line.platform);
            if let Named::Context(context) = line.named
                && self.options.contexts[&context] == NamedContext::Directory
            {
                self.start_from_folder(&mut state, index, &context, count);
            }
            return Ok(state);
        };
        let from = &self.dockerfile.stages[index].from;
        let state = self.base_image_state(&request, &line.name, from.kind.image.span);
        let base = &self.resolved[&request];
        let mut config = base.config.clone();
        config.set("OnBuild", None);
        let windows = line.platform.os == "windows";
        if !windows && !config.env().iter().any(|(name, _)| name == "PATH") {
            config.set_env("PATH", DEFAULT_PATH);
        }
        Ok(StageState::new(state, config, line.platform))
    }

    /// A folder as the base of a stage: all that is in it is the first layer.
    fn start_from_folder(
        &mut self,
        state: &mut StageState,
        stage: usize,
        context: &str,
        count: usize,
    ) {
        let place = Place {
            stage,
            span: self.dockerfile.stages[stage].from.span,
            escape: self.dockerfile.escape,
            position: (1, count),
            trigger: false,
        };
        let text = format!("FROM {context}");
        let copy = CopyStep::whole(TreeSource::NamedContext(context.to_owned()));
        let step = self.step(state, place, &text, StepKind::Copy(copy));
        state.record(text, Some(step));
    }

    /// The state of a resolved image, which becomes one of the plan's bases.
    pub(super) fn base_image_state(
        &mut self,
        request: &BaseRequest,
        name: &str,
        span: Span,
    ) -> StateRef {
        let position = self.bases.iter().position(|base| base == request);
        let position = position.unwrap_or_else(|| {
            self.notice_platform(request, name, span);
            self.bases.push(request.clone());
            self.bases.len() - 1
        });
        StateRef::Base(BaseId(position))
    }

    fn notice_platform(&mut self, request: &BaseRequest, name: &str, span: Span) {
        let found = self.resolved[request].config.platform();
        let expected = &request.platform;
        if found.os != expected.os || found.arch != expected.arch {
            let fact = Fact::BasePlatform {
                image: name.to_owned(),
                found,
                expected: expected.clone(),
            };
            self.notice(span, fact);
        }
    }
}
