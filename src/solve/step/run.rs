//! RUN: the state as a root file system, the command in its sandbox, and what it changed as a layer.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::driver::Reporter;
use super::super::environment::RunSettings;
use super::super::error::StepError;
use super::super::event::BuildEvent;
use super::devices;
use super::mounts::{self, Mounts};
use super::rootfs::Root;
use super::user::Accounts;
use super::{Inputs, Made, Worker, room};
use crate::fsio::{self, Stoppable};
use crate::layer::{EntryKind, Found, Stack, scan_upper};
use crate::oci::Platform;
use crate::plan::{NetworkMode, RunMount, RunStep};
use crate::sandbox::{
    Connection, DEFAULT_SHM_SIZE, Emulator, Environment, Execution, Network, Networks, NoEmulator,
    Resources, RootFs, RunOutcome, Rung, SandboxError, SandboxSpec, Security, User, files,
};
use crate::snapshot::Snapshotter;
use crate::store::{LayerForm, NewLayer, StepResources, Store};

/// Where a CA bundle is seen, and the variables that programs look it up by.
const CA_BUNDLE: &str = "/run/builder/ca-certificates.crt";
const CA_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
];

/// A disk with less than this left may well be why a command failed.
const NEARLY_FULL: u64 = 4 << 20;

pub(super) fn execute(
    worker: &Worker<'_>,
    (run, platform): (&RunStep, &Platform),
    inputs: &Inputs,
    report: &Reporter,
) -> Result<Made, StepError> {
    stand(worker, report)?;
    let emulator = emulator(worker, platform, report)?;
    let run = (run, emulator.as_ref());
    let way = worker.snapshots.next();
    match execute_in(worker, way, run, inputs, report) {
        Err(error) if worker.snapshots.falls_back(way, &error, report) => {
            execute_in(worker, Snapshotter::Copy, run, inputs, report)
        }
        result => result,
    }
}

fn execute_in(
    worker: &Worker<'_>,
    way: Snapshotter,
    (run, emulator): (&RunStep, Option<&Emulator>),
    inputs: &Inputs,
    report: &Reporter,
) -> Result<Made, StepError> {
    let store = worker.environment.store;
    let stack = worker.layers.stack(&inputs.below)?;
    refuse_devices(worker, run, &stack)?;
    let scratch = store.scratch()?;
    let folder = scratch.path().join("root");
    fsio::create_dir(&folder)?;
    let root = Root::prepare(worker, way, inputs, &stack, &folder)?;
    let rootfs = root.spec();
    let mounts = mounts::prepare(worker, way, run, inputs, &scratch, report)?;
    if worker.environment.run.offline && run.network != NetworkMode::None {
        report.event(BuildEvent::Noted {
            id: report.id,
            text: "without the network: --offline".to_owned(),
        });
    }
    let connection = connect(worker, run, report);
    let written = rootfs.written().to_owned();
    let mut spec = spec(worker, run, inputs, rootfs, &mounts, &connection.network)?;
    spec.emulator = emulator.cloned();
    let mut output = |bytes: &[u8]| {
        report.event(BuildEvent::Output {
            id: report.id,
            bytes: bytes.to_vec(),
        })
    };
    let process = run.argv.join(" ");
    let writes_to: Vec<PathBuf> = std::iter::once(written)
        .chain(mounts.written().map(Path::to_owned))
        .collect();
    let (outcome, room) = room::watched(worker, &writes_to, |cancel| {
        worker.environment.runner.run(&spec, &mut output, cancel)
    })?;
    let outcome = outcome.map_err(|source| StepError::Sandbox {
        process: process.clone(),
        source,
    })?;
    drop(mounts);
    let resources = judge(process, &outcome, worker, report)?;
    let upper = root.into_changes(&stack, worker.environment.privileges)?;
    let (layer, _) = scan_upper(
        &upper,
        &stack,
        worker.environment.privileges,
        Stoppable::new(std::io::sink(), || worker.environment.cancel.is_cancelled()),
    )
    .map_err(StepError::Changes)?;
    let form = if layer.toc.is_empty() {
        LayerForm::Contents
    } else {
        LayerForm::Directory(&upper)
    };
    store.publish_layer(&NewLayer {
        diff_id: layer.diff_id,
        toc: &layer.toc,
        form,
    })?;
    // What is published is counted there, and what is in cache mounts from here on.
    drop(room);
    for mount in &run.mounts {
        if let RunMount::Cache { id, .. } = mount {
            store.measure_cache_mount(id);
        }
    }
    Ok(Made {
        layer,
        resources: Some(resources),
    })
}

