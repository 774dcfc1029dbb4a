//! Layers: tables of contents, deterministic tars, directories, compression, and stacks of them as a file system.
