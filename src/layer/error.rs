//! Why a layer could not be read, written or looked at.

use std::io;
use std::path::PathBuf;

use crate::fsio;
use crate::oci::Digest;

/// Results of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A layer operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation, with its path.
    #[error(transparent)]
    File(#[from] fsio::Error),
    /// The bytes of a tar could not be had.
    #[error("cannot read the tar at byte {offset}")]
    ReadTar {
        /// How far reading came.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The bytes are no tar that can be understood.
    #[error("malformed tar at byte {offset}: {problem}")]
    MalformedTar {
        /// Where the entry starts.
        offset: u64,
        /// What is wrong with it.
        problem: TarProblem,
    },
    /// A well-formed entry that a layer cannot hold.
    #[error("cannot put `{}` into the layer: {problem}", path.display())]
    RefusedEntry {
        /// The entry's name.
        path: PathBuf,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// The tar could not be written.
    #[error("cannot write the tar of the layer")]
    WriteTar(#[source] io::Error),
    /// The content of a file could not be read.
    #[error("cannot read the content of `{}`", path.display())]
    ReadContent {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is longer or shorter than was said before its content was read.
    #[error("`{}` changed while it was read: expected {expected} bytes, found {found}", path.display())]
    ContentSize {
        /// The file.
        path: PathBuf,
        /// The size in the header, already written.
        expected: u64,
        /// The bytes that came; one more than expected stands for "at least".
        found: u64,
    },
    /// A file of a layer is not what its table of contents says.
    #[error("the content of `{}` is not that of the layer: expected {expected}, found {found}", path.display())]
    ContentChanged {
        /// The file.
        path: PathBuf,
        /// According to the table of contents.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// A layer's directory is not what its table of contents says.
    #[error("`{}` {problem}", path.display())]
    DirectoryChanged {
        /// The path in the layer.
        path: PathBuf,
        /// What is the matter with it.
        problem: &'static str,
    },
    /// A layer's tar could not be made again, byte for byte.
    #[error(
        "the tar that was made again is not that of the layer: expected {expected}, found {found}"
    )]
    DiffIdChanged {
        /// The layer's diff ID.
        expected: Digest,
        /// The diff ID of what was written.
        found: Digest,
    },
    /// A table of contents on disk is damaged or of another version.
    #[error("cannot read the table of contents: {0}")]
    DecodeToc(TocProblem),
    /// A table of contents could not be packed.
    #[error("cannot encode the table of contents")]
    EncodeToc(#[source] io::Error),
    /// Content that should be in a layer is not there.
    #[error("cannot read `{}` from the layer: it is a {kind}, not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Compressed bytes could not be written.
    #[error("cannot write the compressed layer")]
    Compress(#[source] io::Error),
    /// The start of a compressed stream could not be read, or is of no format we know.
    #[error("cannot decompress: {0}")]
    Decompress(#[source] io::Error),
}

impl Error {
    /// Whether what was read is not what it should be, so that having it made again helps: not so with a full disk.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        // What the kernel did not say, a decompressor or a check said; or somebody who wants to stop, or has no room.
        let is_bad = |error: &io::Error| match error.raw_os_error() {
            Some(number) => number == rustix::io::Errno::IO.raw_os_error(),
            None => {
                let stopped = error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<fsio::Stopped>());
                !stopped && error.kind() != io::ErrorKind::StorageFull
            }
        };
        match self {
            Self::File(error) => error.is_not_found() || is_bad(&error.source),
            Self::ReadTar { source, .. }
            | Self::ReadContent { source, .. }
            | Self::Decompress(source) => is_bad(source),
            Self::MalformedTar { .. }
            | Self::ContentSize { .. }
            | Self::ContentChanged { .. }
            | Self::DirectoryChanged { .. }
            | Self::DiffIdChanged { .. }
            | Self::DecodeToc(_)
            | Self::NotAFile { .. } => true,
            Self::RefusedEntry { .. }
            | Self::WriteTar(_)
            | Self::EncodeToc(_)
            | Self::Compress(_) => false,
        }
    }
}

/// What makes bytes no tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarProblem {
    /// It ends within a header or within content.
    #[error("it ends too early")]
    Truncated,
    /// The sum over the header does not match.
    #[error("wrong header checksum")]
    Checksum,
    /// A number that cannot be read or does not fit.
    #[error("the field `{0}` is no number that fits")]
    Number(&'static str),
    /// An extended header that cannot be read.
    #[error("malformed extended header")]
    ExtendedHeader,
    /// An extended header, name or link beyond all reason.
    #[error("extended header of more than 1 MiB")]
    ExtendedHeaderSize,
    /// Extended headers with nothing after them.
    #[error("extended header without an entry")]
    LoneExtendedHeader,
    /// The map of a sparse file that contradicts itself.
    #[error("malformed map of a sparse file")]
    SparseMap,
    /// A kind of entry that no file system has.
    #[error("unknown entry type {0:#04x}")]
    EntryType(u8),
}

/// What makes an entry unfit for a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// `..` in its name or in that of a hard link's target.
    #[error("`..` in the name")]
    ParentComponent,
    /// An absolute or empty name, `.`, or an empty component.
    #[error("the name is not a clean relative path")]
    NotRelative,
    /// NUL in the name or in a link.
    #[error("NUL in the name")]
    Nul,
    /// Longer than a path can be.
    #[error("the name is longer than 4096 bytes")]
    NameTooLong,
    /// A name that means a removal in every layer.
    #[error("names that start with `.wh.` mark removed files and cannot be stored in a layer")]
    WhiteoutName,
    /// A removal marker that names nothing.
    #[error("the removal marker names nothing")]
    WhiteoutOfNothing,
    /// Beneath something that is no directory.
    #[error("`{}` is not a directory", .0.display())]
    ParentNotDirectory(PathBuf),
    /// A loop of symbolic links above it.
    #[error("too many symbolic links on the way")]
    LinkLoop,
    /// A hard link to a directory or to itself.
    #[error("hard link to `{}`, which cannot be linked to", .0.display())]
    HardLinkTarget(PathBuf),
    /// Not after the entry before it.
    #[error("it has to come before `{}`", .0.display())]
    OutOfOrder(PathBuf),
    /// An extended attribute whose name a tar cannot hold.
    #[error("extended attribute `{0}` has a name that a tar cannot hold")]
    XattrName(String),
    /// A device number that a tar cannot hold.
    #[error("device number {0}:{1} does not fit into a tar")]
    DeviceNumber(u32, u32),
    /// An owner or group that the kernel takes for none.
    #[error("owner or group 4294967295, which no file can have")]
    Owner,
    /// A file entry was given no content, or another entry some.
    #[error("content is for files, and files only")]
    Content,
    /// The names of one layer take more memory than is sane.
    #[error("the layer has too many entries")]
    TooManyEntries,
    /// Made by an overlay mount with options that a diff cannot be made from.
    #[error("the overlay was mounted with `redirect_dir` or `metacopy`")]
    OverlayFeature,
}

/// What makes bytes no table of contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TocProblem {
    /// It does not start like one.
    #[error("not a table of contents")]
    Magic,
    /// Written by another version of this program.
    #[error("version {0} is not known")]
    Version(u32),
    /// Cut off, or bits are flipped.
    #[error("damaged")]
    Damaged,
    /// The checksum is right but the content is not.
    #[error("inconsistent at `{}`", .0.display())]
    Inconsistent(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_had_better_is_damage() {
        let read = |source: io::Error| Error::ReadTar { offset: 0, source };
        for damage in [
            io::ErrorKind::InvalidData.into(),
            io::ErrorKind::UnexpectedEof.into(),
            io::Error::other("corrupt frame"),
            rustix::io::Errno::IO.into(),
        ] {
            assert!(read(damage).is_damage());
        }
        // Nothing is wrong with the layer when the disk is full or somebody wants to stop.
        for other in [
            io::Error::other(fsio::Stopped),
            io::Error::new(io::ErrorKind::StorageFull, "no room under the ceiling"),
            rustix::io::Errno::NOSPC.into(),
            rustix::io::Errno::MFILE.into(),
        ] {
            assert!(!read(other).is_damage());
        }
        let missing = fsio::open("/no/such/file").map(drop).map_err(Error::from);
        assert!(missing.is_err_and(|error| error.is_damage()));
    }
}
