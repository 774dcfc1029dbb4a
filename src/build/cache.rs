//! Caches outside this machine in a build: read before the steps run, written after the image is where it should be. What goes
//! wrong with them is a warning, unless the user wants a failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::BuildError;
use super::request::Request;
use super::{Tools, Vertices, output};
use crate::cache::mounts::Mounts;
use crate::cache::{
    self, BuiltStep, CacheError, ExportSpec, ExportTo, Exported, INLINE_KEY, Imported, Means, Place,
};
use crate::export::{ExportLayer, OutputKind, OutputSpec};
use crate::image::AssembledImage;
use crate::layer::Privileges;
use crate::oci::Digest;
use crate::plan::{NoCache, Plan, RunMount, StateRef, StepId, StepKind};
use crate::solve::{BuildEvent, LayerError, Solution, StepError};
use crate::store::Store;

/// What caches are read and written with.
fn means(request: &Request, tools: &Tools<'_>) -> Means {
    Means {
        store: Arc::clone(&tools.store),
        client: tools.client.clone(),
        clock: request.clock,
    }
}

/// Reads the caches that the build may use. Gives the time that it took, too.
pub(super) fn import(
    request: &Request,
    tools: &Tools<'_>,
    vertices: &mut Vertices<'_>,
) -> (Option<Imported>, Duration) {
    let specs = &request.cache.from;
    if specs.is_empty() || request.plan.no_cache == NoCache::Always {
        return (None, Duration::ZERO);
    }
    let started = Instant::now();
    let ids: Vec<_> = specs
        .iter()
        .map(|spec| vertices.begin(format!("importing cache manifest from {}", spec.place)))
        .collect();
    let (imported, results) = cache::import(&means(request, tools), specs);
    for ((spec, id), result) in specs.iter().zip(ids).zip(results) {
        let event = match result {
            Ok(records) => BuildEvent::Noted {
                id,
                text: format!("{records} records"),
            },
            Err(_) if tools.client.stop().is_requested() => {
                vertices.cancel(id);
                continue;
            }
            Err(error) => warning(&format!("the cache {} is not used", spec.place), &error),
        };
        vertices.sink.emit(event);
        vertices.end(id, &Ok(()), started.elapsed());
    }
    (Some(imported), started.elapsed())
}

/// The places that folders of cache mounts are restored from.
pub(super) fn mounts(
    request: &Request,
    tools: &Tools<'_>,
    privileges: Privileges,
) -> Option<Mounts> {
    let specs = &request.cache.mounts;
    let mounts = || Mounts::new(means(request, tools), specs, privileges);
    (!specs.is_empty()).then(mounts)
}

/// Saves the folders of the cache mounts that steps of this build used. Gives the time that it took.
pub(super) fn save_mounts(
    request: &Request,
    tools: &Tools<'_>,
    (plan, solution): (&Plan, &Solution),
    privileges: Privileges,
    vertices: &mut Vertices<'_>,
) -> Result<Duration, BuildError> {
    let started = Instant::now();
    for spec in request.cache.mounts.iter().filter(|spec| spec.save) {
        let mut folders = BTreeMap::new();
        for id in used_mounts(plan, solution).filter(|id| spec.is_about(id)) {
            folders.insert(id.to_owned(), tools.store.cache_mount(id));
        }
        if folders.is_empty() {
            continue;
        }
        let place = &spec.place;
        vertices.work(format!("saving cache mounts to {place}"), |sink, id| {
            match cache::mounts::save(&means(request, tools), spec, &folders, privileges) {
                Ok(moved) => {
                    for text in moved.lines {
                        sink.emit(BuildEvent::Noted { id, text });
                    }
                    for message in moved.warnings {
                        sink.emit(BuildEvent::Warning { message });
                    }
                    Ok(())
                }
                Err(_) if tools.client.stop().is_requested() => Err(BuildError::Interrupted),
                Err(error) => {
                    let what = format!("cache mounts were not saved to {place}");
                    sink.emit(warning(&what, &error));
                    Ok(())
                }
            }
        })?;
    }
    Ok(started.elapsed())
}

/// The ids of the cache mounts of steps that ran. Those that start with content stay here.
fn used_mounts<'a>(plan: &'a Plan, solution: &'a Solution) -> impl Iterator<Item = &'a str> {
    let steps = plan.steps.iter().enumerate();
    let ran = steps.filter(|(index, _)| !solution.step(StepId(*index)).cached);
    ran.flat_map(|(_, step)| match &step.kind {
        StepKind::Run(run) => run.mounts.as_slice(),
        _ => &[],
    })
    .filter_map(|mount| match mount {
        RunMount::Cache { id, from: None, .. } => Some(id.as_str()),
        _ => None,
    })
}

/// Whether a failure is that of a cache that promised a layer. What it promised is forgotten, so that the next attempt makes it.
pub(super) fn is_to_blame(
    imported: Option<&Imported>,
    error: &BuildError,
    vertices: &mut Vertices<'_>,
) -> bool {
    let Some(imported) = imported else {
        return false;
    };
    if error.category() == super::Category::Interrupted {
        return false;
    }
    let wrong = match error {
        BuildError::Solve(error) => match &error.source {
            StepError::Layer(error) => wrong_layer(error),
            _ => None,
        },
        BuildError::Export(crate::export::ExportError::Layer { diff_id, .. }) => Some(*diff_id),
        _ => None,
    };
    let forgotten = imported.forget_failed(wrong);
    for message in &forgotten {
        vertices.sink.emit(BuildEvent::Warning {
            message: message.clone(),
        });
    }
    !forgotten.is_empty()
}

