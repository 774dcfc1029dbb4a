//! The command line as typed: one struct a subcommand, help written for a person. Nothing is interpreted here.

mod build;
mod limits;
mod store;

use std::path::PathBuf;

use clap::{Arg, ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueHint};

use super::values;
use crate::solve::Snapshotter;
pub(super) use build::{BuildArgs, CheckArgs, PlanArgs, WhyArgs};
pub(super) use limits::LimitArgs;
pub(super) use store::{DuArgs, FsckArgs, ImagesArgs, PruneArgs, RmiArgs, SaveArgs};

/// Compiles a Dockerfile into an OCI image. No daemon; one binary.
#[derive(Debug, Parser)]
#[command(
    name = "builder",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  builder build -t my-app .                            build, keep the image in the local store
  builder build -o type=docker,dest=- . | docker load  build and hand it to Docker
  builder build -t localhost:5000/my-app --push .      build and push to a registry
  builder check --fix                                  what is doubtful in ./Dockerfile, and mend it
  builder images                                       what is in the local store")]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The command line as clap knows it.
pub(super) fn command() -> clap::Command {
    let with_values = |command: clap::Command, flags: &[&'static str]| {
        flags
            .iter()
            .fold(command, |command, flag| command.mut_arg(flag, with_value))
    };
    Cli::command()
        .mut_subcommand("build", |build| {
            with_values(build, &["push", "no_cache", "pull", "quiet", "check"])
        })
        .mut_subcommand("plan", |plan| with_values(plan, &["no_cache", "pull"]))
}

/// A flag that may say whether it is on, as those of the reference do: `--pull=false`.
fn with_value(flag: Arg) -> Arg {
    flag.action(ArgAction::Set)
        .value_name("BOOL")
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_parser(values::switch)
        .hide_possible_values(true)
        .hide_default_value(true)
}

/// A size, or none. A name of its own, since to the parser of arguments an option is a flag that may be missing.
pub(super) type Limit = Option<u64>;

/// A way to make root file systems; `None` is the best that the machine allows. As for `Limit`.
pub(super) type Way = Option<Snapshotter>;

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Folder of the store: layers, cache, images [default: $XDG_DATA_HOME/builder, /var/lib/builder for root] [env: BUILDER_ROOT]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) root: Option<PathBuf>,

    /// Say more: warnings with their source
    #[arg(short = 'D', long, global = true)]
    pub(super) debug: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<BuildArgs>),
    /// Look for doubtful things in a Dockerfile, and mend some of them
    Check(Box<CheckArgs>),
    /// Show what goes into a build context, what stays out, and by which rule
    Context(ContextArgs),
    /// Show what a build would do, and run nothing: the graph, what is cached, what runs and why
    Plan(Box<PlanArgs>),
    /// Tell why the steps of the last build ran
    Why(WhyArgs),
    /// List the images in the local store
    Images(ImagesArgs),
    /// Write an image of the local store to a file, or push it
    Save(SaveArgs),
    /// Take names away from images in the local store
    Rmi(RmiArgs),
    /// Show what the store takes of the disk, and what of it could be had back
    Du(DuArgs),
    /// Remove cache from the store: layers, blobs and cache mounts that no image needs and no build uses
    Prune(PruneArgs),
    /// Check everything in the store, and forget what is damaged so that it is made again
    Fsck(FsckArgs),
    /// Show settings: values, and where they come from
    Config(ConfigArgs),
    /// Tell what this machine offers for RUN steps, what it lacks, and what to do about that
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example: builder completions bash > /etc/bash_completion.d/builder")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Flags of `builder context`.
#[derive(Debug, Args)]
pub(super) struct ContextArgs {
    /// Build context: a folder
    #[arg(value_name = "CONTEXT", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(super) context: PathBuf,
    /// Dockerfile, whose own ignore file goes before the context's [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    /// Another context, repeatable: NAME=DIR
    #[arg(long, value_name = "NAME=DIR")]
    pub(super) build_context: Vec<String>,
    /// List every entry with the rule that decided about it
    #[arg(long)]
    pub(super) all: bool,
    /// Print one JSON object a context
    #[arg(long)]
    pub(super) json: bool,
}

/// Flags of `builder config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Flags of `builder doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    fn build(words: &str) -> Result<BuildArgs, clap::Error> {
        let words = ["builder", "build"].into_iter().chain(words.split(' '));
        let matches = command().try_get_matches_from(words)?;
        match Cli::from_arg_matches(&matches)?.command {
            Command::Build(args) => Ok(*args),
            other => panic!("a build is {other:?}"),
        }
    }

    #[test]
    fn a_plan_takes_them_as_a_build_does() {
        for (words, expected) in [
            ("--pull --no-cache", true),
            ("--pull=false --no-cache=0", false),
        ] {
            let words = ["builder", "plan"].into_iter().chain(words.split(' '));
            let matches = command().try_get_matches_from(words).unwrap();
            let Command::Plan(args) = Cli::from_arg_matches(&matches).unwrap().command else {
                panic!("a plan is something else");
            };
            let build = args.as_build();
            assert_eq!([build.graph.pull, build.graph.no_cache], [expected; 2]);
        }
    }

    #[test]
    fn flags_that_are_on_or_off_may_say_so() {
        for (words, expected) in [
            (".", [false; 5]),
            ("--push --no-cache --pull -q --check .", [true; 5]),
            (
                "--push=true --no-cache=1 --pull=t -q=true --check=TRUE .",
                [true; 5],
            ),
            (
                "--push=false --no-cache=0 --pull=f -q=false --check=F .",
                [false; 5],
            ),
        ] {
            let args = build(words).unwrap();
            let found = [
                args.push,
                args.graph.no_cache,
                args.graph.pull,
                args.quiet,
                args.check,
            ];
            assert_eq!(found, expected, "{words}");
            assert_eq!(args.context, PathBuf::from("."), "{words}");
        }
        let args = build("-qt name --pull context").unwrap();
        assert!(args.quiet && args.graph.pull);
        assert_eq!(args.tag, ["name"]);
        for wrong in [
            "--pull=maybe .",
            "--pull true .",
            "--check --call=outline .",
        ] {
            assert!(build(wrong).is_err(), "{wrong}");
        }
    }
}
