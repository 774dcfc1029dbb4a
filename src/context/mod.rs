//! Build contexts: named file trees on local disk, offered to COPY, ADD and bind mounts.
//!
//! A [`LocalContext`] is a directory seen through its [`IgnoreFile`]: paths are looked up with links confined to the
//! root, wildcards are matched, trees are walked in a fixed order, and what was selected is hashed to a
//! [`TreeDigest`]. Unchanged files are not read again: a [`StatIndex`] remembers their content digests.
//!
//! Nothing here needs privileges, keeps a file in memory, writes to a context, or knows about images and layers.
//! Contexts that come from git or over HTTP become local directories elsewhere.

mod beneath;
mod entry;
mod error;
#[cfg(test)]
mod fixture;
mod glob;
mod ignore;
mod lexical;
mod listing;
mod local;
mod lookup;
mod pattern;
mod pattern_list;
mod pattern_syntax;
mod reading;
mod report;
mod stat_index;
mod tree_digest;
mod walk;

pub use entry::{Entry, EntryKind, LinkIdentity, Stamp};
pub use error::{ContextError, LookupError};
pub use glob::{Glob, has_wildcard};
pub use ignore::{IgnoreError, IgnoreFile, RuleMatch};
pub use lexical::clean_source;
pub use listing::{Change, Changes, Listing, ListingBuilder};
pub use local::{Content, LocalContext, Xattrs};
pub use lookup::Match;
pub use pattern::PatternError;
pub use pattern_list::{PatternList, Trail, Verdict};
pub use report::{ContextReport, Excluded, Listed, RuleTotal};
pub use stat_index::{RootIdentity, StatIndex};
pub use tree_digest::{Reach, Selection, Source, TreeDigest, listed_tree_digest, tree_digest};
pub use walk::Walk;
