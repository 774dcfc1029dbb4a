//! `builder fsck`

use std::path::Path;

use super::super::args::FsckArgs;
use super::super::failure::Failure;
use super::super::settings::Environment;
use super::claim;
use super::space::existing;
use crate::build;
use crate::context::StatIndex;
use crate::sandbox::Footing;
use crate::store::CheckRequest;
use crate::ui::Console;

/// Checks the store.
pub(in crate::cli) fn run(
    args: &FsckArgs,
    root: &Path,
    footing: Footing,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut console = Console::process(environment.colours);
    let mut say = |line: String| console.line(line).map_err(Failure::environment);
    let Some(store) = existing(root)? else {
        return say("there is no store yet: nothing to check".to_owned());
    };
    claim(&store, footing)?;
    let request = CheckRequest {
        repair: !args.dry_run,
        privileges: build::privileges(footing),
        is_index: StatIndex::is_sound,
    };
    let checked = store.check(&request).map_err(Failure::environment)?;
    for damage in &checked.damages {
        let end = match damage.forgotten {
            true => " (forgotten)",
            false => "",
        };
        say(format!("{damage}{end}"))?;
    }
    let left = checked.damages.iter().filter(|damage| !damage.forgotten);
    let left = left.count();
    let mended = checked.damages.len() - left;
    say(format!(
        "{} objects checked: {}",
        checked.objects,
        match (mended, left) {
            (0, 0) => "nothing is wrong".to_owned(),
            (_, 0) => format!("{mended} damaged and forgotten"),
            (0, _) => format!("{left} damaged"),
            _ => format!("{mended} damaged and forgotten, {left} left as they are"),
        }
    ))?;
    match left {
        0 => Ok(()),
        _ => Err(Failure::findings()),
    }
}
