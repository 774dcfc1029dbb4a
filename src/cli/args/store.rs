//! Flags of the commands that are about the store: `images`, `save`, `rmi`, `du`, `prune`, `fsck`.

use clap::Args;

/// Flags of `builder images`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ImagesArgs {
    /// Only the image of this name
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    /// Print image IDs and nothing else
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Flags of `builder save`.
#[derive(Debug, Args)]
pub(in crate::cli) struct SaveArgs {
    /// Image in the local store
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// Where to, as for `builder build`, repeatable
    #[arg(short, long, value_name = "SPEC")]
    pub(in crate::cli) output: Vec<String>,
    /// Push it to the registry in its name
    #[arg(long)]
    pub(in crate::cli) push: bool,
    /// Registries that may be spoken to without TLS, repeatable
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) insecure_registry: Vec<String>,
}

/// Flags of `builder rmi`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RmiArgs {
    /// Names of images in the local store
    #[arg(value_name = "NAME", required = true)]
    pub(in crate::cli) names: Vec<String>,
}

/// Flags of `builder du`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DuArgs {
    /// List every object, largest first
    #[arg(short, long)]
    pub(in crate::cli) verbose: bool,
    /// Print one JSON object: sums, and with --verbose every object
    #[arg(long)]
    pub(in crate::cli) json: bool,
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
pub(in crate::cli) struct PruneArgs {
    /// Only what matches, repeatable (see below)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::cli) filter: Vec<String>,
    /// Keep this much of the cache: what is worth most
    #[arg(long, value_name = "SIZE", visible_alias = "reserved-space")]
    pub(in crate::cli) keep: Option<String>,
    /// Remove until the whole store takes no more than this
    #[arg(long, value_name = "SIZE", visible_alias = "max-used-space")]
    pub(in crate::cli) max: Option<String>,
    /// Only show what would go
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// List what went
    #[arg(short, long)]
    pub(in crate::cli) verbose: bool,
    /// Accepted: nothing is asked
    #[arg(short, long, hide = true)]
    pub(in crate::cli) force: bool,
    /// Accepted: the same as no filter
    #[arg(short, long, hide = true)]
    pub(in crate::cli) all: bool,
}

/// Flags of `builder fsck`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every file is read. What is damaged is forgotten: it is a miss from then on, and made or fetched again.
Exit codes: 0 nothing wrong, or all of it mended; 1 something is wrong that was not mended."
)]
pub(in crate::cli) struct FsckArgs {
    /// Only report
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}