fn wrong_layer(error: &LayerError) -> Option<Digest> {
    match error {
        LayerError::WrongContent { diff_id, .. } | LayerError::Format { diff_id, .. } => {
            Some(*diff_id)
        }
        _ => None,
    }
}

/// Writes the caches that were asked for. Gives the time that it took.
pub(super) fn export(
    request: &Request,
    tools: &Tools<'_>,
    (plan, solution): (&Plan, &Solution),
    vertices: &mut Vertices<'_>,
) -> Result<Duration, BuildError> {
    let started = Instant::now();
    let places = request.cache.to.iter().filter_map(|spec| match &spec.to {
        ExportTo::Place(place) => Some((spec, place)),
        ExportTo::Inline => None,
    });
    let mut steps = None;
    for (spec, place) in places {
        let steps = steps.get_or_insert_with(|| built_steps(&tools.store, plan, solution));
        vertices.work(format!("exporting cache to {place}"), |sink, id| {
            let usual = usual_output(request);
            let pushed = output::pushed(request);
            let means = means(request, tools);
            match cache::export(&means, (spec, place), steps, &usual, &pushed) {
                Ok(exported) => {
                    let text = line(&exported);
                    sink.emit(BuildEvent::Noted { id, text });
                    Ok(())
                }
                Err(error) => outcome(spec, place, error, sink),
            }
        })?;
    }
    Ok(started.elapsed())
}

/// A cache that was not written.
fn outcome(
    spec: &ExportSpec,
    place: &Place,
    error: CacheError,
    sink: &mut dyn crate::solve::EventSink,
) -> Result<(), BuildError> {
    match (error, spec.ignore_error) {
        (CacheError::Stopped, _) => Err(BuildError::Interrupted),
        (source, Some(false)) => Err(BuildError::Cache {
            place: place.to_string(),
            source: Box::new(source),
        }),
        (error, _) => {
            sink.emit(warning(
                &format!("the cache {place} was not written"),
                &error,
            ));
            Ok(())
        }
    }
}

fn warning(what: &str, error: &CacheError) -> BuildEvent {
    BuildEvent::Warning {
        message: format!("{what}: {}", crate::fsio::with_causes(error)),
    }
}

fn line(exported: &Exported) -> String {
    let left_out = match exported.left_out {
        0 => String::new(),
        count => format!(", {count} left out because their layers are gone"),
    };
    let records = exported.records;
    match exported.sent {
        None => format!("{records} records, all there already{left_out}"),
        Some(sent) => format!(
            "{records} records, {} blobs sent ({}), {} were there{left_out}",
            sent.blobs,
            cache::size(sent.bytes),
            sent.there
        ),
    }
}

/// The steps of a build, in the order of the plan.
fn built_steps(store: &Store, plan: &Plan, solution: &Solution) -> Vec<BuiltStep> {
    let mut in_image = vec![false; plan.steps.len()];
    for image in &plan.images {
        for step in plan.chain(image.state).1 {
            in_image[step.0] = true;
        }
    }
    (0..plan.steps.len())
        .map(|index| built_step(store, solution, StepId(index), in_image[index]))
        .collect()
}

fn built_step(store: &Store, solution: &Solution, id: StepId, in_image: bool) -> BuiltStep {
    let result = solution.step(id);
    let record = result.key.and_then(|key| store.step_once(key));
    BuiltStep {
        // Somebody else may have filed another result of the same step meanwhile.
        record: record.filter(|record| record.diff_id == result.layer.diff_id),
        quick: result.quick,
        layer: ExportLayer {
            diff_id: result.layer.diff_id,
            remote: result.layer.remote.clone(),
        },
        in_image,
    }
}

/// How the layers of the image are compressed: those of the cache are the same blobs.
fn usual_output(request: &Request) -> OutputSpec {
    let has_layers = |output: &&OutputSpec| match output.kind {
        OutputKind::Oci | OutputKind::Docker => true,
        OutputKind::Image => output.push,
        _ => false,
    };
    let first = request.outputs.iter().find(has_layers);
    first
        .cloned()
        .unwrap_or_else(|| OutputSpec::new(OutputKind::Oci))
}

/// Puts the records of an image into its config, if that was asked for. Those of its base are not its own.
pub(super) fn embed(
    request: &Request,
    store: &Store,
    (plan, solution): (&Plan, &Solution),
    state: StateRef,
    image: &mut AssembledImage,
) {
    let wanted = request
        .cache
        .to
        .iter()
        .any(|spec| spec.to == ExportTo::Inline);
    let value = wanted.then(|| {
        let (_, steps) = plan.chain(state);
        let steps: Vec<BuiltStep> = steps
            .into_iter()
            .map(|id| built_step(store, solution, id, true))
            .collect();
        let compression = usual_output(request).compression_name();
        cache::inline(&steps, &image.diff_ids, Some(&compression))
    });
    if value.is_some() || image.config.raw().contains_key(INLINE_KEY) {
        image.config.set_top(INLINE_KEY, value);
    }
}
