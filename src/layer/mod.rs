//! Layers: tables of contents, deterministic tars, directories, compression, and stacks of them as a file system.
//!
//! A layer is an identity, its diff ID, with several representations, each of which can be made from another:
//!
//! | from | to | by |
//! |---|---|---|
//! | entries and content | tar, table of contents, diff ID | [`TarWriter`] |
//! | a tar of any origin | table of contents, diff ID, directory | [`read_tar`] |
//! | table and content | directory | [`write_directory`], [`settle`] |
//! | an overlay's upper directory | tar, table of contents, diff ID | [`scan_upper`] |
//! | tables and directories | one tree of what they show | [`lay_out`] |
//! | such a tree, worked in | what an overlay's upper directory would be | [`keep_changes`] |
//! | table and directory | the same tar again | [`write_tar_from_directory`] |
//! | table and directory | whether they agree | [`check_directory`] |
//! | tar | compressed blob, and back | [`compress`], [`Decompressor`] |
//!
//! A [`Stack`] of tables is a file system that can be looked at without any of them. This module knows formats, not
//! where things are kept: that is the store's business. Everything that comes from outside (tars, compressed streams,
//! tables on disk) is taken to be hostile.

mod archive;
mod beneath;
mod changes;
mod check;
mod compress;
mod content;
mod content_hash;
mod decompress;
mod directory;
mod entry;
mod error;
mod folder;
mod lay_out;
mod layer_read;
mod metadata;
mod remake;
mod scan;
mod stack;
mod tar_block;
mod tar_header;
mod tar_pax;
mod tar_read;
mod tar_sparse;
mod tar_write;
mod toc;
mod toc_builder;
mod toc_codec;

#[cfg(test)]
mod tests;

pub use archive::open_archive;
pub use changes::keep_changes;
pub use check::check_directory;
pub use compress::{Compressed, Compression, Compressor, compress};
pub use content::ContentSource;
pub use decompress::Decompressor;
pub use directory::{DirectoryWriter, settle, write_directory};
pub use entry::{Entry, EntryKind, Xattrs, compare_paths, is_at_or_beneath};
pub use error::{EntryProblem, Error, Result, TarProblem, TocProblem};
pub use folder::{FileState, Folder, Listed};
pub use lay_out::{LaidOut, lay_out, lay_out_part};
pub use layer_read::{Markers, read_tar};
pub use metadata::Privileges;
pub use remake::{write_tar, write_tar_from_directory};
pub use scan::scan_upper;
pub use stack::{Found, ResolveError, Resolved, Stack};
pub use tar_read::{TarEntry, TarKind, TarReader};
pub use tar_write::{Layer, TarWriter};
pub use toc::Toc;
