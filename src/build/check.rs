//! Looks at a Dockerfile without building it: its findings, its outline, its targets. No step runs, nothing is stored.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::{BuildError, ResolveError, image_name};
use super::request::Request;
use super::resolve::{Found, ImageResolver};
use super::source::{self, Opened, Reader};
use super::{Sources, Vertices};
use crate::dockerfile::Dockerfile;
use crate::fsio;
use crate::oci::{BaseImage, Config, Digest};
use crate::plan::{self, BaseRequest, Outline, Plan, Target};
use crate::solve::{BuildEvent, EventSink};
use crate::source::{Diagnostic, SourceMap, Span};

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// The file that was checked.
    pub dockerfile: PathBuf,
    /// Findings, in the order of their places.
    pub warnings: Vec<Diagnostic>,
    /// Why there would be no image.
    pub error: Option<BuildError>,
    /// Base images that could not be had and were taken for empty ones.
    pub missing: Vec<MissingBase>,
}

/// A base image that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBase {
    /// The image as asked for.
    pub name: String,
    /// Why, in one line.
    pub reason: String,
}

/// What to do about a base image that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingBases {
    /// There would be no image, so it is the error that ends the check.
    Refuse,
    /// Check what can be checked without it.
    Tolerate,
}

/// Finds what there is to say about a Dockerfile.
///
/// # Errors
/// The context or the Dockerfile cannot be read. What is wrong *in* the Dockerfile is part of the answer.
pub fn check(
    request: &Request,
    reader: &Reader<'_>,
    bases: MissingBases,
    sources: &mut Sources,
    sink: &mut dyn EventSink,
) -> Result<Checked, BuildError> {
    let mut vertices = Vertices::new(sink);
    let opened = match source::open(request, reader, sources, &mut vertices) {
        Ok(opened) => opened,
        // A file that is no text is a mistake of its author like others.
        Err(error @ BuildError::Text(_)) => {
            return Ok(Checked {
                dockerfile: source::dockerfile_path(request),
                error: Some(error),
                ..Checked::default()
            });
        }
        Err(error) => return Err(error),
    };
    let mut checked = match source::parse(&opened.file) {
        Ok((dockerfile, remarks)) => {
            let images = ImagesOnly(reader.resolver);
            let substitutes = Substitutes::new(&images);
            let (resolver, substitutes): (&dyn ImageResolver, _) = match bases {
                MissingBases::Refuse => (&images, None),
                MissingBases::Tolerate => (&substitutes, Some(&substitutes)),
            };
            let parsed = (&dockerfile, remarks.as_slice());
            examine(
                request,
                (resolver, substitutes),
                &opened,
                parsed,
                sources,
                &mut vertices,
            )?
        }
        Err(error) => Checked::default().with_error(error)?,
    };
    checked.dockerfile = source::dockerfile_path(request);
    Ok(checked)
}

