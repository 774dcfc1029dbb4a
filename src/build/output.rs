//! The end of a build: the image gets its names in the local store, and goes where it was asked to go.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::BuildError;
use super::request::Request;
use super::{Tools, Vertices};
use crate::export::{
    self, Destination, ExportError, ExportLayer, Image, ImageSet, OutputKind, OutputSpec,
};
use crate::fsio;
use crate::image::AssembledImage;
use crate::oci::{BlobSource, Config, Descriptor, Digest, LayerSource, Reference, media_type};
use crate::plan::Plan;
use crate::registry::PushEvent;
use crate::solve::{self, BuildEvent, Environment, EventSink, Solution, VertexId};
use crate::store::{ImageLayer, ImageRecord, Store, StoredImage};

/// Refuses what cannot be written, before anything is built for it.
pub(super) fn check(request: &Request) -> Result<(), BuildError> {
    let index = request.index || request.plan.platforms.len() > 1;
    let mut outputs = request.outputs.iter();
    Ok(outputs.try_for_each(|spec| ImageSet::check(index, spec))?)
}

/// Names and exports what a plan came to. Gives the image ID, or the digest of the index.
pub(super) fn finish(
    request: &Request,
    tools: &Tools<'_>,
    plan: &Plan,
    environment: &Environment<'_>,
    solution: &Solution,
    vertices: &mut Vertices<'_>,
) -> Result<Digest, BuildError> {
    let now = (request.clock)();
    let mut images = Vec::with_capacity(plan.images.len());
    let mut stored = Vec::with_capacity(plan.images.len());
    for planned in &plan.images {
        let mut assembled = super::assembled(plan, planned, environment, solution);
        super::cache::embed(
            request,
            &tools.store,
            (plan, solution),
            planned.state,
            &mut assembled,
        );
        let state = solution.state(planned.state);
        stored.push(stored_layers(&state));
        let below = state.layers();
        let layers = below.iter().map(|layer| ExportLayer {
            diff_id: layer.diff_id,
            remote: layer.remote.clone(),
        });
        images.push(Image {
            assembled,
            layers: layers.collect(),
        });
    }
    let set = ImageSet {
        images,
        index: request.index,
        names: request.names.clone(),
        stop: tools.client.stop().clone(),
    };
    name(&tools.store, &set, &stored, &solve::rfc3339(now), vertices)?;
    let mut written = None;
    for spec in &request.outputs {
        let root = write(tools, &set, spec, vertices)?;
        written = written.or(root);
    }
    let image_id = match set.images.as_slice() {
        [image] if !set.wants_index() => Digest::of(image.assembled.config.to_bytes()),
        _ => match written {
            Some(root) => root.digest,
            None => {
                let usual = OutputSpec::new(OutputKind::Oci);
                export::prepare(&tools.store, &set, &usual)?.root().digest
            }
        },
    };
    if let Some(path) = &request.image_id_file {
        fsio::write_atomic(
            path,
            image_id.to_string().as_bytes(),
            fsio::Durability::Cached,
        )?;
    }
    let names = request.names.iter().map(Reference::familiar).collect();
    vertices.sink.emit(BuildEvent::Built { image_id, names });
    Ok(image_id)
}

fn stored_layers(state: &solve::State) -> Vec<ImageLayer> {
    let layer = |layer: &Arc<solve::LayerHandle>| ImageLayer {
        diff_id: layer.diff_id,
        blob: layer.blob().cloned(),
        bytes: layer.bytes,
    };
    state.layers().iter().map(layer).collect()
}

/// Gives the images their names in the local store. `layers` has those of each image, as the store keeps them.
fn name(
    store: &Store,
    set: &ImageSet,
    layers: &[Vec<ImageLayer>],
    now: &str,
    vertices: &mut Vertices<'_>,
) -> Result<(), BuildError> {
    if set.names.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = set.names.iter().map(Reference::familiar).collect();
    vertices.work(format!("naming {}", names.join(", ")), |_, _| {
        // Blobs of a base that stay where they are have to be fetched now, whatever else there is of their layers: the name
        // must not depend on others.
        for remote in set
            .images
            .iter()
            .flat_map(|image| &image.layers)
            .filter_map(|layer| layer.remote.as_ref())
        {
            store.fetch(remote, || set.stop.is_requested())?;
        }
        let mut images = Vec::with_capacity(layers.len());
        for (image, layers) in set.images.iter().zip(layers) {
            let config = &image.assembled.config;
            images.push(StoredImage {
                platform: config.platform(),
                config: store.put_blob(media_type::OCI_CONFIG, &config.to_bytes())?,
                layers: layers.clone(),
            });
        }
        for name in &set.names {
            store.put_image(&ImageRecord {
                name: name.to_string(),
                images: images.clone(),
                tagged: now.to_owned(),
            })?;
        }
        Ok(())
    })
}