/// A device that an image brings (a disk, say) is for no confined command.
fn refuse_devices(worker: &Worker<'_>, run: &RunStep, stack: &Stack) -> Result<(), StepError> {
    let is_device = |found: Found<'_>| {
        matches!(
            found.entry.kind,
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. }
        )
    };
    let refuses = !run.insecure && worker.environment.runner.opens_devices();
    match refuses && stack.walk("").any(is_device) {
        true => Err(StepError::Sandbox {
            process: run.argv.join(" "),
            source: SandboxError::NotByRuntime("a RUN on an image with devices"),
        }),
        false => Ok(()),
    }
}

/// Whether the command did what it was to do; tells what it used, and what went wrong besides.
fn judge(
    process: String,
    outcome: &RunOutcome,
    worker: &Worker<'_>,
    report: &Reporter,
) -> Result<StepResources, StepError> {
    let resources = used(&outcome.resources);
    report.event(BuildEvent::Used {
        id: report.id,
        resources,
    });
    if !outcome.exit.is_success() {
        warn_of_full_disk(worker.environment.store, report);
        return Err(StepError::Exit {
            process,
            exit: outcome.exit,
            met: outcome.met,
            one_id: worker.environment.footing.has_one_id(),
        });
    }
    if let Some(killed) = outcome.met.out_of_memory {
        // The command did not mind; what it made may lack something all the same.
        report.event(BuildEvent::Warning {
            message: format!("process \"{process}\" succeeded, but one of it was {killed}"),
        });
    }
    Ok(resources)
}

fn used(resources: &Resources) -> StepResources {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let peak = resources.peak_memory_bytes;
    StepResources {
        user_micros: micros(resources.user_time),
        system_micros: micros(resources.system_time),
        peak_memory: peak.unwrap_or(resources.max_rss_bytes),
        whole_step: peak.is_some(),
        read_bytes: resources.read_bytes,
        written_bytes: resources.written_bytes,
    }
}

/// Makes sure that a step can run here, and tells how once a build.
fn stand(worker: &Worker<'_>, report: &Reporter) -> Result<(), StepError> {
    let rung = worker.environment.footing.rung()?;
    if worker.is_first_to_run() {
        report.event(BuildEvent::Footing {
            rung: rung.name(),
            text: rung.description().to_owned(),
        });
    }
    Ok(())
}

/// What the step has to bring to run programs of its platform, and tells who runs them if the processor does not.
fn emulator(
    worker: &Worker<'_>,
    platform: &Platform,
    report: &Reporter,
) -> Result<Option<Emulator>, StepError> {
    let execution = worker.environment.run.emulators.execution(&platform.arch)?;
    let (by, emulator) = match execution {
        Execution::Native => return Ok(None),
        Execution::Registered(name) => (format!("what the machine calls `{name}`"), None),
        // A changed root has no namespaces, of users or of anything.
        Execution::Emulated(emulator) if worker.environment.footing.rung()? == Rung::Chroot => {
            return Err(NoEmulator {
                arch: platform.arch.clone(),
                unusable: Some(emulator.program),
            }
            .into());
        }
        Execution::Emulated(emulator) => {
            (format!("`{}`", emulator.program.display()), Some(emulator))
        }
    };
    report.event(BuildEvent::Noted {
        id: report.id,
        text: format!("{platform} is emulated by {by}"),
    });
    Ok(emulator)
}

/// Without other ids nobody but root can be become.
fn check_user(worker: &Worker<'_>, user: &User) -> Result<(), StepError> {
    match worker.environment.footing.has_one_id() && (user.uid, user.gid) != (0, 0) {
        true => Err(StepError::OtherUser {
            uid: user.uid,
            gid: user.gid,
        }),
        false => Ok(()),
    }
}

