//! The command line as typed: one struct a subcommand, help written for a person. Nothing is interpreted here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueHint};

use super::caches::CacheArgs;
use super::values;

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
    Cli::command().mut_subcommand("build", |build| {
        ["push", "no_cache", "pull", "quiet", "check"]
            .into_iter()
            .fold(build, |build, flag| build.mut_arg(flag, with_value))
    })
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
    /// Print a completion script for a shell
    #[command(after_help = "Example: builder completions bash > /etc/bash_completion.d/builder")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// What is read before anything is built, and for which platforms: the same for every command that reads a Dockerfile.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct InputArgs {
    /// Dockerfile: a file, a URL, or `-` for standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,

    /// Stage that is wanted, and what it needs [default: the last one; all for a check]
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,

    /// Value of an ARG, repeatable: NAME=VALUE, or NAME to take it from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(super) build_arg: Vec<String>,

    /// Another context, repeatable: NAME=DIR, NAME=TARBALL, NAME=URL, NAME=docker-image://REF,
    /// NAME=oci-layout://DIR[:TAG][@DIGEST], NAME=target:STAGE; NAME::PLATFORM for one platform only
    #[arg(long, value_name = "NAME=SOURCE")]
    pub(super) build_context: Vec<String>,

    /// Platforms of the image, os/arch[/variant] or `local`, several with commas or repeated [default: this machine's]
    #[arg(
        long,
        env = "DOCKER_DEFAULT_PLATFORM",
        value_delimiter = ',',
        value_name = "PLATFORM",
        hide_env_values = true
    )]
    pub(super) platform: Vec<String>,

    /// Registries that may be spoken to without TLS or with a certificate nobody knows, repeatable
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) insecure_registry: Vec<String>,

    /// Touch no network: bases, URLs and repositories are what is known of them here, RUN steps have none
    /// [env: BUILDER_OFFLINE]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::switch, hide_possible_values = true)]
    pub(super) offline: Option<bool>,

    /// How long it holds what a registry said about a tag: 30m, 2h, 0 [default: 1h] [env: BUILDER_TAG_AGE]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(super) tag_age: Option<Duration>,
}

/// Flags of `builder build`; names and meanings follow `docker buildx build`.
#[derive(Debug, Default, Args)]
#[command(after_help = "Outputs (-o, repeatable):
  type=oci,dest=FILE.tar            OCI layout as a tarball
  type=oci,dest=DIR,tar=false       OCI layout as a folder
  type=docker,dest=FILE.tar         tarball for `docker load` and `podman load`
  type=registry                     push to the registry of each --tag (same as --push)
  type=image                        a name in the local store (the default)

Exit codes: 0 built; 1 the Dockerfile or a step failed; 2 wrong usage; 3 the environment (kernel, disk,
registry); 130 interrupted.")]
pub(super) struct BuildArgs {
    /// Build context: a folder, a tarball, the URL of a tarball or a Git repository (URL#REF:SUBDIR), an OCI layout
    /// (oci-layout://DIR), or `-` for a tarball or Dockerfile on standard input
    #[arg(value_name = "CONTEXT", value_hint = ValueHint::DirPath)]
    pub(super) context: PathBuf,

    #[command(flatten)]
    pub(super) input: InputArgs,

    /// Name of the image, repeatable: NAME[:TAG] or REGISTRY/NAME[:TAG]
    #[arg(short, long, value_name = "NAME")]
    pub(super) tag: Vec<String>,

    /// Label of the image, repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) label: Vec<String>,

    /// Where the result goes, repeatable (see below)
    #[arg(short, long, value_name = "SPEC")]
    pub(super) output: Vec<String>,

    /// Push each --tag to its registry
    #[arg(long)]
    pub(super) push: bool,

    /// Run every step even if the cache knows its result
    #[arg(long)]
    pub(super) no_cache: bool,

    /// Run every step of a stage even if the cache knows its result, several with commas or repeated
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(super) no_cache_filter: Vec<String>,

    /// Ask registries again, even if the image is in the local store or was asked for a moment ago
    #[arg(long)]
    pub(super) pull: bool,

    /// Fail, before anything runs, unless every step is in the cache, or every step of a stage and of what it needs
    #[arg(long, value_name = "STAGE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(super) require_cached: Option<String>,

    #[command(flatten)]
    pub(super) caches: CacheArgs,

    /// Write the image ID, or the digest of the index over several platforms, to a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) iidfile: Option<PathBuf>,

    /// How progress is shown
    #[arg(long, env = "BUILDKIT_PROGRESS", value_name = "MODE", default_value = "auto", value_parser = ["auto", "plain", "tty", "quiet", "rawjson", "none"])]
    pub(super) progress: String,

    /// Print the image ID and nothing else
    #[arg(short, long)]
    pub(super) quiet: bool,

    /// A secret for RUN --mount=type=secret, repeatable: id=ID[,src=FILE|env=VAR]
    #[arg(long, value_name = "SPEC")]
    pub(super) secret: Vec<String>,

