//! `builder why`: why the steps of the last build ran.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::args::WhyArgs;
use super::super::failure::Failure;
use super::super::settings::Environment;
use super::images::age;
use crate::fsio;
use crate::solve::{BuildRecord, BuiltStep, StepResources};
use crate::store::Store;
use crate::ui::{self, Console, ToldStep};

/// Which build is meant.
struct Wanted {
    dockerfile: Option<String>,
    folder: Option<String>,
    target: Option<String>,
    /// Any other will do if there is no such build.
    or_any: bool,
}

/// Tells of the last build.
pub(in crate::cli) fn run(
    mut args: WhyArgs,
    root: &Path,
    environment: &Environment,
) -> Result<(), Failure> {
    let is_folder = |text: &String| {
        text.starts_with(['.', '/']) && fsio::metadata(text).is_ok_and(|there| there.is_dir())
    };
    if args.context.is_none() && args.step.as_ref().is_some_and(is_folder) {
        args.context = args.step.take().map(PathBuf::from);
    }
    let store = Store::open_existing(root).map_err(Failure::environment)?;
    let nothing = || {
        Failure::usage("no build is remembered that this could be about")
            .hint("`builder build` remembers each Dockerfile's last build")
    };
    let store = store.ok_or_else(nothing)?;
    let build = find(&store, &wanted(&args)?).ok_or_else(nothing)?;
    let steps: Vec<&BuiltStep> = match &args.step {
        None => {
            let missed = build.steps.iter().filter(|step| step.outcome.is_miss());
            missed.collect()
        }
        Some(text) => build.matching(text),
    };
    if let (Some(text), true) = (&args.step, steps.is_empty()) {
        let error = format!(
            "the last build of `{}` has no step `{text}`",
            build.subject.dockerfile
        );
        return Err(Failure::usage(error).hint("`builder why --json` lists all of its steps"));
    }
    let known: Vec<_> = steps.iter().map(|step| known(&store, step)).collect();
    let told: Vec<ToldStep<'_>> = steps
        .iter()
        .zip(&known)
        .map(|(step, known)| ToldStep {
            step,
            ingredients: known.ingredients.as_ref().filter(|_| args.all),
            resources: known.resources,
        })
        .collect();
    let age = age(&build.ended).unwrap_or_else(|| "some time ago".to_owned());
    let text = match (told.as_slice(), args.json, args.step.is_some()) {
        (_, true, false) => {
            let all: Vec<ToldStep<'_>> = build.steps.iter().map(untold).collect();
            ui::why_json(&build, &all)
        }
        (told, true, true) => ui::why_json(&build, told),
        ([one], false, true) => ui::why_step(&build, one, &age),
        (told, false, _) => ui::why_list(&build, told, &age),
    };
    let mut console = Console::process(environment.colours);
    console.write(text).map_err(Failure::environment)
}

fn untold(step: &BuiltStep) -> ToldStep<'_> {
    ToldStep {
        step,
        ingredients: None,
        resources: None,
    }
}

/// What the store still knows of a step.
struct Known {
    /// What its key is made of.
    ingredients: Option<BTreeMap<String, String>>,
    /// What it used when it ran.
    resources: Option<StepResources>,
}

fn known(store: &Store, step: &BuiltStep) -> Known {
    let record = step.key.and_then(|key| store.step_once(key));
    let (ingredients, resources) = match record {
        Some(record) => (Some(record.ingredients), record.resources),
        None => (None, None),
    };
    Known {
        ingredients: step.ingredients.clone().or(ingredients),
        resources,
    }
}

fn wanted(args: &WhyArgs) -> Result<Wanted, Failure> {
    let real = |path: &Path| -> Result<String, Failure> {
        let path = fsio::canonicalize(path).map_err(Failure::usage)?;
        Ok(path.display().to_string())
    };
    let dockerfile = args.file.as_deref().map(real).transpose()?;
    let folder = match (&args.context, &dockerfile) {
        (Some(folder), _) => Some(real(folder)?),
        (None, Some(_)) => None,
        (None, None) => Some(real(Path::new("."))?),
    };
    Ok(Wanted {
        or_any: args.context.is_none() && args.file.is_none(),
        dockerfile,
        folder,
        target: args.target.clone(),
    })
}

/// The last build that is meant, else the last one at all.
fn find(store: &Store, wanted: &Wanted) -> Option<BuildRecord> {
    let fits = |build: &BuildRecord| {
        let subject = &build.subject;
        let same = |wanted: &Option<String>, is: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| is == Some(wanted))
        };
        same(&wanted.dockerfile, Some(&subject.dockerfile))
            && same(&wanted.folder, subject.folder.as_ref())
            && same(&wanted.target, Some(&subject.target))
    };
    let any = |build: &BuildRecord| {
        let target = wanted.target.as_ref();
        wanted.or_any && target.is_none_or(|target| *target == build.subject.target)
    };
    let found = store.builds().find(fits);
    found.or_else(|| store.builds().find(any))
}
