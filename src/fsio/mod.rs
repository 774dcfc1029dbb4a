//! File operations whose errors name the path and what was being done to it.
//!
//! Thin on purpose: each function is the standard one plus context. Nothing here knows the store, a layer or a
//! context. Every other module uses this instead of `std::fs` (enforced by `clippy.toml`).
#![expect(
    clippy::disallowed_methods,
    reason = "the one place that may call std::fs directly, so that every error gets its path"
)]

mod atomic;
mod disk_usage;
pub mod fault;
mod hashing;
mod pipe;
mod stoppable;
mod unique;

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

pub use atomic::{Durability, aside, replace, rewrite, sync, write_atomic};
pub use disk_usage::DiskUsage;
pub use hashing::{HashingReader, HashingWriter};
pub use pipe::{PipeError, pipe};
pub use stoppable::{Stoppable, Stopped};
pub use unique::unique;

/// An input or output operation that failed: what was being done, to which path, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`: {}", path.display(), reason(source))]
pub struct Error {
    /// A verb phrase: "open", "create the folder".
    pub operation: &'static str,
    /// The path the operation was about.
    pub path: PathBuf,
    /// What the operating system answered.
    pub source: io::Error,
}

/// Results of this module.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error for `operation` on `path`.
    pub fn new(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }

    /// Whether the path, or a folder on the way to it, does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    }

    /// Whether the operating system found that it makes no sense: an owner that the user namespace does not have.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.source.kind() == io::ErrorKind::InvalidInput
    }

    /// Whether permission was refused.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// The operating system's words without the "(os error N)" that people never need.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// An error with all its causes in one line, each said once.
#[must_use]
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = match error.downcast_ref::<io::Error>() {
            Some(error) => reason(error),
            None => error.to_string(),
        };
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Whether a full disk or quota is behind an error.
#[must_use]
pub fn is_no_space(error: &(dyn std::error::Error + 'static)) -> bool {
    let full = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    };
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(full) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Adds the operation and the path to an `io::Result`.
pub trait Context<T> {
    /// Names what was being done, to which path.
    ///
    /// # Errors
    /// The original error, with its context.
    fn context(self, operation: &'static str, path: &Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::new(operation, path, source))
    }
}

impl<T> Context<T> for std::result::Result<T, rustix::io::Errno> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::new(operation, path, source))
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),*) -> $result:ty = $words:literal, $call:path;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// What the operating system answered, with the path.
        pub fn $name($($arg: impl AsRef<Path>),*) -> Result<$result> {
            operations!(@call $words, $call, $($arg),*)
        }
    )*};
    (@call $words:literal, $call:path, $path:ident) => {
        fault::check($words, $path.as_ref())
            .and_then(|()| $call(&$path))
            .context($words, $path.as_ref())
    };
    (@call $words:literal, $call:path, $from:ident, $to:ident) => {
        fault::check($words, $to.as_ref())
            .and_then(|()| $call(&$from, &$to))
            .context($words, $to.as_ref())
    };
}

operations! {
    /// Opens a file for reading.
    open(path) -> File = "open", File::open;
    /// Creates a file, or empties it.
    create(path) -> File = "create", File::create;
    /// Reads a whole file; for small ones (records, documents), never for layers or context files.
    read(path) -> Vec<u8> = "read", std::fs::read;
    /// Reads a whole small file that has to be UTF-8.
    read_to_string(path) -> String = "read", std::fs::read_to_string;
    /// Makes a folder, and those on the way to it.
    create_dir_all(path) -> () = "create the folder", std::fs::create_dir_all;
    /// Makes one folder.
    create_dir(path) -> () = "create the folder", std::fs::create_dir;
    /// Removes a file or a link.
    remove_file(path) -> () = "remove", std::fs::remove_file;
    /// Removes an empty folder.
    remove_dir(path) -> () = "remove the folder", std::fs::remove_dir;
    /// Moves a file or folder within one file system.
    rename(from, to) -> () = "rename into place", std::fs::rename;
    /// Makes a second name for a file.
    hard_link(from, to) -> () = "link", std::fs::hard_link;
    /// Makes a symbolic link at `to` that says `from`.
    symlink(from, to) -> () = "make the symbolic link", std::os::unix::fs::symlink;
    /// What a path is, links not followed.
    symlink_metadata(path) -> Metadata = "look at", std::fs::symlink_metadata;
    /// What a path is, links followed.
    metadata(path) -> Metadata = "look at", std::fs::metadata;
    /// What a symbolic link says.
    read_link(path) -> PathBuf = "read the link", std::fs::read_link;
    /// The absolute path with every link resolved.
    canonicalize(path) -> PathBuf = "resolve", std::fs::canonicalize;
    /// Copies a file's content and permission bits.
    copy(from, to) -> u64 = "copy to", std::fs::copy;
}

