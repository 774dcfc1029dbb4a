//! A state as plain files, for a step to work in where no overlay can be mounted.

use std::path::{Path, PathBuf};

use super::{Active, prepare};
use crate::layer::{self, LaidOut, Privileges, Stack};

/// A state laid out in a folder of its own.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    laid_out: LaidOut,
}

impl Tree {
    /// Lays a state out in the empty directory `folder`. `directories` has the directory of each layer of `stack`, the bottom
    /// one first; layers without entries need none.
    ///
    /// # Errors
    /// What the operating system answers; a wish to stop.
    pub fn lay_out(
        folder: &Path,
        stack: &Stack,
        directories: &[Option<PathBuf>],
        is_stopped: &dyn Fn() -> bool,
    ) -> layer::Result<Self> {
        let root = stack.lookup("").map(|found| found.entry);
        let Active { upper: root, .. } = prepare(folder, root)?;
        let laid_out = layer::lay_out(stack, directories, &root, is_stopped)?;
        Ok(Self { root, laid_out })
    }

    /// Its root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Leaves in the root directory what the upper directory of an overlay would have, had the step worked in one.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn keep_changes(&self, stack: &Stack, privileges: Privileges) -> layer::Result<()> {
        layer::keep_changes(&self.root, stack, &self.laid_out, privileges)
    }
}