fn warn_of_full_disk(store: &Store, report: &Reporter) {
    if let Some(free) = store.free_on_disk().filter(|free| *free < NEARLY_FULL) {
        report.event(BuildEvent::Warning {
            message: format!(
                "the disk of the store has {} kB left, which may be why the step failed",
                free / 1000
            ),
        });
    }
}

/// The network of a step, which is made now if it is one of its own.
fn connect(worker: &Worker<'_>, run: &RunStep, report: &Reporter) -> Connection {
    let footing = worker.environment.footing;
    let connection = match &run.network {
        _ if worker.environment.run.offline => Network::None.into(),
        NetworkMode::None => Network::None.into(),
        // There is no namespace to be had: the network is that of the container.
        NetworkMode::Default if footing.rung() == Ok(Rung::Chroot) => Network::Host.into(),
        NetworkMode::Host => Network::Host.into(),
        NetworkMode::Namespace(path) => Network::Namespace(PathBuf::from(path)).into(),
        NetworkMode::Default => worker
            .environment
            .networks
            .isolated(&worker.environment.cancel),
    };
    if let Some(message) = connection.note.clone() {
        report.event(BuildEvent::Warning { message });
    }
    connection
}

/// The lines that the build adds to `/etc/hosts`. A name of the machine is left out where the machine cannot be reached.
fn hosts(settings: &RunSettings, network: &Network) -> Vec<(String, String)> {
    let machine = Networks::machine_seen_from(network);
    let lines = settings.hosts.iter().filter_map(|(name, address)| {
        let address = address.or(machine.map(IpAddr::V4))?;
        Some((name.clone(), address.to_string()))
    });
    lines.collect()
}

fn spec(
    worker: &Worker<'_>,
    run: &RunStep,
    inputs: &Inputs,
    rootfs: RootFs,
    mounts: &Mounts,
    network: &Network,
) -> Result<SandboxSpec, StepError> {
    let settings = &worker.environment.run;
    let (user, home) = Accounts::of(worker.layers, &inputs.below).runner(&run.user)?;
    check_user(worker, &user)?;
    let mut spec = SandboxSpec::new(rootfs, run.argv.clone());
    spec.env = environment(run, settings, &home, mounts);
    spec.cwd.clone_from(&run.cwd);
    spec.user = user;
    spec.hostname.clone_from(&run.hostname);
    spec.network.clone_from(network);
    spec.security = if run.insecure {
        Security::Insecure
    } else {
        Security::Sandbox
    };
    spec.mounts.clone_from(&mounts.mounts);
    devices::add(&mut spec, run, &worker.environment.devices)?;
    if let Some(bundle) = &settings.ca_bundle {
        spec.mounts
            .push(mounts::read_only_file(CA_BUNDLE, bundle.clone()));
    }
    spec.hosts = Some(files::hosts(&run.hostname, &hosts(settings, network)));
    spec.resolv_conf = Some(files::host_resolv_conf(network, &settings.resolver));
    spec.shm_size = settings.shm_size.unwrap_or(DEFAULT_SHM_SIZE);
    spec.ulimits.clone_from(&settings.ulimits);
    spec.limits.clone_from(&settings.limits);
    spec.timeout = settings.timeout;
    Ok(spec)
}

/// What the image and the instruction say, then what the builder adds where nothing is said.
fn environment(run: &RunStep, settings: &RunSettings, home: &str, mounts: &Mounts) -> Environment {
    let mut env = run.env.to_vec();
    for (name, value) in run.proxy_env.iter().chain(&mounts.env) {
        match env.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => old.clone_from(value),
            None => env.push((name.clone(), value.clone())),
        }
    }
    let mut default = |name: &str, value: &str| {
        if !env.iter().any(|(key, _)| key == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    };
    if settings.ca_bundle.is_some() {
        CA_VARIABLES
            .iter()
            .for_each(|name| default(name, CA_BUNDLE));
    }
    default("HOME", home);
    Environment::from(env)
}
