//! `builder doctor`: what this machine offers for steps, what it does not, and what to do about that.
//!
//! A list of findings; each is looked at anew, by trying where that leaves no trace. Whatever a RUN can use adds its finding here.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::args::DoctorArgs;
use super::super::failure::Failure;
use super::super::settings::Environment;
use crate::fsio;
use crate::sandbox::{
    CpuLimits, Emulators, Execution, Footing, Limits, NativeRunner, Obstacle, Rung, Shortcoming,
    StepRunner as _, checkup,
};
use crate::ui::Console;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    /// What it means for steps.
    meaning: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Nothing is missing.
    Good,
    /// Steps run, with less.
    Limited,
    /// No step runs, or none that uses it.
    Missing,
}

impl Finding {
    fn good(name: &'static str, meaning: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Good,
            meaning: meaning.into(),
            remedy: None,
        }
    }

    fn not_good(
        name: &'static str,
        state: State,
        meaning: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            name,
            state,
            meaning: meaning.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// The whole, for programs.
#[derive(Serialize)]
struct Report<'a> {
    /// The rung that steps run on, if they run.
    rung: Option<&'static str>,
    findings: &'a [Finding],
}

/// Tells what the machine offers. Fails if no step can run.
pub(in crate::cli) fn run(
    args: &DoctorArgs,
    root: &Path,
    environment: &Environment,
) -> Result<(), Failure> {
    let (footing, shortcomings) = Footing::take_and_tell();
    let mut findings = vec![steps(footing)];
    findings.extend(shortcomings.iter().map(better_rung));
    findings.push(overlay(root, footing));
    findings.extend(proc(footing));
    findings.push(limits(footing));
    findings.push(network(environment, footing));
    findings.push(emulators(environment));
    findings.push(filter());
    let text = match args.json {
        true => json(footing, &findings),
        false => text(&findings),
    };
    Console::process(environment.colours)
        .write(text)
        .map_err(Failure::environment)?;
    match footing.rung() {
        Ok(_) => Ok(()),
        Err(obstacle) => Err(Failure::environment(obstacle).hint(obstacle.remedy())),
    }
}

fn steps(footing: Footing) -> Finding {
    match footing.rung() {
        Ok(rung @ (Rung::Root | Rung::SubordinateIds)) => {
            Finding::good("steps", format!("run {}", rung.description()))
        }
        Ok(rung) => Finding::not_good(
            "steps",
            State::Limited,
            format!("run {}", rung.description()),
            match rung {
                Rung::Chroot => Obstacle::MayNotMount.remedy(),
                _ => "see below what keeps them from more",
            },
        ),
        Err(obstacle) => Finding::not_good(
            "steps",
            State::Missing,
            format!("{obstacle}; a Dockerfile without RUN is built all the same"),
            obstacle.remedy(),
        ),
    }
}

/// What keeps the process from a rung above.
fn better_rung(shortcoming: &Shortcoming) -> Finding {
    Finding::not_good(
        "ids",
        State::Limited,
        shortcoming.to_string(),
        shortcoming.remedy(),
    )
}

fn overlay(root: &Path, footing: Footing) -> Finding {
    // The store is made by the first build; until then the folder that it will be in tells.
    let there = root
        .ancestors()
        .find(|folder| fsio::metadata(folder).is_ok());
    let folder = there.unwrap_or(Path::new("/"));
    if footing.rung().is_err() {
        return Finding::not_good(
            "overlay",
            State::Missing,
            "was not tried: no step runs",
            "see above",
        );
    }
    if footing.rung() == Ok(Rung::Chroot) {
        return Finding::not_good(
            "overlay",
            State::Limited,
            "steps work in copies, which cost what the image has: nothing can be mounted here",
            "allow the container to mount: see `steps`",
        );
    }
    match checkup::overlay_in(folder, footing) {
        Ok(()) => Finding::good(
            "overlay",
            format!(
                "the file system below `{}` can carry steps",
                folder.display()
            ),
        ),
        Err(error) => Finding::not_good(
            "overlay",
            State::Limited,
            format!("steps work in copies, which cost what the image has: {error}"),
            "choose a folder on ext4, xfs or btrfs with `--root DIR`",
        ),
    }
}

fn proc(footing: Footing) -> Option<Finding> {
    if !footing.in_user_namespace() {
        return None;
    }
    Some(match checkup::sees_whole_proc() {
        true => Finding::good("proc", "each step has a `/proc` of its own"),
        false => Finding::not_good(
            "proc",
            State::Limited,
            "parts of `/proc` are covered here, as in a container: steps see this `/proc`, with its processes",
            "run the container with `--security-opt systempaths=unconfined` (docker) or `unmask=ALL` (podman)",
        ),
    })
}

