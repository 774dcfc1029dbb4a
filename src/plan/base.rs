//! What a stage starts from: another stage, an image, a folder, nothing.

use super::lower::{Lowering, Place};
use super::observation::Fact;
use super::options::{MainContext, NamedContext};
use super::reach::Named;
use super::stage::StageState;
use super::step::{BaseId, BaseRequest, CopyStep, StateRef, StepKind, TreeSource};
use super::{DEFAULT_PATH, Failure, fail};
use crate::oci::{BaseImage, Platform};
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
            self.derivations[base] = self.derivations[base].saturating_sub(1);
            let finished = &mut self.finished[base];
            let state = if self.derivations[base] == 0 {
                finished.take()
            } else {
                finished.clone()
            };
            return Ok(state.ok_or_else(missing)?.derived());
        }
        let request = self.base_request(index)?;
        let tree = match (&request, &line.named) {
            (Some(request), _) if request.is_tree() => {
                let span = self.dockerfile.stages[index].from.span;
                Some(TreeSource::State(self.base_image_state(request, span)))
            }
            (None, Named::Context(context))
                if self.options.contexts[context] == NamedContext::Directory =>
            {
                Some(TreeSource::NamedContext(context.clone()))
            }
            _ => None,
        };
        if let Some(tree) = tree {
            let mut state = StageState::scratch(line.platform);
            self.start_from_files(&mut state, index, tree, count);
            return Ok(state);
        }
        let Some(request) = request else {
            return Ok(StageState::scratch(line.platform));
        };
        let from = &self.dockerfile.stages[index].from;
        let span = from.kind.image.span;
        let state = self.base_image_state(&request, span);
        let base = &self.resolved[&request];
        let mut config = base.config.clone();
        self.notice_platform(&request, &line.name, &line.platform, span);
        config.set("OnBuild", None);
        let windows = line.platform.os == "windows";
        if !windows && !config.env().iter().any(|(name, _)| name == "PATH") {
            config.set_env("PATH", DEFAULT_PATH);
        }
        Ok(StageState::new(state, config, line.platform))
    }

    /// Files as the base of a stage: all of them are the first layer.
    fn start_from_files(
        &mut self,
        state: &mut StageState,
        stage: usize,
        tree: TreeSource,
        count: usize,
    ) {
        let place = Place {
            stage,
            span: self.dockerfile.stages[stage].from.span,
            escape: self.dockerfile.escape,
            position: (1, count),
            trigger: false,
        };
        let text = format!("FROM {}", self.lines[stage].name);
        let copy = CopyStep::whole(tree);
        let step = self.step(state, place, &text, StepKind::Copy(copy));
        state.record(text, Some(step));
    }

    /// The state of an image or tree, which becomes one of the plan's bases. One that is not resolved is asked for.
    pub(super) fn base_image_state(&mut self, request: &BaseRequest, span: Span) -> StateRef {
        self.ask_for(request, span);
        let position = self.bases.iter().position(|base| base == request);
        let position = position.unwrap_or_else(|| {
            self.bases.push(request.clone());
            self.bases.len() - 1
        });
        StateRef::Base(BaseId(position))
    }

    /// Notices an image that is for another platform than it is used for.
    pub(super) fn notice_platform(
        &mut self,
        request: &BaseRequest,
        name: &str,
        expected: &Platform,
        span: Span,
    ) {
        let image = self.resolved.get(request).filter(|_| !request.is_tree());
        let Some(found) = image.map(|image| image.config.platform()) else {
            return;
        };
        if (&found.os, &found.arch) != (&expected.os, &expected.arch) {
            let fact = Fact::BasePlatform {
                image: name.to_owned(),
                found,
                expected: expected.clone(),
            };
            self.notice(span, fact);
        }
    }

    /// What was resolved for a request; else it will be resolved before planning goes on.
    pub(super) fn ask_for(&mut self, request: &BaseRequest, span: Span) -> Option<&'_ BaseImage> {
        let found = self.resolved.get(request);
        if found.is_none() {
            self.missing.entry(request.clone()).or_insert(span);
        }
        found.map(AsRef::as_ref)
    }

    /// What COPY takes files from that says nothing else.
    pub(super) fn main_context(&mut self, platform: &Platform, span: Span) -> TreeSource {
        match &self.options.context {
            MainContext::Directory => TreeSource::Context,
            MainContext::Empty => TreeSource::State(StateRef::Scratch),
            MainContext::Base(source) => {
                let request =
                    BaseRequest::new(source.clone(), platform, &self.options.build_platform);
                TreeSource::State(self.base_image_state(&request, span))
            }
        }
    }
}
