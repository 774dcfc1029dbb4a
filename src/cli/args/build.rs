//! Flags of the commands that read a Dockerfile: `build`, `check`, `plan`, `why`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::super::caches::CacheArgs;
use super::super::values;
use super::{Limit, LimitArgs, Way};
use crate::plan::NetworkMode;

/// What is read before anything is built, and for which platforms: the same for every command that reads a Dockerfile.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct InputArgs {
    /// Dockerfile: a file, a URL, or `-` for standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: Option<PathBuf>,

    /// Stage that is wanted, and what it needs [default: the last one; all for a check]
    #[arg(long, value_name = "STAGE")]
    pub(in crate::cli) target: Option<String>,

    /// Value of an ARG, repeatable: NAME=VALUE, or NAME to take it from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(in crate::cli) build_arg: Vec<String>,

    /// Another context, repeatable: NAME=DIR, NAME=TARBALL, NAME=URL, NAME=docker-image://REF,
    /// NAME=oci-layout://DIR[:TAG][@DIGEST], NAME=target:STAGE; NAME::PLATFORM for one platform only
    #[arg(long, value_name = "NAME=SOURCE")]
    pub(in crate::cli) build_context: Vec<String>,

    /// Platforms of the image, os/arch[/variant] or `local`, several with commas or repeated [default: this machine's]
    #[arg(
        long,
        env = "DOCKER_DEFAULT_PLATFORM",
        value_delimiter = ',',
        value_name = "PLATFORM",
        hide_env_values = true
    )]
    pub(in crate::cli) platform: Vec<String>,

    /// Registries that may be spoken to without TLS or with a certificate nobody knows, repeatable
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) insecure_registry: Vec<String>,

    /// Touch no network: bases, URLs and repositories are what is known of them here, RUN steps have none
    /// [env: BUILDER_OFFLINE]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::switch, hide_possible_values = true)]
    pub(in crate::cli) offline: Option<bool>,

    /// How long it holds what a registry said about a tag: 30m, 2h, 0 [default: 1h] [env: BUILDER_TAG_AGE]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(in crate::cli) tag_age: Option<Duration>,
}

/// What shapes the graph of a build and the keys of its steps, besides what is read.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct GraphArgs {
    /// Run every step even if the cache knows its result
    #[arg(long)]
    pub(in crate::cli) no_cache: bool,

    /// Run every step of a stage even if the cache knows its result, several with commas or repeated
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(in crate::cli) no_cache_filter: Vec<String>,

    /// Ask registries again, even if the image is in the local store or was asked for a moment ago
    #[arg(long)]
    pub(in crate::cli) pull: bool,

    /// A secret for RUN --mount=type=secret, repeatable: id=ID[,src=FILE|env=VAR]
    #[arg(long, value_name = "SPEC")]
    pub(in crate::cli) secret: Vec<String>,

    /// SSH agent or keys for RUN --mount=type=ssh, repeatable: default, ID=SOCKET, ID=KEY[,KEY]
    #[arg(long, value_name = "SPEC")]
    pub(in crate::cli) ssh: Vec<String>,

    /// Network of RUN steps that do not say: default (isolated, with a way out), none, host, ns:PATH [default: default]
    #[arg(long, value_name = "MODE", value_parser = values::network)]
    pub(in crate::cli) network: Option<NetworkMode>,

    /// Permit what a Dockerfile may ask for, repeatable: network.host, security.insecure, device, device=NAME
    #[arg(long, value_name = "ENTITLEMENT")]
    pub(in crate::cli) allow: Vec<String>,

    /// Folder with CDI specs, which describe the devices of RUN --device, repeatable [default: /etc/cdi and /var/run/cdi]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) cdi_spec_dir: Vec<PathBuf>,
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
pub(in crate::cli) struct BuildArgs {
    /// Build context: a folder, a tarball, the URL of a tarball or a Git repository (URL#REF:SUBDIR), an OCI layout
    /// (oci-layout://DIR), or `-` for a tarball or Dockerfile on standard input
    #[arg(value_name = "CONTEXT", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) context: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) input: InputArgs,

    /// Name of the image, repeatable: NAME[:TAG] or REGISTRY/NAME[:TAG]
    #[arg(short, long, value_name = "NAME")]
    pub(in crate::cli) tag: Vec<String>,

    /// Label of the image, repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) label: Vec<String>,

    /// Where the result goes, repeatable (see below)
    #[arg(short, long, value_name = "SPEC")]
    pub(in crate::cli) output: Vec<String>,

    /// Push each --tag to its registry
    #[arg(long)]
    pub(in crate::cli) push: bool,

    /// Fail, before anything runs, unless every step is in the cache, or every step of a stage and of what it needs
    #[arg(long, value_name = "STAGE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(in crate::cli) require_cached: Option<String>,

    #[command(flatten)]
    pub(in crate::cli) graph: GraphArgs,

    #[command(flatten)]
    pub(in crate::cli) caches: CacheArgs,

    /// Write the image ID, or the digest of the index over several platforms, to a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) iidfile: Option<PathBuf>,

    /// How progress is shown
    #[arg(long, env = "BUILDKIT_PROGRESS", value_name = "MODE", default_value = "auto", value_parser = ["auto", "plain", "tty", "quiet", "rawjson", "none"])]
    pub(in crate::cli) progress: String,

    /// Print the image ID and nothing else
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,

    /// A line for /etc/hosts in RUN steps, repeatable; `host-gateway` is the address of this machine
    #[arg(long, value_name = "HOST:IP", value_delimiter = ',')]
    pub(in crate::cli) add_host: Vec<String>,

    /// Address of a server that resolves names in RUN steps, repeatable [default: this machine's]
    #[arg(long, value_name = "IP")]
    pub(in crate::cli) dns: Vec<IpAddr>,

