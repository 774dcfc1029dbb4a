//! WORKDIR: a directory that is made if it is not there, owned by the user in effect.

use super::super::error::StepError;
use super::copy::CopyError;
use super::draft::Draft;
use super::user::Accounts;
use super::write::write_layer;
use super::{Inputs, Made, Worker};
use crate::layer::ResolveError;
use crate::plan::{StepId, WorkdirStep};

pub(super) fn execute(
    worker: &Worker<'_>,
    id: StepId,
    workdir: &WorkdirStep,
    inputs: &Inputs,
) -> Result<Made, StepError> {
    let below = worker.layers.stack(&inputs.below)?;
    let resolved = below
        .resolve(&workdir.path, true)
        .map_err(|error| match error {
            ResolveError::NotADirectory(path) => CopyError::WorkdirNotADirectory { path },
            error @ ResolveError::TooManyLinks(_) => CopyError::Destination(error),
        })?;
    if let Some(found) = &resolved.found
        && !found.entry.is_directory()
    {
        let path = resolved.path;
        return Err(CopyError::WorkdirNotADirectory { path }.into());
    }
    let owner = match (&resolved.found, workdir.user.as_str()) {
        // Nothing is made, so nobody has to be looked up.
        (Some(_), _) | (_, "") => (0, 0),
        (None, user) => Accounts::of(worker.layers, &inputs.below).owner(user)?,
    };
    let mut draft = Draft::new(&below, worker.mtime(), owner, 0o755);
    draft.make_parents(&resolved.path)?;
    draft.make_directory(&resolved.path, None)?;
    write_layer(worker, id, draft.into_entries(), &|content| {
        content.open_anywhere(worker)
    })
}
