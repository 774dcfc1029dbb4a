//! What a stage starts from: another stage, an image, a folder, nothing.

use super::lower::{Lowering, Place};
use super::options::NamedContext;
use super::reach::Named;
use super::stage::StageState;
use super::step::{BaseId, BaseRequest, CopyStep, StateRef, StepKind, TreeSource};
use super::{DEFAULT_PATH, Failure, fail};
use crate::source::Diagnostic;

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
        let state = self.base_image_state(&request);
        let base = &self.resolved[&request];
        let mut config = base.config.clone();
        let found = config.platform();
        if !found.satisfies(&line.platform) {
            let message = format!(
                "Base image {} was pulled with platform \"{found}\", expected \"{}\" for current build",
                base.name, line.platform
            );
            let span = self.dockerfile.stages[index].from.kind.image.span;
            let warning = Diagnostic::warning("InvalidBaseImagePlatform", message);
            self.warnings.push(warning.at(span, ""));
        }
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
    pub(super) fn base_image_state(&mut self, request: &BaseRequest) -> StateRef {
        let position = self.bases.iter().position(|base| base == request);
        let position = position.unwrap_or_else(|| {
            self.bases.push(request.clone());
            self.bases.len() - 1
        });
        StateRef::Base(BaseId(position))
    }
}
