//! What the two container engines have in common: waiting for a container that serves, and asking it.

use std::time::Duration;

use super::http::{self, Response};
use super::process::Outcome;

/// Asks the container `id` for `paths`, again and again until it listens on `port`; panics with its log if it ends.
#[track_caller]
pub fn ask(
    engine: impl Fn(&[&str]) -> Outcome,
    id: &str,
    port: u16,
    paths: &[&str],
) -> Vec<Response> {
    let mut answers = Vec::new();
    while let Some(path) = paths.get(answers.len()) {
        let state = engine(&["inspect", "--format", "{{.State.Pid}}", id]).succeeded();
        let pid = state.line().parse().expect("a process ID");
        if pid == 0 {
            let log = engine(&["logs", id]);
            panic!("the container ended:\n{}{}", log.stdout, log.stderr);
        }
        match http::get_inside(pid, port, path) {
            Ok(response) => answers.push(response),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    answers
}