/// Writes to a file that is there already, all in one call: a file of the kernel, which takes what it is told and keeps nothing.
///
/// # Errors
/// What the operating system answered, with the path.
pub fn write_to(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::options().write(true).open(&path)?;
        io::Write::write_all(&mut file, bytes)
    };
    write().context("write to", path.as_ref())
}

/// Removes a tree; one that is not there is fine.
///
/// # Errors
/// What the operating system answered, with the path.
pub fn remove_tree(path: impl AsRef<Path>) -> Result<()> {
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.context("remove the folder", path.as_ref()),
    }
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// What the operating system answered, with the path.
pub fn remove_file_if_there(path: impl AsRef<Path>) -> Result<()> {
    match remove_file(path) {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

/// Reads a whole small file; `None` if it is not there.
///
/// # Errors
/// Anything but absence.
pub fn read_if_there(path: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder, sorted by bytes.
///
/// # Errors
/// What the operating system answered, with the path.
pub fn read_dir_sorted(path: impl AsRef<Path>) -> Result<Vec<OsString>> {
    let path = path.as_ref();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).context("read the folder", path)? {
        names.push(entry.context("read the folder", path)?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

/// Puts each of two paths in the place of the other, in one go.
///
/// # Errors
/// What the operating system answered, with the path; not found, if either is not there.
pub fn exchange(one: impl AsRef<Path>, other: impl AsRef<Path>) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let (one, other) = (one.as_ref(), other.as_ref());
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).context("rename into place", other)
}

/// How long ago a file or folder was changed or renamed last; `None` if it is not there, or not in the past.
#[must_use]
pub fn since_change(path: impl AsRef<Path>) -> Option<std::time::Duration> {
    use std::os::unix::fs::MetadataExt as _;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = now.tv_sec - symlink_metadata(path).ok()?.ctime();
    u64::try_from(seconds)
        .ok()
        .map(std::time::Duration::from_secs)
}

/// Sets the time of a file or folder to now.
///
/// # Errors
/// What the operating system answered, with the path.
pub fn touch(path: impl AsRef<Path>) -> Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
    let time = |nanoseconds| Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(UTIME_OMIT),
        last_modification: time(UTIME_NOW),
    };
    let path = path.as_ref();
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).context("set the time of", path)
}

/// Sets permission bits (`0o7777` at the most).
///
/// # Errors
/// What the operating system answered, with the path.
pub fn set_mode(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = path.as_ref();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .context("set the mode of", path)
}

/// What failed when a file could not be given to its owner.
pub const SET_OWNER: &str = "set the owner of";

/// Gives a file or folder to somebody.
///
/// # Errors
/// What the operating system answered, with the path.
pub fn set_owner(path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
    let path = path.as_ref();
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).context(SET_OWNER, path)
}

/// Sets the time at which a file was last changed.
///
/// # Errors
/// What the operating system answered, with the path.
pub fn set_modified(path: impl AsRef<Path>, time: std::time::SystemTime) -> Result<()> {
    let path = path.as_ref();
    let file = File::options().write(true).open(path);
    file.and_then(|file| file.set_modified(time))
        .context("set the time of", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_operation_and_path_without_the_number() {
        let error = open("/no/such/file").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot open `/no/such/file`: no such file or directory"
        );
        assert!(error.is_not_found());
    }

    #[test]
    fn causes_are_said_once_and_a_full_disk_is_found_behind_them() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot copy")]
        struct Outer(#[source] Error);
        let full = Error::new("write", "/x", io::Error::from_raw_os_error(28));
        let error = Outer(full);
        assert_eq!(
            with_causes(&error),
            "cannot copy: cannot write `/x`: no space left on device"
        );
        assert!(is_no_space(&error));
        assert!(!is_no_space(&open("/no/such/file").unwrap_err()));
    }
}
