//! Plan to results: cache keys, scheduling, the execution of steps, events.

mod account;
mod cache_key;
mod driver;
mod environment;
mod error;
mod event;
mod forecast;
mod journal;
mod layers;
mod miss;
mod past;
mod publisher;
mod queue;
mod record;
mod state;
mod step;
mod times;

#[cfg(test)]
mod tests;

pub use crate::snapshot::Snapshotter;
pub use account::Account;
pub use driver::{Solution, StepResult, solve};
pub use environment::{
    ContextTree, Environment, ImportedSteps, Restored, RunSettings, SavedMounts, SecretSource,
};
pub use error::{LayerError, SolveError, StepError};
pub use event::{BuildEvent, EVENT_VERSION, EventSink, Outcome, VertexId};
pub use forecast::{Fate, Forecast, forecast};
pub use layers::{Layers, open_file};
pub use miss::{Below, IngredientChange, MissReason};
pub use record::{BuildRecord, BuiltStep, StepOutcome, Subject};
pub use state::{LayerHandle, State};
pub use step::{CopyError, UserError};
pub use times::{rfc3339, rfc3339_seconds};

pub use crate::store::StepResources;
