//! The end of a build: the image gets its names in the local store, and goes where it was asked to go.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::BuildError;
use super::request::Request;
use super::{Tools, Vertices};
use crate::export::{self, Destination, ExportLayer, Image, OutputKind, OutputSpec};
use crate::fsio;
use crate::image::AssembledImage;
use crate::oci::{BlobSource, Config, Digest, LayerSource, Reference, media_type};
use crate::plan::Plan;
use crate::registry::PushEvent;
use crate::solve::{self, BuildEvent, Environment, EventSink, Solution, VertexId};
use crate::store::{ImageLayer, ImageRecord, Store};

/// Names and exports what a plan came to.
pub(super) fn finish(
    request: &Request,
    tools: &Tools<'_>,
    plan: &Plan,
    environment: &Environment<'_>,
    solution: &Solution,
    vertices: &mut Vertices<'_>,
) -> Result<Digest, BuildError> {
    let now = (request.clock)();
    let assembled = super::assembled(plan, environment, solution, now);
    let state = solution.state(plan.image.state);
    let layers: Vec<ExportLayer> = state
        .layers
        .iter()
        .map(|layer| ExportLayer {
            diff_id: layer.diff_id,
            remote: layer.remote.clone(),
        })
        .collect();
    let records: Vec<ImageLayer> = state
        .layers
        .iter()
        .map(|layer| ImageLayer {
            diff_id: layer.diff_id,
            blob: layer.blob().cloned(),
            bytes: layer.bytes,
        })
        .collect();
    let config = assembled.config.to_bytes();
    let image_id = Digest::of(&config);
    let image = Image {
        assembled,
        layers,
        names: request.names.clone(),
    };
    name(
        &tools.store,
        &image,
        &config,
        &records,
        &solve::rfc3339(now),
        vertices,
    )?;
    for spec in &request.outputs {
        write(tools, &image, spec, vertices)?;
    }
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

fn name(
    store: &Store,
    image: &Image,
    config: &[u8],
    layers: &[ImageLayer],
    now: &str,
    vertices: &mut Vertices<'_>,
) -> Result<(), BuildError> {
    if image.names.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
    vertices.work(format!("naming {}", names.join(", ")), |_, _| {
        // Layers of a base that stay where they are have to be fetched now: the name must not depend on others.
        for remote in image
            .layers
            .iter()
            .filter(|l| !store.has_layer(l.diff_id))
            .filter_map(|l| l.remote.as_ref())
        {
            store.fetch(remote)?;
        }
        let config = store.put_blob(media_type::OCI_CONFIG, config)?;
        for name in &image.names {
            store.put_image(&ImageRecord {
                name: name.to_string(),
                config: config.clone(),
                layers: layers.to_vec(),
                tagged: now.to_owned(),
            })?;
        }
        Ok(())
    })
}

fn write(
    tools: &Tools<'_>,
    image: &Image,
    spec: &OutputSpec,
    vertices: &mut Vertices<'_>,
) -> Result<(), BuildError> {
    let names = output_names(image, spec);
    match (spec.kind, &spec.destination) {
        (OutputKind::Oci | OutputKind::Docker, destination) => {
            let what = if spec.kind == OutputKind::Docker {
                "docker image"
            } else {
                "oci image"
            };
            vertices.work(format!("exporting to {what} format"), |_, _| {
                let prepared = export::prepare(&tools.store, image, spec)?;
                match destination {
                    Some(Destination::Path(folder)) if !spec.tar => {
                        export::write_layout(&tools.store, &prepared, &names, folder)?;
                    }
                    destination => {
                        let destination = destination.clone().unwrap_or(Destination::Stdout);
                        let docker = spec.kind == OutputKind::Docker;
                        let mut stdout = (tools.stdout)();
                        export::write_archive(
                            &tools.store,
                            &prepared,
                            &names,
                            docker,
                            &destination,
                            &mut stdout,
                        )?;
                    }
                }
                Ok(())
            })
        }
        (OutputKind::Image, _) if spec.push => {
            let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
            vertices.work(format!("pushing {}", shown.join(", ")), |sink, id| {
                let prepared = export::prepare(&tools.store, image, spec)?;
                push(tools, &prepared, &names, sink, id)
            })
        }
        // A name in the local store is given anyway, and the other kinds are refused when they are read.
        _ => Ok(()),
    }
}

fn output_names(image: &Image, spec: &OutputSpec) -> Vec<Reference> {
    let own: Vec<Reference> = spec
        .names
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    if own.is_empty() {
        image.names.clone()
    } else {
        own
    }
}

/// The registry client reports from many threads; the sink is one. What came is handed over when it is done, except
/// that large uploads are summed up.
fn push(
    tools: &Tools<'_>,
    image: &export::PreparedImage,
    names: &[Reference],
    sink: &mut dyn EventSink,
    id: VertexId,
) -> Result<(), BuildError> {
    let sent = Arc::new(Mutex::new((0_u64, 0_u64)));
    let counted = Arc::clone(&sent);
    let total: u64 = image.manifest.layers.iter().map(|layer| layer.size).sum();
    let progress = Arc::new(move |event: PushEvent| {
        let mut counts = counted.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PushEvent::Sent(_) => counts.0 += 1,
            PushEvent::Exists(_) | PushEvent::Mounted { .. } => counts.1 += 1,
            PushEvent::Sending { .. } | PushEvent::Named(_) => {}
        }
    });
    let digest = export::push(&tools.client, &tools.store, image, names, progress)?;
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

/// Writes an image of the local store to outputs: `builder save`.
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
    let bytes = tools
        .store
        .read_blob(record.config.digest)
        .ok_or_else(missing)?;
    let config = Config::parse(&bytes).map_err(|_| missing())?;
    let source: Arc<dyn BlobSource> = Arc::clone(&tools.store) as Arc<dyn BlobSource>;
    let layer = |layer: &ImageLayer| ExportLayer {
        diff_id: layer.diff_id,
        remote: layer.blob.clone().map(|blob| LayerSource {
            blob,
            source: Arc::clone(&source),
        }),
    };
    let image = Image {
        assembled: AssembledImage {
            diff_ids: config.diff_ids(),
            config,
        },
        layers: record.layers.iter().map(layer).collect(),
        names: vec![name.clone()],
    };
    let mut vertices = Vertices::new(sink);
    outputs
        .iter()
        .try_for_each(|spec| write(tools, &image, spec, &mut vertices))
}
