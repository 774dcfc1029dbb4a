//! The thread that files the records of finished steps, so that a step which depends on another one does not wait for the
//! disk.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::oci::Digest;
use crate::store::{Lock, StepRecord, Store, StoreError};

/// A finished step on its way to the disk.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) record: StepRecord,
    /// A cheaper key that leads to the same record.
    pub(super) quick: Option<Digest>,
    /// Held until the record is written, so that another process finds it instead of doing the same.
    pub(super) lock: Option<Lock>,
}

/// How long finished layers may wait before the disk is made to have them.
const SETTLE_INTERVAL: Duration = Duration::from_secs(5);

/// Files records as steps finish. A record may come before the disk has its layer: until the layer is settled it counts
/// for nothing after a power cut. Settling is slow and disturbs running steps, so it is done now and then, and by
/// whoever gives the result a name.
///
/// Gives the time that the records took, too.
pub(super) fn publish_all(
    store: &Store,
    publications: &Receiver<Publication>,
) -> (Result<(), StoreError>, Duration) {
    let mut result = Ok(());
    let mut cost = Duration::ZERO;
    let mut unsettled = Vec::new();
    let mut settled = Instant::now();
    while let Ok(publication) = publications.recv() {
        let filing = Instant::now();
        let written = file(store, &publication);
        cost += filing.elapsed();
        unsettled.push(publication.record.diff_id);
        // Only now may another process look for the record instead of doing the same.
        drop(publication.lock);
        let settling = if settled.elapsed() > SETTLE_INTERVAL {
            settled = Instant::now();
            store.settle(&std::mem::take(&mut unsettled))
        } else {
            Ok(())
        };
        result = result.and(written).and(settling);
    }
    (result, cost)
}

fn file(store: &Store, publication: &Publication) -> Result<(), StoreError> {
    store.put_step(&publication.record)?;
    match publication.quick {
        Some(quick) => store.put_alias(quick, publication.record.key),
        None => Ok(()),
    }
}
