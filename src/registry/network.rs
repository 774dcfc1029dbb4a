//! Where callers that block wait for the network, and how they are told to wait no longer.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Failure;

/// A request to wait for the network no longer, shared by its clones. Once made it stays.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// Nothing requested yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Makes the request; whoever waits gets [`Failure::Stopped`] at once, and so does whoever tries later.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether the request was made.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    async fn requested(&self) {
        // Fails only when nobody can make the request any more, and this is somebody.
        let mut receiver = self.0.subscribe();
        let _seen = receiver.wait_for(|stop| *stop).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// The network as those see it who block until it answers.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) runtime: Handle,
    pub(super) stop: Stop,
}

impl Network {
    /// Waits for `future`, which is dropped where it stands if the wait is to end.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, Failure> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.requested() => Err(Failure::Stopped),
                output = future => Ok(output),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_waits_that_have_begun_and_those_to_come() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let network = Network {
            runtime: runtime.handle().clone(),
            stop: Stop::new(),
        };
        assert_eq!(network.wait(async { 1 }).unwrap(), 1);
        let waiting = network.clone();
        let waiter = std::thread::spawn(move || waiting.wait(std::future::pending::<()>()));
        network.stop.stop();
        assert!(matches!(waiter.join().unwrap(), Err(Failure::Stopped)));
        assert!(matches!(network.wait(async { 1 }), Err(Failure::Stopped)));
    }
}