    /// SSH agent or keys for RUN --mount=type=ssh, repeatable: default, ID=SOCKET, ID=KEY[,KEY]
    #[arg(long, value_name = "SPEC")]
    pub(super) ssh: Vec<String>,

    /// Network of RUN steps that do not say
    #[arg(long, value_name = "MODE", default_value = "default", value_parser = ["default", "host", "none"])]
    pub(super) network: String,

    /// A line for /etc/hosts in RUN steps, repeatable
    #[arg(long, value_name = "HOST:IP")]
    pub(super) add_host: Vec<String>,

    /// Permit what a Dockerfile may ask for, repeatable: network.host, security.insecure, device, device=NAME
    #[arg(long, value_name = "ENTITLEMENT")]
    pub(super) allow: Vec<String>,

    /// Folder with CDI specs, which describe the devices of RUN --device, repeatable [default: /etc/cdi and /var/run/cdi]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) cdi_spec_dir: Vec<PathBuf>,

    /// Limit of RUN steps, repeatable
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(super) ulimit: Vec<String>,

    /// Size of /dev/shm in RUN steps
    #[arg(long, value_name = "SIZE")]
    pub(super) shm_size: Option<String>,

    /// Make a CA bundle visible to RUN steps: a FILE in PEM form, or `system` for this machine's.
    /// It enters no layer, no config and no cache key
    #[arg(long, value_name = "FILE|system")]
    pub(super) ca_certs: Option<String>,

    /// Bytes that the store may take: 20G, or none [default: none] [env: BUILDER_CACHE_MAX]
    #[arg(long, value_name = "SIZE", value_parser = values::limit)]
    pub(super) cache_max: Option<Limit>,

    /// Steps that may run at the same time [default: number of processors] [env: BUILDER_JOBS]
    #[arg(short, long, value_name = "N")]
    pub(super) jobs: Option<std::num::NonZeroUsize>,

    /// What to do with the Dockerfile: build, check, outline, targets, subrequests.describe; with `,format=json` for
    /// programs
    #[arg(long, value_name = "METHOD[,format=FORMAT]", default_value = "build")]
    pub(super) call: String,

    /// Look for doubtful things instead of building, same as --call=check
    #[arg(long, conflicts_with = "call")]
    pub(super) check: bool,

    /// Show what would happen instead of building: `plan` (the instruction graph), or a method of --call
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["call", "check"])]
    pub(super) print: Option<String>,
}

/// Flags of `builder check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing found; 1 something found, or the Dockerfile is wrong; 2 wrong usage; 3 the
environment. A base image that cannot be had is no failure: a note says what was not checked because of it.

Rules are turned off for a file with `# check=skip=RULE` in its first lines, for an instruction with such a line above it."
)]
pub(super) struct CheckArgs {
    /// Build context, as for `builder build`
    #[arg(value_name = "CONTEXT", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(super) context: PathBuf,

    #[command(flatten)]
    pub(super) input: InputArgs,

    /// How findings are shown
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json", "sarif"])]
    pub(super) format: String,

    /// Make the edits that remove findings, where they change nothing but the text
    #[arg(long, conflicts_with = "format")]
    pub(super) fix: bool,

    /// Show the edits of --fix and leave the file alone
    #[arg(long, visible_alias = "dry-run", conflicts_with = "format")]
    pub(super) diff: bool,
}

impl CheckArgs {
    /// The build that is checked: a check ends before the first step of it.
    pub(super) fn as_build(&self) -> BuildArgs {
        BuildArgs {
            context: self.context.clone(),
            input: self.input.clone(),
            ..BuildArgs::default()
        }
    }
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

/// Flags of `builder plan`: those of a build that shape the graph and the keys of its steps.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  builder plan .                           which steps are cached, which would run and why
  builder plan --format svg -o plan.svg .  a picture of the graph
  builder plan --format dot . | dot -Tpng  the same, drawn by Graphviz

Nothing is run and no image is made. Bases are resolved, and contexts are looked at as by a build.")]
pub(super) struct PlanArgs {
    /// Build context, as for `builder build`
    #[arg(value_name = "CONTEXT", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(super) context: PathBuf,

    #[command(flatten)]
    pub(super) input: InputArgs,

    /// How the graph is shown
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json", "dot", "mermaid", "svg"])]
    pub(super) format: String,

    /// File for the graph [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) output: Option<PathBuf>,

    /// As for `builder build`: these steps would run
    #[arg(long)]
    pub(super) no_cache: bool,

    /// As for `builder build`: the steps of these stages would run
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(super) no_cache_filter: Vec<String>,

    /// Ask registries again even if the image is in the local store
    #[arg(long)]
    pub(super) pull: bool,

    /// A cache to look in for what the local store does not have, as for `builder build`
    #[arg(long, value_name = "SPEC")]
    pub(super) cache_from: Vec<String>,

    /// A secret, for the login to what is fetched: id=ID[,src=FILE|env=VAR]
    #[arg(long, value_name = "SPEC")]
    pub(super) secret: Vec<String>,

    /// SSH agent or keys, for what is fetched
    #[arg(long, value_name = "SPEC")]
    pub(super) ssh: Vec<String>,

