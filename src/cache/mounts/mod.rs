//! Folders of cache mounts, saved and restored.

mod spec;

pub use spec::MountsSpec;
