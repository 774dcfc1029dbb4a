//! From files of any origin to a layer in the store.

use std::io::Read;

use super::{FetchError, Fetcher};
use crate::fsio;
use crate::layer::{self, Entry, EntryKind, TarWriter, compare_paths};
use crate::oci::Digest;
use crate::store::{FetchedRecord, LayerForm, NewLayer};

/// Opens the content of a file by its position among the entries.
pub(super) type Open<'o> = dyn Fn(usize) -> Result<Box<dyn Read>, FetchError> + 'o;

/// What is remembered besides the layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Digest of what came, where the source has one.
    pub(super) content: Option<Digest>,
    /// `ETag` of the answer.
    pub(super) etag: Option<String>,
    /// `Last-Modified` of the answer.
    pub(super) last_modified: Option<String>,
    /// When what is in the tree was made, seconds since 1970.
    pub(super) time: Option<i64>,
}

impl Fetcher {
    /// Writes entries as a layer and remembers it under a key. They need not be sorted.
    pub(super) fn keep(
        &self,
        key: Digest,
        name: &str,
        entries: &[Entry],
        open: &Open<'_>,
        facts: Facts,
    ) -> Result<FetchedRecord, FetchError> {
        let unfit = |source| FetchError::Unfit {
            name: name.to_owned(),
            source,
        };
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|a, b| compare_paths(&entries[*a].path, &entries[*b].path));
        let _room = self.store.reserve(entries.iter().map(Entry::size).sum())?;
        let scratch = self.store.scratch()?;
        let path = scratch.path().join("tar");
        let mut tar = TarWriter::new(fsio::create(&path)?);
        for index in order {
            self.stop_if_cancelled()?;
            let entry = entries[index].clone();
            if matches!(entry.kind, EntryKind::File { .. }) {
                let mut content = open(index)?;
                tar.append(entry, Some(&mut content)).map_err(unfit)?;
            } else {
                tar.append(entry, None).map_err(unfit)?;
            }
        }
        let (made, _file) = tar.finish().map_err(unfit)?;
        self.publish(key, &made, LayerForm::Tar(&path), facts)
    }

    fn publish(
        &self,
        key: Digest,
        made: &layer::Layer,
        form: LayerForm<'_>,
        facts: Facts,
    ) -> Result<FetchedRecord, FetchError> {
        self.store.publish_layer(&NewLayer {
            diff_id: made.diff_id,
            toc: &made.toc,
            form,
        })?;
        let record = FetchedRecord {
            key,
            diff_id: made.diff_id,
            content: facts.content,
            etag: facts.etag,
            last_modified: facts.last_modified,
            time: facts.time,
        };
        self.store.put_fetched(&record)?;
        Ok(record)
    }
}
