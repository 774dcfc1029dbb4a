//! `builder` compiles a Dockerfile into an OCI image. One process a build, no daemon.
//!
//! ```text
//! Dockerfile ─dockerfile─▶ AST ─plan─▶ instruction graph ─solve─▶ layers + config ─image─▶ manifest ─export─▶ out
//!                                ▲                        ▲ │ ▲
//!                         bases ─┘       context, sandbox ┘ │ └ store (blobs, layers, step records)
//!     (registry, layout, store, fetch)            snapshot ─┘
//! ```
//!
//! Data flows one way; nothing downstream calls upstream. Planning and resolving alternate until no base is unknown.
//! `docs/architecture.md` has all of this at length.
//!
//! # Map
//!
//! Vocabulary and tools, which know nothing of a build:
//! - [`source`]: texts, spans, diagnostics and their rendering
//! - [`oci`]: digests, platforms, references, descriptors, manifests, configs
//! - [`sys`]: system calls that no safe crate covers, probes of the kernel
//! - [`fsio`]: file operations whose errors name the path
//! - [`agent`]: SSH agents that a build lends
//! - [`cdi`]: devices of the machine by name
//!
//! A build, in the order in which data passes:
//! - [`cli`]: words to a request, failures to exit codes
//! - [`build`]: the one orchestrator
//! - [`dockerfile`]: text to syntax tree, expansion of words
//! - [`plan`]: syntax tree to instruction graph, with the image's final config and history
//! - [`lint`]: build checks: doubts about a Dockerfile that builds
//! - [`registry`]: client of registries: resolve, pull, push
//! - [`fetch`]: URLs, Git repositories and archives to layers that can be copied from
//! - [`solve`]: graph to layers: keys, look-up, scheduling, the work of each kind of step
//! - [`context`]: folders to copy from, their ignore rules, digests and stat index
//! - [`snapshot`]: the directories that a step writes to
//! - [`sandbox`]: one `RUN` in namespaces
//! - [`layer`]: tables of contents, tars, directories, compression
//! - [`store`]: files on disk: blobs, layers, step records, names, locks
//! - [`image`]: OCI layouts as bases; config, history and manifest of what was built
//! - [`export`]: layouts, tarballs, pushes
//! - [`cache`]: caches outside this machine: records of steps with their layers, folders of cache mounts
//! - [`ui`]: events and failures as text
//!
//! # Invariants
//!
//! - *Pure planning*: [`dockerfile`] and [`plan`] read no file, no clock and no network.
//! - *One way*: the table in `tests/suite/tidy` says who may use whom; it has no cycle.
//! - *One place each*: `unsafe` in [`sys`], `std::fs` in [`fsio`], standard output and error in [`ui`], the environment in
//!   `cli/settings.rs`, the clock in the request.
//! - *Formats do not store, the store does not think*: [`layer`] knows no places, [`store`] no meanings.
//! - *Names last*: what is written gets its name when it is complete. Damage reads as absence.
//! - *Nothing forks with threads*: a sandbox is this executable started again, with one thread.
//! - *Same inputs, same bytes*: nothing depends on the order of a map or a folder, or on the number of threads.
//!
//! # Files on disk
//!
//! Below the root (`--root`, `/var/lib/builder`, `$XDG_DATA_HOME/builder`), in `v1/`: `blobs/`, `layers/`, `steps/`, `aliases/`,
//! `places/`, `builds/`, `listings/`, `evicted/`, `images/`, `contexts/`, `fetched/`, `resolved/`, `mounts/`, `mounted/`, `scaffold/`, `locks/`, `gone/`, `tmp/`; `store/paths.rs` says what each is, and
//! `docs/store-layout.md` what holds of it. Read besides: the Dockerfile, contexts and their ignore files, archives, OCI layouts, secrets, SSH keys,
//! device specs, logins in `~/.docker/config.json` and `$XDG_RUNTIME_DIR/containers/auth.json`, certificates in `/etc/{docker,containers}/certs.d`,
//! `/etc/resolv.conf`, and what `--ca-certs` names. Written besides: what `-o` and `--iidfile` name, and the
//! Dockerfile that `check --fix` edits.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests make and spoil files in ways that fsio does not offer"
    )
)]

pub mod agent;
pub mod build;
pub mod cache;
pub mod cdi;
pub mod cli;
pub mod context;
pub mod dockerfile;
pub mod export;
pub mod fetch;
pub mod fsio;
pub mod image;
pub mod layer;
pub mod lint;
pub mod oci;
pub mod plan;
pub mod registry;
pub mod sandbox;
pub mod snapshot;
pub mod solve;
pub mod source;
pub mod store;
pub mod sys;
pub mod ui;