    /// Option of the resolver in RUN steps, repeatable [default: this machine's]
    #[arg(long, value_name = "OPTION")]
    pub(in crate::cli) dns_option: Vec<String>,

    /// Domain in which RUN steps look up short names, repeatable; `.` for none [default: this machine's]
    #[arg(long, value_name = "DOMAIN")]
    pub(in crate::cli) dns_search: Vec<String>,

    /// Limit of each process of RUN steps, repeatable
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(in crate::cli) ulimit: Vec<String>,

    /// Size of /dev/shm in RUN steps
    #[arg(long, value_name = "SIZE")]
    pub(in crate::cli) shm_size: Option<String>,

    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,

    /// Make a CA bundle visible to RUN steps: a FILE in PEM form, or `system` for this machine's.
    /// It enters no layer, no config and no cache key
    #[arg(long, value_name = "FILE|system")]
    pub(in crate::cli) ca_certs: Option<String>,

    /// How RUN steps see the files of the image: an overlay, a copy of each, or the first that works: auto, overlay, copy
    /// [default: auto] [env: BUILDER_SNAPSHOTTER]
    #[arg(long, value_name = "WAY", value_parser = values::snapshotter)]
    pub(in crate::cli) snapshotter: Option<Way>,

    /// Have an OCI runtime of this machine run the commands of RUN steps: runc, crun or a path [default: builder itself]
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::CommandName)]
    pub(in crate::cli) runtime: Option<PathBuf>,

    /// Bytes that the store may take: 20G, or none [default: none] [env: BUILDER_CACHE_MAX]
    #[arg(long, value_name = "SIZE", value_parser = values::limit)]
    pub(in crate::cli) cache_max: Option<Limit>,

    /// Steps that may run at the same time [default: number of processors] [env: BUILDER_JOBS]
    #[arg(short, long, value_name = "N")]
    pub(in crate::cli) jobs: Option<std::num::NonZeroUsize>,

    /// What to do with the Dockerfile: build, check, outline, targets, subrequests.describe; with `,format=json` for
    /// programs
    #[arg(long, value_name = "METHOD[,format=FORMAT]", default_value = "build")]
    pub(in crate::cli) call: String,

    /// Look for doubtful things instead of building, same as --call=check
    #[arg(long, conflicts_with = "call")]
    pub(in crate::cli) check: bool,

    /// Show what would happen instead of building: `plan` (the instruction graph), or a method of --call
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["call", "check"])]
    pub(in crate::cli) print: Option<String>,
}

/// Flags of `builder check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing found; 1 something found, or the Dockerfile is wrong; 2 wrong usage; 3 the
environment. A base image that cannot be had is no failure: a note says what was not checked because of it.

Rules are turned off for a file with `# check=skip=RULE` in its first lines, for an instruction with such a line above it."
)]
pub(in crate::cli) struct CheckArgs {
    /// Build context, as for `builder build`
    #[arg(value_name = "CONTEXT", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) context: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) input: InputArgs,

    /// How findings are shown
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json", "sarif"])]
    pub(in crate::cli) format: String,

    /// Make the edits that remove findings, where they change nothing but the text
    #[arg(long, conflicts_with = "format")]
    pub(in crate::cli) fix: bool,

    /// Show the edits of --fix and leave the file alone
    #[arg(long, visible_alias = "dry-run", conflicts_with = "format")]
    pub(in crate::cli) diff: bool,
}

impl CheckArgs {
    /// The build that is checked: a check ends before the first step of it.
    pub(in crate::cli) fn as_build(&self) -> BuildArgs {
        BuildArgs {
            context: self.context.clone(),
            input: self.input.clone(),
            ..BuildArgs::default()
        }
    }
}

/// Flags of `builder plan`: those of a build that shape the graph and the keys of its steps.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  builder plan .                           which steps are cached, which would run and why
  builder plan --format svg -o plan.svg .  a picture of the graph
  builder plan --format dot . | dot -Tpng  the same, drawn by Graphviz

Nothing is run and no image is made. Bases are resolved, and contexts are looked at as by a build.")]
pub(in crate::cli) struct PlanArgs {
    /// Build context, as for `builder build`
    #[arg(value_name = "CONTEXT", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) context: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) input: InputArgs,

    #[command(flatten)]
    pub(in crate::cli) graph: GraphArgs,

    /// How the graph is shown
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json", "dot", "mermaid", "svg"])]
    pub(in crate::cli) format: String,

    /// File for the graph [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) output: Option<PathBuf>,

    /// A cache to look in for what the local store does not have, as for `builder build`
    #[arg(long, value_name = "SPEC")]
    pub(in crate::cli) cache_from: Vec<String>,
}

impl PlanArgs {
    /// The build that is foreseen.
    pub(in crate::cli) fn as_build(&self) -> BuildArgs {
        BuildArgs {
            context: self.context.clone(),
            input: self.input.clone(),
            graph: self.graph.clone(),
            caches: CacheArgs {
                cache_from: self.cache_from.clone(),
                ..CacheArgs::default()
            },
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
pub(in crate::cli) struct WhyArgs {
    /// Step: its number (7 or #7), its place (2/4), its stage, or a part of its text [default: all that ran]
    #[arg(value_name = "STEP")]
    pub(in crate::cli) step: Option<String>,
    /// Folder that was built, which has to begin with `/` or `.` where no step is given [default: this one]
    #[arg(value_name = "CONTEXT", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) context: Option<PathBuf>,
    /// Dockerfile that was built
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Stage that was built [default: whichever was last]
    #[arg(long, value_name = "STAGE")]
    pub(in crate::cli) target: Option<String>,
    /// Tell everything that the key of a step is made of
    #[arg(long, requires = "step")]
    pub(in crate::cli) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
