//! Layers: tables of contents, deterministic tars, directories, compression, and stacks of them as a file system.

mod entry;
mod error;
mod toc;
mod toc_codec;

pub use entry::{Entry, EntryKind, Xattrs, compare_paths, is_at_or_beneath};
pub use error::{EntryProblem, Error, Result, TarProblem, TocProblem};
pub use toc::Toc;
