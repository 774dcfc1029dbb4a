//! Plan to results: cache keys, scheduling, the execution of steps, events.

mod event;

pub use event::{BuildEvent, EVENT_VERSION, EventSink, Outcome, VertexId};
