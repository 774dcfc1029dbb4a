//! Watches how much a RUN writes while it runs: under a ceiling it is stopped before the store is too large.
//!
//! Nobody can say in advance how much a command writes. The free space of the disk, which costs one call, says when it is worth
//! to look at what was written. So a command may be over by what it writes between two looks, a tenth of a second.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::super::error::StepError;
use super::Worker;
use crate::fsio::DiskUsage;
use crate::sandbox::Cancel;
use crate::store::{Room, Store, StoreError};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);
/// After so long it is measured in any case.
const MEASURE: Duration = Duration::from_secs(1);
/// When the disk has lost so much since the last look, what was written is measured.
const NOTICE: u64 = 8 << 20;

/// Runs a command that writes to these folders. What it is told to stop by stops when the build does, or when there is no room
/// left. The room of what it wrote is to be kept until that is published.
pub(super) fn watched<'a, T>(
    worker: &Worker<'a>,
    folders: &[PathBuf],
    run: impl FnOnce(&Cancel) -> T,
) -> Result<(T, Room<'a>), StepError> {
    let environment = worker.environment;
    let store = environment.store;
    if !store.has_ceiling() {
        return Ok((run(&environment.cancel), store.reserve(0)?));
    }
    let cancel = environment.cancel.child();
    let (done, ended) = channel::<()>();
    // Before the command starts: what is not watched must not run.
    let mut watch = Watch::new(store, folders)?;
    std::thread::scope(|scope| {
        let cancel = &cancel;
        let watcher = scope.spawn(move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                watch.look().inspect_err(|_| cancel.cancel())?;
            }
            watch.measure()?;
            Ok::<_, StoreError>(watch.room)
        });
        let outcome = run(cancel);
        drop(done);
        match watcher.join() {
            Ok(room) => Ok((outcome, room?)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

struct Watch<'a, 'f> {
    room: Room<'a>,
    store: &'a Store,
    folders: &'f [PathBuf],
    /// What was in the folders before.
    before: u64,
    /// The most free bytes that the disk had since the last measurement.
    free: u64,
    /// When the next measurement is due, whatever the disk says.
    due: Instant,
}

impl<'a, 'f> Watch<'a, 'f> {
    fn new(store: &'a Store, folders: &'f [PathBuf]) -> Result<Self, StoreError> {
        Ok(Self {
            room: store.reserve(0)?,
            store,
            folders,
            before: taken(folders),
            free: store.free_on_disk().unwrap_or(0),
            due: Instant::now() + MEASURE,
        })
    }

    /// Measures, if the disk has lost something, or if it is time: others may have freed what the command took.
    fn look(&mut self) -> Result<(), StoreError> {
        let free = self.store.free_on_disk().unwrap_or(0);
        self.free = self.free.max(free);
        match free.saturating_add(NOTICE) < self.free || Instant::now() >= self.due {
            true => self.measure(),
            false => Ok(()),
        }
    }

    fn measure(&mut self) -> Result<(), StoreError> {
        let started = Instant::now();
        self.free = self.store.free_on_disk().unwrap_or(0);
        let written = taken(self.folders).saturating_sub(self.before);
        // At most a twentieth of the time goes into measuring.
        self.due = started + MEASURE.max(started.elapsed() * 20);
        self.room.grow_to(written)
    }
}

fn taken(folders: &[PathBuf]) -> u64 {
    let mut disk = DiskUsage::default();
    folders.iter().map(|folder| disk.of(folder)).sum()
}
