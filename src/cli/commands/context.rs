//! `builder context`

use std::path::{Path, PathBuf};

use super::super::args::ContextArgs;
use super::super::contexts;
use super::super::failure::Failure;
use super::super::settings::Environment;
use crate::build::{ContextSource, Mentions, mentions};
use crate::context::{ContextReport, IgnoreFile, LocalContext};
use crate::fsio;
use crate::source::SourceMap;
use crate::ui::{Console, ContextView};

/// Entries of each list without `--all`.
const SHOWN: usize = 10;

/// Says what is in the contexts of a build.
pub(in crate::cli) fn run(args: &ContextArgs, environment: &Environment) -> Result<(), Failure> {
    let mut named = Vec::new();
    for text in &args.build_context {
        match contexts::named(text).map_err(Failure::usage)? {
            (name, ContextSource::Directory(folder)) => named.push((name, folder)),
            (name, _) => {
                return Err(Failure::usage(format!("the context `{name}` is no folder"))
                    .hint("only what is in folders can be listed"));
            }
        }
    }
    if !args.context.is_dir() {
        let folder = args.context.display();
        return Err(Failure::usage(format!(
            "unable to prepare context: path \"{folder}\" not found"
        ))
        .hint("name a folder: `builder context DIR`"));
    }
    let dockerfile = dockerfile(args);
    let mentions = dockerfile.as_deref().and_then(read_mentions);
    let mut console = Console::process(environment.colours);
    let used = mentions.as_ref().map(|mentions| mentions.main);
    let text = view(args, None, &args.context, dockerfile.as_deref(), used)?;
    console.write(text).map_err(Failure::environment)?;
    for (name, folder) in &named {
        let used = mentions
            .as_ref()
            .map(|mentions| mentions.names.contains(name));
        let text = view(args, Some(name), folder, None, used)?;
        let between = if args.json { "" } else { "\n" };
        console
            .write(format!("{between}{text}"))
            .map_err(Failure::environment)?;
    }
    Ok(())
}

/// The Dockerfile of the build: its ignore file may lie beside it.
fn dockerfile(args: &ContextArgs) -> Option<PathBuf> {
    match &args.file {
        Some(path) => Some(path.clone()),
        None => ["Dockerfile", "dockerfile"]
            .iter()
            .map(|name| args.context.join(name))
            .find(|path| path.is_file()),
    }
}

/// What the Dockerfile takes files from; nothing where it says nothing that can be understood.
fn read_mentions(dockerfile: &Path) -> Option<Mentions> {
    let bytes = fsio::read(dockerfile).ok()?;
    let file = SourceMap::new().add("Dockerfile", bytes).ok()?;
    mentions(&file)
}

fn view(
    args: &ContextArgs,
    name: Option<&str>,
    folder: &Path,
    dockerfile: Option<&Path>,
    used: Option<bool>,
) -> Result<String, Failure> {
    let ignore = IgnoreFile::read(folder, dockerfile).map_err(Failure::usage)?;
    let ignore_file = ignore.path().map(|path| path.display().to_string());
    let context = LocalContext::open(folder, ignore).map_err(Failure::usage)?;
    let report = if args.all {
        ContextReport::with_entries(&context)
    } else {
        ContextReport::of(&context, SHOWN)
    };
    let report = report.map_err(Failure::environment)?;
    let view = ContextView {
        name,
        folder: folder.display().to_string(),
        ignore_file,
        used,
        report: &report,
    };
    Ok(if args.json { view.json() } else { view.text() })
}
