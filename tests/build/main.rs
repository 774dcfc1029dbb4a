//! Whole builds, in the sandbox.