/// Writes one output. Gives what its names lead to, where something was written.
fn write(
    tools: &Tools<'_>,
    set: &ImageSet,
    spec: &OutputSpec,
    vertices: &mut Vertices<'_>,
) -> Result<Option<Descriptor>, BuildError> {
    let names = output_names(&set.names, spec);
    match spec.kind {
        OutputKind::Oci | OutputKind::Docker => {
            let what = if spec.kind == OutputKind::Docker {
                "docker image"
            } else {
                "oci image"
            };
            vertices.work(format!("exporting to {what} format"), |_, _| {
                unless_stopped(tools, files(tools, set, spec, &names))
            })
        }
        OutputKind::Image if spec.push => {
            let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
            vertices.work(format!("pushing {}", shown.join(", ")), |sink, id| {
                let prepared = export::prepare(&tools.store, set, spec);
                let prepared = unless_stopped(tools, prepared)?;
                push(tools, &prepared, &names, sink, id)?;
                Ok(Some(prepared.root()))
            })
        }
        // A name in the local store is given anyway, and the other kinds are refused when they are read.
        _ => Ok(None),
    }
}

/// Writes a layout or a tarball.
fn files(
    tools: &Tools<'_>,
    set: &ImageSet,
    spec: &OutputSpec,
    names: &[Reference],
) -> Result<Option<Descriptor>, ExportError> {
    let prepared = export::prepare(&tools.store, set, spec)?;
    match &spec.destination {
        Some(Destination::Path(folder)) if !spec.tar => {
            export::write_layout(&tools.store, &prepared, names, folder)?;
        }
        destination => {
            let destination = destination.clone().unwrap_or(Destination::Stdout);
            let docker = spec.kind == OutputKind::Docker;
            let mut stdout = (tools.stdout)();
            export::write_archive(
                &tools.store,
                &prepared,
                names,
                docker,
                &destination,
                &mut stdout,
            )?;
        }
    }
    Ok(Some(prepared.root()))
}

/// Whatever a wish to stop broke off, it is the wish that counts.
fn unless_stopped<T>(tools: &Tools<'_>, result: Result<T, ExportError>) -> Result<T, BuildError> {
    result.map_err(|error| match tools.client.stop().is_requested() {
        true => BuildError::Interrupted,
        false => error.into(),
    })
}

/// The names under which the image is pushed.
pub(super) fn pushed(request: &Request) -> Vec<Reference> {
    let pushing = request.outputs.iter().filter(|output| output.push);
    pushing
        .flat_map(|output| output_names(&request.names, output))
        .collect()
}

fn output_names(names: &[Reference], spec: &OutputSpec) -> Vec<Reference> {
    let own: Vec<Reference> = spec
        .names
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    if own.is_empty() { names.to_vec() } else { own }
}

/// The registry client reports from many threads; the sink is one. What came is handed over when it is done, except
/// that large uploads are summed up.
fn push(
    tools: &Tools<'_>,
    set: &export::PreparedSet,
    names: &[Reference],
    sink: &mut dyn EventSink,
    id: VertexId,
) -> Result<(), BuildError> {
    let sent = Arc::new(Mutex::new((0_u64, 0_u64)));
    let counted = Arc::clone(&sent);
    let total: u64 = set
        .images
        .iter()
        .flat_map(|image| &image.manifest.layers)
        .map(|layer| layer.size)
        .sum();
    let progress = Arc::new(move |event: PushEvent| {
        let mut counts = counted.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PushEvent::Sent(_) => counts.0 += 1,
            PushEvent::Exists(_) | PushEvent::Mounted { .. } => counts.1 += 1,
            PushEvent::Sending { .. } | PushEvent::Named(_) => {}
        }
    });
    let digest = export::push(&tools.client, &tools.store, set, names, progress)?;
    let (blobs_sent, there) = *sent.lock().unwrap_or_else(PoisonError::into_inner);
    let line = format!("manifest {digest}: {blobs_sent} blobs sent, {there} were there\n");
    sink.emit(BuildEvent::Progress {
        id,
        current: total,
        total: Some(total),
    });
    sink.emit(BuildEvent::Output {
        id,
        bytes: line.into_bytes(),
    });
    Ok(())
}

/// Writes the images of a name in the local store to outputs: `builder save`.
///
/// # Errors
/// There is no such image; an output cannot be written.
pub fn save(
    tools: &Tools<'_>,
    name: &Reference,
    outputs: &[OutputSpec],
    sink: &mut dyn EventSink,
) -> Result<(), BuildError> {
    let missing = || BuildError::NoImage(name.familiar());
    let record = tools.store.image(&name.to_string()).ok_or_else(missing)?;
    let source: Arc<dyn BlobSource> = Arc::clone(&tools.store) as Arc<dyn BlobSource>;
    let layer = |layer: &ImageLayer| ExportLayer {
        diff_id: layer.diff_id,
        remote: layer.blob.clone().map(|blob| LayerSource {
            blob,
            source: Arc::clone(&source),
        }),
    };
    let mut images = Vec::with_capacity(record.images.len());
    for stored in &record.images {
        let bytes = tools.store.read_blob(stored.config.digest);
        let config = Config::parse(&bytes.ok_or_else(missing)?).map_err(|_| missing())?;
        images.push(Image {
            assembled: AssembledImage {
                diff_ids: config.diff_ids(),
                config,
            },
            layers: stored.layers.iter().map(layer).collect(),
        });
    }
    let set = ImageSet {
        images,
        index: false,
        names: vec![name.clone()],
        stop: tools.client.stop().clone(),
    };
    let mut vertices = Vertices::new(sink);
    for spec in outputs {
        write(tools, &set, spec, &mut vertices)?;
    }
    Ok(())
}
