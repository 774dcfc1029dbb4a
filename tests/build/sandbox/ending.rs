//! How a step ends: by itself, by request, by the builder's death; nothing survives it.

use super::*;

#[test]
fn background_processes_end_with_the_command() {
    require_capability!(Root, Program("busybox"));
    let marker = "97531";
    let step = Step::new(&format!(
        "(sleep {marker}; echo late > /late) & (busybox setsid sleep {marker} &) ; echo started"
    ));
    assert_eq!(step.output(), "started\n");
    assert_eq!(processes_with(marker), 0);
    assert_eq!(step.changed(), [""; 0]);
}

/// How many processes of the machine have this word among their arguments.
pub(in super::super) fn processes_with(word: &str) -> usize {
    let of = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let commands = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| of(entry.unwrap()));
    commands
        .filter(|command| {
            command
                .split(|&byte| byte == 0)
                .any(|argument| argument == word.as_bytes())
        })
        .count()
}

/// Waits until something is so; the limit is only there for the test to end.
pub(in super::super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("never: {what}");
}

#[test]
fn a_cancel_kills_everything() {
    require_capability!(Root, Program("busybox"));
    let marker = "97532";
    let step = Step::new(&format!(
        "busybox trap '' TERM INT; sleep {marker} & sleep {marker}"
    ));
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let running = scope.spawn(|| step.run_with(&cancel).0);
        eventually("the command runs", || processes_with(marker) == 2);
        cancel.cancel();
        assert!(matches!(
            running.join().unwrap(),
            Err(SandboxError::Cancelled)
        ));
    });
    assert_eq!(processes_with(marker), 0);
    assert_eq!(step.changed(), [""; 0]);
    assert!(matches!(
        step.run_with(&cancel).0,
        Err(SandboxError::Cancelled)
    ));
}

#[test]
fn a_time_limit_kills_everything() {
    require_capability!(Root, Program("busybox"));
    let marker = "97533";
    let mut step = Step::new(&format!("echo before; sleep {marker}"));
    step.spec.timeout = Some(Duration::from_millis(300));
    let (result, output) = step.run();
    assert_eq!(
        result.unwrap_err().to_string(),
        "stopped after 0.3 s, its time limit (--timeout)"
    );
    assert_eq!(output, "before\n");
    assert_eq!(processes_with(marker), 0);
}

/// Not a test: the process that `a_killed_builder_takes_everything_with_it` kills.
#[test]
#[ignore = "runs until it is killed; started by another test"]
fn a_builder_to_be_killed() {
    let step = Step::new(&format!(
        "sleep {KILL_MARKER} & (busybox setsid sleep {KILL_MARKER} &); sleep {KILL_MARKER}"
    ));
    let (result, _) = step.run();
    panic!("it should have been killed: {result:?}");
}

const KILL_MARKER: &str = "97534";

#[test]
fn a_killed_builder_takes_everything_with_it() {
    require_capability!(Root, Program("busybox"));
    let folder = tempfile::tempdir().unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut builder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact"])
        .arg(format!("{module}::a_builder_to_be_killed"))
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the command runs", || processes_with(KILL_MARKER) == 3);
    builder.kill().unwrap();
    builder.wait().unwrap();
    eventually("everything is gone", || processes_with(KILL_MARKER) == 0);
}

#[test]
fn two_steps_run_at_the_same_time() {
    require_capability!(Root, Program("busybox"));
    let steps: Vec<_> = (0..4)
        .map(|number| Step::new(&format!("echo {number} > /n; sleep 0.2; cat /n")))
        .collect();
    let runner = runner();
    thread::scope(|scope| {
        for (number, step) in steps.iter().enumerate() {
            let runner = &runner;
            scope.spawn(move || {
                let mut output = Vec::new();
                let outcome = runner.run(
                    &step.spec,
                    &mut |bytes| output.extend_from_slice(bytes),
                    &Cancel::new(),
                );
                assert_eq!(outcome.unwrap().exit, Exit::Code(0));
                assert_eq!(output, format!("{number}\n").into_bytes());
            });
        }
    });
}
