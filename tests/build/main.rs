//! Whole builds in the sandbox, and the sandbox itself: what needs root or user namespaces.

mod sandbox;
