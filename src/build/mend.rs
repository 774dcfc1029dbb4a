//! Damage in the store is a miss: what is damaged is forgotten, and the build goes on as if it had never been there.
//!
//! Whoever comes upon damage fails and names it. Here the work begins once more; all that is whole is found in the cache, so that
//! only what is missing is made again.

use std::collections::BTreeSet;

use super::cache;
use super::error::BuildError;
use super::{Tools, Vertices};
use crate::cache::Imported;
use crate::export::Damage;
use crate::solve::BuildEvent;

/// Blobs that may turn out to be damaged in one build. Each is forgotten when it does.
const MOST_BLOBS: usize = 100;

/// Does a piece of work until it meets with no damage, or with the same once more.
pub(super) fn until_whole<T>(
    tools: &Tools<'_>,
    imported: Option<&Imported>,
    vertices: &mut Vertices<'_>,
    mut work: impl FnMut(&mut Vertices<'_>) -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let mut layers = BTreeSet::new();
    let mut blobs = 0;
    loop {
        let error = match work(vertices) {
            Ok(value) => return Ok(value),
            Err(error) if tools.cancel.is_cancelled() => return Err(error),
            // A cache promised what it does not have: without that promise the steps run.
            Err(error) if cache::is_to_blame(imported, &error, vertices) => continue,
            Err(error) => error,
        };
        let what = match error.damage() {
            Some(Damage::Layer(layer)) if layers.insert(layer) => {
                tools.store.forget_layer(layer);
                format!("layer {}", layer.short())
            }
            Some(Damage::Blob) if blobs < MOST_BLOBS => {
                blobs += 1;
                "a blob".to_owned()
            }
            _ => return Err(error),
        };
        vertices.sink.emit(BuildEvent::Warning {
            message: format!("{what} is damaged in the store: it is made again"),
        });
    }
}