    /// Network of RUN steps that do not say
    #[arg(long, value_name = "MODE", default_value = "default", value_parser = ["default", "host", "none"])]
    pub(super) network: String,

    /// Permit what a Dockerfile may ask for, as for `builder build`
    #[arg(long, value_name = "ENTITLEMENT")]
    pub(super) allow: Vec<String>,

    /// Folder with CDI specs, as for `builder build`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) cdi_spec_dir: Vec<PathBuf>,
}

impl PlanArgs {
    /// The build that is foreseen.
    pub(super) fn as_build(&self) -> BuildArgs {
        BuildArgs {
            context: self.context.clone(),
            input: self.input.clone(),
            no_cache: self.no_cache,
            no_cache_filter: self.no_cache_filter.clone(),
            caches: CacheArgs {
                cache_from: self.cache_from.clone(),
                ..CacheArgs::default()
            },
            pull: self.pull,
            secret: self.secret.clone(),
            ssh: self.ssh.clone(),
            network: self.network.clone(),
            allow: self.allow.clone(),
            cdi_spec_dir: self.cdi_spec_dir.clone(),
            ..BuildArgs::default()
        }
    }
}

/// Flags of `builder why`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  builder why                 what ran in the last build of this folder, and why
  builder why 2/4             all that is known of a step: what differed, which files
  builder why make --all      the same with everything that its key is made of
  builder why '#7' ./app      of the last build of another folder")]
pub(super) struct WhyArgs {
    /// Step: its number (7 or #7), its place (2/4), its stage, or a part of its text [default: all that ran]
    #[arg(value_name = "STEP")]
    pub(super) step: Option<String>,
    /// Folder that was built, which has to begin with `/` or `.` where no step is given [default: this one]
    #[arg(value_name = "CONTEXT", value_hint = ValueHint::DirPath)]
    pub(super) context: Option<PathBuf>,
    /// Dockerfile that was built
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    /// Stage that was built [default: whichever was last]
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,
    /// Tell everything that the key of a step is made of
    #[arg(long, requires = "step")]
    pub(super) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Flags of `builder images`.
#[derive(Debug, Args)]
pub(super) struct ImagesArgs {
    /// Only the image of this name
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Print image IDs and nothing else
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

/// Flags of `builder save`.
#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    /// Image in the local store
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Where to, as for `builder build`, repeatable
    #[arg(short, long, value_name = "SPEC")]
    pub(super) output: Vec<String>,
    /// Push it to the registry in its name
    #[arg(long)]
    pub(super) push: bool,
    /// Registries that may be spoken to without TLS, repeatable
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) insecure_registry: Vec<String>,
}

/// Flags of `builder rmi`.
#[derive(Debug, Args)]
pub(super) struct RmiArgs {
    /// Names of images in the local store
    #[arg(value_name = "NAME", required = true)]
    pub(super) names: Vec<String>,
}

/// Flags of `builder du`.
#[derive(Debug, Args)]
pub(super) struct DuArgs {
    /// List every object, largest first
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Print one JSON object: sums, and with --verbose every object
    #[arg(long)]
    pub(super) json: bool,
}

/// Flags of `builder prune`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --keep or --max everything goes that matches the filters and may go. Images in the local store
stay whole (see `builder rmi`), and what running builds use stays too. What goes costs time when it is needed again, nothing else.

Filters (repeatable; those of one name are alternatives, different ones all have to match):
  until=24h           not used for so long
  type=KIND           layer, blob, cache-mount, record
  id=PREFIX           as `builder du --verbose` shows it
  description=TEXT    part of the description, such as the command that made a layer

Example: builder prune --keep 10G --filter until=24h"
)]
pub(super) struct PruneArgs {
    /// Only what matches, repeatable (see below)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) filter: Vec<String>,
    /// Keep this much of the cache: what is worth most
    #[arg(long, value_name = "SIZE", visible_alias = "reserved-space")]
    pub(super) keep: Option<String>,
    /// Remove until the whole store takes no more than this
    #[arg(long, value_name = "SIZE", visible_alias = "max-used-space")]
    pub(super) max: Option<String>,
    /// Only show what would go
    #[arg(long)]
    pub(super) dry_run: bool,
    /// List what went
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Accepted: nothing is asked
    #[arg(short, long, hide = true)]
    pub(super) force: bool,
    /// Accepted: the same as no filter
    #[arg(short, long, hide = true)]
    pub(super) all: bool,
}

/// Flags of `builder fsck`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every file is read. What is damaged is forgotten: it is a miss from then on, and made or fetched again.
Exit codes: 0 nothing wrong, or all of it mended; 1 something is wrong that was not mended."
)]
pub(super) struct FsckArgs {
    /// Only report
    #[arg(long)]
    pub(super) dry_run: bool,
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
            let found = [args.push, args.no_cache, args.pull, args.quiet, args.check];
            assert_eq!(found, expected, "{words}");
            assert_eq!(args.context, PathBuf::from("."), "{words}");
        }
        let args = build("-qt name --pull context").unwrap();
        assert!(args.quiet && args.pull);
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