/// What there is to say about a Dockerfile that parses, where it is, and what parsing had to say. `substitutes` has the bases
/// that could not be had, if the resolver makes up for them.
pub(super) fn examine(
    request: &Request,
    (resolver, substitutes): (&dyn ImageResolver, Option<&Substitutes<'_>>),
    opened: &Opened,
    parsed: (&Dockerfile, &[Diagnostic]),
    sources: &mut Sources,
    vertices: &mut Vertices<'_>,
) -> Result<Checked, BuildError> {
    let mut request = request.clone();
    // Without a target, everything.
    request.plan.all_stages = true;
    let dockerfile = parsed.0;
    let planned =
        super::platforms::plan_all(&request, resolver, (dockerfile, opened), sources, vertices);
    let (plan, error) = match planned {
        Ok((plan, _)) => (Some(plan), None),
        Err(error) => (None, Some(error)),
    };
    let found = super::findings(&request, opened, parsed, plan.as_ref(), sources)?;
    let missing = substitutes.map(Substitutes::missing).unwrap_or_default();
    let unknown = |span| {
        let base = plan
            .as_ref()
            .and_then(|plan| stage_base(dockerfile, plan, span));
        base.is_some_and(|base| missing.contains_key(base))
    };
    let mut checked = Checked {
        warnings: found.warnings,
        ..Checked::default()
    };
    let on_unknown = |warning: &Diagnostic| warning.span().is_some_and(unknown);
    // What a base that nobody has seen sets is not known: neither its variables nor its shell and its entry point.
    checked
        .warnings
        .retain(|warning| warning.code != "UndefinedVar" || !on_unknown(warning));
    for warning in &mut checked.warnings {
        if warning.code == "JSONArgsRecommended" && on_unknown(warning) {
            warning.fix.clear();
        }
    }
    let violated = || (!found.violated.is_empty()).then_some(BuildError::Check(found.violated));
    if let Some(error) = error.or_else(violated) {
        checked = checked.with_error(error)?;
    }
    let name = |(request, reason): (BaseRequest, String)| MissingBase {
        name: image_name(&request),
        reason,
    };
    checked.missing = missing.into_iter().map(name).collect();
    Ok(checked)
}

impl Checked {
    /// Takes an error in if it is about the Dockerfile; its doubts go to the others.
    fn with_error(mut self, error: BuildError) -> Result<Self, BuildError> {
        self.error = Some(match error {
            BuildError::Dockerfile(diagnostics) => {
                let (mistakes, doubts): (Vec<_>, Vec<_>) =
                    diagnostics.into_iter().partition(Diagnostic::is_error);
                self.warnings.extend(doubts);
                BuildError::Dockerfile(mistakes)
            }
            error @ (BuildError::Base { .. } | BuildError::Check(_)) => error,
            error => return Err(error),
        });
        Ok(self)
    }
}

/// What the target of a build takes. Base images are not asked for.
///
/// # Errors
/// The Dockerfile cannot be read, or has mistakes.
pub fn outline(
    request: &Request,
    reader: &Reader<'_>,
    sources: &mut Sources,
    sink: &mut dyn EventSink,
) -> Result<Outline, BuildError> {
    let opened = source::open(request, reader, sources, &mut Vertices::new(sink))?;
    let (dockerfile, _) = source::parse(&opened.file)?;
    let options = super::plan_options(request, &opened);
    plan::outline(&dockerfile, &mut sources.map, &options).map_err(BuildError::Dockerfile)
}

/// The stages of a Dockerfile.
///
/// # Errors
/// The Dockerfile cannot be read, or has mistakes.
pub fn targets(
    request: &Request,
    reader: &Reader<'_>,
    sources: &mut Sources,
    sink: &mut dyn EventSink,
) -> Result<Vec<Target>, BuildError> {
    let opened = source::open(request, reader, sources, &mut Vertices::new(sink))?;
    let (dockerfile, _) = source::parse(&opened.file)?;
    Ok(plan::targets(&dockerfile))
}

/// Tells those who follow the events about findings.
pub(super) fn report(warnings: &[Diagnostic], sources: &SourceMap, sink: &mut dyn EventSink) {
    for warning in warnings {
        let line = warning
            .span()
            .and_then(|span| Some(sources.get(span.file)?.line(span.start)));
        sink.emit(BuildEvent::Finding {
            rule: warning.code,
            message: warning.message.clone(),
            line,
            url: crate::lint::rule(warning.code).and_then(|rule| rule.url),
        });
    }
}

/// The image that the stage around a place starts from, through the stages in between.
fn stage_base<'p>(dockerfile: &Dockerfile, plan: &'p Plan, span: Span) -> Option<&'p BaseRequest> {
    let begins = |stage: &crate::dockerfile::ast::Stage| stage.from.span <= span;
    let stage = dockerfile.stages.iter().rposition(begins)?;
    let (base, _) = plan.chain(*plan.states.get(&stage)?);
    base.map(|base| plan.base(base))
}

/// Asks another resolver, once for each image, and answers with an empty image where that one fails.
#[derive(Debug)]
pub(super) struct Substitutes<'a> {
    inner: &'a dyn ImageResolver,
    answers: Mutex<BTreeMap<BaseRequest, Result<BaseImage, String>>>,
}

impl<'a> Substitutes<'a> {
    pub(super) fn new(inner: &'a dyn ImageResolver) -> Self {
        Self {
            inner,
            answers: Mutex::default(),
        }
    }

    /// What could not be had, and why.
    fn missing(&self) -> BTreeMap<BaseRequest, String> {
        let answers = self.answers();
        let failed = |(request, answer): (&BaseRequest, &Result<BaseImage, String>)| {
            Some((request.clone(), answer.as_ref().err()?.clone()))
        };
        answers.iter().filter_map(failed).collect()
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<BaseRequest, Result<BaseImage, String>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ImageResolver for Substitutes<'_> {
    fn resolve(&self, request: &BaseRequest) -> Result<Found, ResolveError> {
        let known = self.answers().get(request).cloned();
        // Not asked under the lock: images are asked for all at once.
        let answer = known.unwrap_or_else(|| {
            let answer = self.inner.resolve(request).map(|found| found.image);
            answer.map_err(|error| fsio::with_causes(&error))
        });
        self.answers().insert(request.clone(), answer.clone());
        Ok(answer.unwrap_or_else(|_| empty(request)).into())
    }
}

/// Asks another resolver for images. Trees have nothing that a check could look at, so they are not fetched.
#[derive(Debug)]
pub(super) struct ImagesOnly<'a>(pub(super) &'a dyn ImageResolver);

impl ImageResolver for ImagesOnly<'_> {
    fn resolve(&self, request: &BaseRequest) -> Result<Found, ResolveError> {
        if request.is_tree() {
            return Ok(empty(request).into());
        }
        self.0.resolve(request)
    }
}

/// An image that says nothing.
fn empty(request: &BaseRequest) -> BaseImage {
    BaseImage {
        name: image_name(request),
        digest: Digest::of(""),
        config: Config::scratch(&request.platform),
        layers: Vec::new(),
        time: None,
    }
}
