//! Shows events and results; owns standard output and standard error.
