//! A plan as stable text, for `--print plan` and for the tests' expected files.

use std::fmt::Write as _;

use super::graph::{Plan, PlannedImage};
use super::step::{CopySource, CopyStep, RunMount, RunStep, StateRef, Step, StepKind, TreeSource};

/// The whole graph, one step a paragraph, then the images.
#[must_use]
pub fn dump(plan: &Plan) -> String {
    let mut out = String::new();
    for (index, base) in plan.bases.iter().enumerate() {
        _ = writeln!(out, "base {index}: {:?} for {}", base.source, base.platform);
    }
    for (index, step) in plan.steps.iter().enumerate() {
        dump_step(&mut out, index, step);
    }
    for image in &plan.images {
        dump_image(&mut out, image, plan.epoch);
    }
    for observation in &plan.observations {
        _ = writeln!(out, "noticed {:?}", observation.fact);
    }
    out
}

fn dump_image(out: &mut String, image: &PlannedImage, epoch: Option<i64>) {
    _ = writeln!(out, "image: {} for {}", state(image.state), image.platform);
    if let Some(epoch) = epoch {
        _ = writeln!(out, "  epoch {epoch}");
    }
    for entry in &image.history {
        let layer = entry
            .step
            .map_or_else(|| "-".to_owned(), |step| format!("step {}", step.0));
        _ = writeln!(out, "  history {layer}: {:?}", entry.created_by);
    }
    let raw = image.config.raw();
    let config = raw.get("config").cloned().unwrap_or_default();
    _ = writeln!(out, "  config {config}");
}

fn dump_step(out: &mut String, index: usize, step: &Step) {
    _ = writeln!(out, "step {index}: {}", step.label);
    _ = writeln!(
        out,
        "  on {} for {}{}",
        state(step.input),
        step.platform,
        if step.no_cache { ", no cache" } else { "" }
    );
    match &step.kind {
        StepKind::Run(run) => dump_run(out, run),
        StepKind::Copy(copy) => dump_copy(out, copy),
        StepKind::Workdir(workdir) => {
            _ = writeln!(out, "  folder {:?} of {:?}", workdir.path, workdir.user);
        }
    }
}

fn dump_run(out: &mut String, run: &RunStep) {
    _ = writeln!(out, "  run {:?}", run.argv);
    _ = writeln!(
        out,
        "  cwd {} user {:?} network {}",
        run.cwd,
        run.user,
        run.network.word()
    );
    for (name, value) in run.env.iter() {
        _ = writeln!(out, "  env {name}={value:?}");
    }
    for mount in &run.mounts {
        _ = writeln!(out, "  mount {}", mount_text(mount));
    }
    for device in &run.devices {
        let required = if device.required { ", required" } else { "" };
        _ = writeln!(out, "  device {}{required}", device.name);
    }
    if run.insecure {
        _ = writeln!(out, "  insecure");
    }
    if let Some((path, content)) = &run.script {
        _ = writeln!(out, "  script {path} {content:?}");
    }
}

fn dump_copy(out: &mut String, copy: &CopyStep) {
    let verb = if copy.add { "add" } else { "copy" };
    _ = writeln!(out, "  {verb} from {}", tree(&copy.from));
    for source in &copy.sources {
        match source {
            CopySource::Path(path) => _ = writeln!(out, "  source {path:?}"),
            CopySource::Remote { from, file } => {
                let base = tree(from);
                _ = match file {
                    Some(file) => writeln!(out, "  {file:?} of {base}"),
                    None => writeln!(out, "  all of {base}"),
                };
            }
            CopySource::Inline { name, content } => {
                _ = writeln!(out, "  inline {name:?} {content:?}");
            }
        }
    }
    _ = writeln!(out, "  to {:?}", copy.destination);
    let options = (
        &copy.chown,
        &copy.chmod,
        copy.link,
        copy.parents,
        &copy.exclude,
        copy.unpack,
    );
    if options != (&None, &None, false, false, &Vec::new(), None) {
        _ = writeln!(
            out,
            "  chown, chmod, link, parents, exclude, unpack {options:?}"
        );
    }
}

fn state(state: StateRef) -> String {
    match state {
        StateRef::Scratch => "scratch".to_owned(),
        StateRef::Base(base) => format!("base {}", base.0),
        StateRef::Step(step) => format!("step {}", step.0),
    }
}

fn tree(source: &TreeSource) -> String {
    match source {
        TreeSource::Context => "the context".to_owned(),
        TreeSource::NamedContext(name) => format!("context {name:?}"),
        TreeSource::State(reference) => state(*reference),
    }
}

fn mount_text(mount: &RunMount) -> String {
    match mount {
        RunMount::Bind {
            from,
            source,
            target,
            writable,
        } => {
            format!(
                "bind {target} of {source} in {}{}",
                tree(from),
                if *writable { ", writable" } else { "" }
            )
        }
        other => format!("{other:?}"),
    }
}
