//! Measures how long a sandbox takes to run `true`, beside the container runtimes of the machine on an equal bundle.
//!
//! `cargo bench --bench startup [-- RUNS]`, as root. Each run mounts an overlay of one layer, makes its namespaces (network
//! too), runs `true` of busybox and takes all of it away again; candidates take turns. What differs: the
//! runtimes always make cgroups, we only for the limits of `limited`, and they read a bundle that was written before. Whole builds are measured by `benches/run`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for developers: it prints a table and stops at what it did not expect"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use builder::sandbox::{
    Cancel, Footing, Limits, NativeRunner, Network, OverlayView, Rung, SandboxSpec, StepRunner as _,
};
use rustix::mount::{MountFlags, UnmountFlags};

/// The runtimes of the machine that are looked for.
const RUNTIMES: [&str; 2] = ["runc", "crun"];

fn main() {
    let number = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let runs: usize = number.unwrap_or(100);
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let layer = make_layer(scratch.path());
    let limits = Limits {
        memory: Some(256 << 20),
        pids: Some(256),
        ..Limits::default()
    };
    let ours = [Limits::default(), limits];
    let ours = ours.map(|limits| Native::new(scratch.path(), &layer, limits));
    let mut runtimes = Vec::new();
    for name in RUNTIMES {
        match Runtime::new(scratch.path(), &layer, name) {
            Ok(runtime) => runtimes.push(runtime),
            Err(reason) => println!("{name} is not measured: {reason}"),
        }
    }
    let mut times = vec![Vec::new(); ours.len() + runtimes.len()];
    // The first round warms up.
    for round in 0..=runs {
        for position in 0..times.len() {
            let candidate = (position + round) % times.len();
            let run = format!("{candidate}-{round}");
            let took = match candidate {
                own if own < ours.len() => ours[own].run(&run),
                other => runtimes[other - ours.len()].run(&run).unwrap(),
            };
            if round > 0 {
                times[candidate].push(took);
            }
        }
    }
    let names: Vec<&str> = ["builder", "limited"]
        .into_iter()
        .chain(runtimes.iter().map(|runtime| runtime.name))
        .collect();
    report(&names, times);
}

fn report(names: &[&str], times: Vec<Vec<Duration>>) {
    println!(
        "{:10} {:>9} {:>9}  median as a multiple",
        "", "median ms", "least ms"
    );
    let mut own = None;
    for (name, mut times) in names.iter().zip(times) {
        times.sort_unstable();
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let (median, least) = (millis(times[times.len() / 2]), millis(times[0]));
        let own = *own.get_or_insert(median);
        println!("{name:10} {median:9.2} {least:9.2}  {:.1}", median / own);
    }
}

/// A layer that has busybox and what it needs for `true`.
fn make_layer(scratch: &Path) -> PathBuf {
    let layer = scratch.join("layer");
    for folder in ["bin", "proc", "sys", "dev", "etc"] {
        fs::create_dir_all(layer.join(folder)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
    let busybox = busybox.into_iter().find(|path| path.exists()).unwrap();
    fs::copy(busybox, layer.join("bin/true")).unwrap();
    layer
}

/// Directories of one run's overlay, removed by hand outside of what is measured.
fn directories(folder: &Path) -> (PathBuf, PathBuf) {
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    fs::create_dir_all(&upper).unwrap();
    fs::create_dir_all(&work).unwrap();
    (upper, work)
}

/// Our own way.
struct Native<'a> {
    runner: NativeRunner,
    scratch: &'a Path,
    layer: &'a Path,
    limits: Limits,
}

impl<'a> Native<'a> {
    fn new(scratch: &'a Path, layer: &'a Path, limits: Limits) -> Self {
        let runner =
            NativeRunner::with_executable(env!("CARGO_BIN_EXE_builder"), Footing::on(Rung::Root));
        let runner = runner.with_scaffold(scratch.join("scaffold")).unwrap();
        Self {
            runner,
            scratch,
            layer,
            limits,
        }
    }

    fn run(&self, name: &str) -> Duration {
        let folder = self.scratch.join(name);
        let (upper, work) = directories(&folder);
        let rootfs = OverlayView {
            lower: vec![self.layer.to_owned()],
            upper,
            work,
        };
        let mut spec = SandboxSpec::new(rootfs, vec!["/bin/true".to_owned()]);
        spec.network = Network::None;
        spec.limits.clone_from(&self.limits);
        let started = Instant::now();
        let outcome = self.runner.run(&spec, &mut |_| {}, &Cancel::new()).unwrap();
        let took = started.elapsed();
        assert!(outcome.exit.is_success());
        fs::remove_dir_all(folder).unwrap();
        took
    }
}

/// A container runtime with a bundle.
struct Runtime<'a> {
    name: &'static str,
    scratch: &'a Path,
    layer: &'a Path,
    bundle: PathBuf,
}

impl<'a> Runtime<'a> {
    /// With one run to see whether it works here.
    fn new(scratch: &'a Path, layer: &'a Path, name: &'static str) -> Result<Self, String> {
        let bundle = scratch.join(name);
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        let written = Command::new(name).arg("spec").current_dir(&bundle).output();
        written.map_err(|error| error.to_string())?;
        let path = bundle.join("config.json");
        let text = fs::read(&path).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&text).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
        config["root"]["readonly"] = false.into();
        fs::write(path, serde_json::to_vec(&config).unwrap()).unwrap();
        let runtime = Self {
            name,
            scratch,
            layer,
            bundle,
        };
        runtime.run("first")?;
        Ok(runtime)
    }

    fn run(&self, name: &str) -> Result<Duration, String> {
        let folder = self.scratch.join(name);
        let (upper, work) = directories(&folder);
        let root = self.bundle.join("rootfs");
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            self.layer.display(),
            upper.display(),
            work.display()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let mut command = Command::new(self.name);
        command.arg("--root").arg(self.scratch.join("state"));
        command.arg("run").arg("--bundle").arg(&self.bundle);
        command
            .arg(format!("startup-{}-{name}", std::process::id()))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let started = Instant::now();
        rustix::mount::mount("overlay", &root, "overlay", MountFlags::empty(), &*options).unwrap();
        // Its standard error goes to a pipe, as the output of a step does.
        let output = command.stderr(Stdio::piped()).output().unwrap();
        rustix::mount::unmount(&root, UnmountFlags::empty()).unwrap();
        let took = started.elapsed();
        fs::remove_dir_all(folder).unwrap();
        match output.status.success() {
            true => Ok(took),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}
