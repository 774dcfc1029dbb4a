//! The threads of a command that wait for the network and for signals, and what an interrupt does to the command.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::failure::Failure;
use crate::registry::{Client, Settings, Stop};
use crate::sandbox::Cancel;

/// Made only for commands that use the network.
pub(super) struct Network {
    /// Always there but while it is dropped.
    runtime: Option<Runtime>,
    cancel: Cancel,
    stop: Stop,
}

impl Network {
    /// Starts the threads; they belong to one command.
    pub(super) fn start() -> Result<Self, Failure> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| {
            Failure::environment(format!("cannot start the network threads: {error}"))
        })?;
        Ok(Self {
            runtime: Some(runtime),
            cancel: Cancel::new(),
            stop: Stop::new(),
        })
    }

    /// From now on the first SIGINT or SIGTERM is a request to stop.
    pub(super) fn interruptible(self) -> Self {
        if let Some(runtime) = &self.runtime {
            let _inside = runtime.enter();
            // Here and not in the task, which may begin at any time.
            let interrupt = signal(SignalKind::interrupt());
            let terminate = signal(SignalKind::terminate());
            if let (Ok(interrupt), Ok(terminate)) = (interrupt, terminate) {
                let (cancel, stop) = (self.cancel.clone(), self.stop.clone());
                runtime.spawn(watch(interrupt, terminate, cancel, stop));
            }
        }
        self
    }

    /// Talks to registries and other servers.
    pub(super) fn client(&self, settings: Settings) -> Result<Client, Failure> {
        let runtime = self.runtime.as_ref().ok_or_else(Failure::mistake)?;
        Ok(Client::new(settings, runtime.handle().clone()).stopped_by(self.stop.clone()))
    }

    /// The user's wish to stop.
    pub(super) fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// What work came to: if the user wanted to stop, nothing else is of interest.
    pub(super) fn outcome<T, E>(
        &self,
        result: Result<T, E>,
        failed: impl FnOnce(E) -> Failure,
    ) -> Result<T, Failure> {
        // Not `cancel`, by which a step that failed stops the others.
        match self.stop.is_requested() {
            true => Err(Failure::interrupted()),
            false => result.map_err(failed),
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A name service or credential helper that does not answer must not hold up the end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The first signal asks the command to stop and clean up; the second one does not wait for it.
async fn watch(mut interrupt: Signal, mut terminate: Signal, cancel: Cancel, stop: Stop) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.is_requested() {
            // Everything of a step dies with this process; what is left in the store is cleared by the next one.
            let _killed = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
        cancel.cancel();
        stop.stop();
    }
}
