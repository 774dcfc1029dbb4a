//! Names for what is being written, beside the place where it will be.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fsio;

/// A name beside `path` that nobody else uses: processes of different containers may have one number, so it is drawn by lot.
pub(super) fn aside(path: &Path) -> fsio::Result<PathBuf> {
    let mut bits = [0; 8];
    rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty())
        .map_err(|source| fsio::Error::new("name a file beside", path, source))?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}.part", u64::from_ne_bytes(bits)));
    Ok(path.with_file_name(name))
}