/// Tries each kind of limit, as the first step with it would.
fn limits(footing: Footing) -> Finding {
    if matches!(footing.rung(), Err(_) | Ok(Rung::Chroot)) {
        return Finding::not_good(
            "cgroups",
            State::Missing,
            "steps can be held to no limits on this footing",
            "see `steps`",
        );
    }
    let runner = NativeRunner::new(footing);
    let tried = [
        (
            "memory",
            Limits {
                memory: Some(64 << 20),
                ..Limits::default()
            },
        ),
        (
            "cpus",
            Limits {
                cpu: CpuLimits {
                    shares: Some(512),
                    ..CpuLimits::default()
                },
                ..Limits::default()
            },
        ),
        (
            "pids-limit",
            Limits {
                pids: Some(1000),
                ..Limits::default()
            },
        ),
    ];
    let mut kept = Vec::new();
    let mut refused = None;
    for (name, limits) in &tried {
        match runner.try_limits(limits) {
            Ok(()) => kept.push(format!("`--{name}`")),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        None => Finding::good(
            "cgroups",
            "steps can be held to limits of memory, processors and processes",
        ),
        Some(error) => Finding::not_good(
            "cgroups",
            if kept.is_empty() {
                State::Missing
            } else {
                State::Limited
            },
            match kept.is_empty() {
                true => format!("steps can be held to no limits: {error}"),
                false => format!("of the limits there are {}: {error}", kept.join(", ")),
            },
            error.hint().unwrap_or("run the builder as root"),
        ),
    }
}

fn network(environment: &Environment, footing: Footing) -> Finding {
    let found: Vec<&str> = ["pasta", "slirp4netns"]
        .into_iter()
        .filter(|name| program(environment, name).is_some())
        .collect();
    if footing.rung() == Ok(Rung::Chroot) {
        return Finding::not_good(
            "network",
            State::Limited,
            "steps have the container's and nothing else",
            "allow the container namespaces: see `steps`",
        );
    }
    if !found.is_empty() {
        let with = found.join(", ");
        return Finding::good(
            "network",
            format!("steps can have one of their own, by {with}"),
        );
    }
    Finding::not_good(
        "network",
        State::Limited,
        "steps can have the machine's or none, and not one of their own: nothing here connects it",
        "install `passt` or `slirp4netns`",
    )
}

fn emulators(environment: &Environment) -> Finding {
    let emulators = Emulators::in_folders(environment.program_folders());
    let (mut own, mut machines) = (Vec::new(), Vec::new());
    for (arch, execution) in emulators.all() {
        match execution {
            Execution::Native => {}
            Execution::Registered(_) => machines.push(arch),
            Execution::Emulated(_) => own.push(arch),
        }
    }
    let mut ways = Vec::new();
    if !machines.is_empty() {
        ways.push(format!("{} by the machine", machines.join(", ")));
    }
    if !own.is_empty() {
        ways.push(format!(
            "{}, which steps register for themselves",
            own.join(", ")
        ));
    }
    match ways.is_empty() {
        false => Finding::good(
            "emulators",
            format!("there are some for {}", ways.join("; ")),
        ),
        true => Finding::not_good(
            "emulators",
            State::Missing,
            "none: steps for other processors cannot run",
            "install `qemu-user-static`",
        ),
    }
}

fn filter() -> Finding {
    match fsio::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(_) => Finding::good("seccomp", "system calls of steps can be filtered"),
        Err(_) => Finding::not_good(
            "seccomp",
            State::Missing,
            "this kernel does not filter system calls",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

/// A program on the search path.
fn program(environment: &Environment, name: &str) -> Option<PathBuf> {
    let folders = environment.program_folders().into_iter();
    folders
        .map(|folder| folder.join(name))
        .find(|path| fsio::metadata(path).is_ok_and(|there| there.is_file()))
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.state {
            State::Good => "ok     ",
            State::Limited => "limited",
            State::Missing => "missing",
        };
        text.push_str(&format!(
            "{mark}  {:<10} {}\n",
            finding.name, finding.meaning
        ));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("{:19} hint: {remedy}\n", ""));
        }
    }
    text
}

fn json(footing: Footing, findings: &[Finding]) -> String {
    let report = Report {
        rung: footing.rung().ok().map(Rung::name),
        findings,
    };
    // Findings hold nothing that JSON cannot say.
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_a_remedy() {
        let footing = Footing::take();
        let environment = Environment::of(&[("PATH", "/nowhere")]);
        let findings = [
            steps(footing),
            steps(Footing::on(Rung::OneId)),
            network(&environment, Footing::on(Rung::OneId)),
            emulators(&environment),
            better_rung(&Shortcoming::NoHelper {
                program: "newuidmap",
            }),
        ];
        for finding in &findings {
            let needs = finding.state != State::Good;
            assert_eq!(finding.remedy.is_some(), needs, "{finding:?}");
        }
        let text = text(&findings);
        assert!(text.contains("limited  ids        `newuidmap` is not installed"));
        let parsed: serde_json::Value =
            serde_json::from_str(&json(Footing::on(Rung::OneId), &findings)).unwrap();
        assert_eq!(parsed["rung"], "one-id");
        assert_eq!(parsed["findings"][1]["state"], "limited");
        assert!(!Obstacle::MayNotMount.remedy().is_empty());
    }
}
