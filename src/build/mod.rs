//! The one orchestrator: runs the phases of a build in order.
