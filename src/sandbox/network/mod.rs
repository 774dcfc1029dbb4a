//! Networks of steps: isolated ones with a way out, made ahead of the step that joins them.
//!
//! Every builder has a router, a network namespace of its own; each step hangs on it by a link of its own (`router`). The router's
//! way out is a program that needs no right on the machine's network and changes nothing there (`helper`). Nothing is made before
//! the first step that wants it. What a spec says in the end is a path of a namespace to join: nothing here runs a step.

mod error;
mod filters;
mod helper;
mod links;
mod namespace;
mod netlink;
mod range;
mod router;

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub use error::NetworkError;

use self::helper::Carrier;
use self::range::Range;
use self::router::Router;
use super::{Cancel, Network};
use crate::fsio;

/// The networks of one builder.
#[derive(Debug)]
pub struct Networks {
    search: Vec<PathBuf>,
    root: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// No step wanted one so far.
    Unused,
    /// There is no way to have one.
    Impossible,
    /// There is a router, and perhaps a network that nobody uses yet.
    Ready {
        router: Arc<Router>,
        next: Option<JoinHandle<Result<OwnedFd, NetworkError>>>,
    },
}

/// The network of one step. To be kept until the step has ended.
#[derive(Debug)]
pub struct Connection {
    /// For the spec.
    pub network: Network,
    /// What people should know, once a builder.
    pub note: Option<String>,
    _namespace: Option<OwnedFd>,
}

impl From<Network> for Connection {
    fn from(network: Network) -> Self {
        Self {
            network,
            note: None,
            _namespace: None,
        }
    }
}

impl Networks {
    /// Networks that are made with the programs in these folders; `root` says that this process is root of the machine.
    #[must_use]
    pub const fn new(search: Vec<PathBuf>, root: bool) -> Self {
        Self {
            search,
            root,
            state: Mutex::new(State::Unused),
        }
    }

    /// An isolated network with a way out; the machine's, with a note, if there is no way to have one. None at all after a wish
    /// to stop, for which nobody waits.
    pub fn isolated(&self, cancel: &Cancel) -> Connection {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Ready { router, .. } if router.is_cut_off()) {
            // Its program was killed; steps that hang on it go on without a way out.
            *state = State::Unused;
        }
        if matches!(*state, State::Unused) {
            match self.router(cancel) {
                Ok(router) => {
                    *state = State::Ready {
                        router: Arc::new(router),
                        next: None,
                    }
                }
                Err(_) if cancel.is_cancelled() => return Network::None.into(),
                Err(error) => {
                    *state = State::Impossible;
                    return machines(Some(&error));
                }
            }
        }
        let State::Ready { router, next } = &mut *state else {
            return machines(None);
        };
        let prepared = next.take().and_then(|thread| thread.join().ok());
        let namespace = prepared.unwrap_or_else(|| router.connect());
        let ahead = Arc::clone(router);
        // Without a thread the next one is not made ahead.
        let thread = std::thread::Builder::new().spawn(move || ahead.connect());
        *next = thread.ok();
        match namespace {
            Ok(namespace) => Connection {
                network: Network::Namespace(router::path_of(&namespace)),
                note: None,
                _namespace: Some(namespace),
            },
            Err(error) => machines(Some(&error)),
        }
    }

    /// The address at which a step on this network reaches the machine.
    #[must_use]
    pub fn machine_seen_from(network: &Network) -> Option<Ipv4Addr> {
        match network {
            Network::Host => Some(Ipv4Addr::LOCALHOST),
            Network::None => None,
            Network::Namespace(_) => router::machine_address(),
        }
    }

    fn router(&self, cancel: &Cancel) -> Result<Router, NetworkError> {
        let routes = fsio::read("/proc/net/route")?;
        let range = Range::choose(&String::from_utf8_lossy(&routes));
        let range = range.ok_or(NetworkError::NoAddresses)?;
        let mut failure = NetworkError::NoHelper;
        for carrier in Carrier::all(&self.search, self.root) {
            match Router::start(&carrier, range, cancel) {
                Ok(router) => return Ok(router),
                Err(error) if cancel.is_cancelled() => return Err(error),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// The machine's network in place of one that cannot be had.
fn machines(error: Option<&NetworkError>) -> Connection {
    let note = |error| format!("RUN steps are on the machine's network: {error}");
    Connection {
        network: Network::Host,
        note: error.map(note),
        _namespace: None,
    }
}
