//! What the first process of a step has to stand: orphans, zombies, signals to everybody, and processes that will not go.

use builder::sandbox::Exit;

use super::as_user;
use crate::sandbox::Step;
use crate::sandbox::ending::processes_with;
use crate::support::require_capability;

#[test]
fn orphans_are_reaped_while_the_command_runs() {
    require_capability!(Root, Program("busybox"));
    let command = "i=0; while [ $i -lt 300 ]; do (true &); i=$((i+1)); done; \
        i=0; while grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do sleep 0.05; i=$((i+1)); [ $i -lt 200 ] || break; done; \
        ls -d /proc/[0-9]* | wc -l";
    // The first process, the shell, `ls` and `wc`.
    assert_eq!(Step::new(command).output(), "4\n");
}

#[test]
fn signals_to_everybody_or_to_the_first_process_do_not_end_the_step() {
    require_capability!(Root, Program("busybox"));
    let command = "sleep 97541 & for s in TERM INT HUP STOP KILL USR1 CHLD; do kill -$s 1 2>/dev/null; done; \
        kill -9 -1; echo alive; exit 5";
    for step in [Step::new(command), as_user(Step::new(command))] {
        let (result, output) = step.run();
        assert_eq!((result.unwrap().exit, &*output), (Exit::Code(5), "alive\n"));
    }
    assert_eq!(processes_with("97541"), 0);
}

#[test]
fn what_is_left_behind_is_gone_however_much_it_resists() {
    require_capability!(Root, Program("busybox"));
    let command = "(trap '' TERM HUP INT; while :; do echo noise; sleep 0.01; done) & \
        sleep 97542 & kill -STOP $!; busybox setsid sh -c '(sleep 97542 &) ; sleep 97542' & \
        sleep 0.1; exit 3";
    let (result, output) = Step::new(command).run();
    assert_eq!(result.unwrap().exit, Exit::Code(3));
    assert!(output.contains("noise"), "{output}");
    assert_eq!(processes_with("97542"), 0);
}

#[test]
fn a_step_cannot_reach_another() {
    require_capability!(Root, Program("busybox"));
    let quiet = Step::new(
        "i=0; while [ $i -lt 20 ]; do sleep 0.05; i=$((i+1)); done; ls /tmp /dev/shm; echo whole",
    );
    let hostile = Step::new(
        "echo x > /tmp/x; echo x > /dev/shm/x; i=0; while [ $i -lt 20 ]; do kill -9 -1 2>/dev/null; sleep 0.05; i=$((i+1)); done; echo done",
    );
    std::thread::scope(|scope| {
        let quiet = scope.spawn(|| quiet.output());
        assert_eq!(hostile.output(), "done\n");
        assert_eq!(quiet.join().unwrap(), "/dev/shm:\n\n/tmp:\nwhole\n");
    });
}

#[test]
fn limits_do_not_come_from_the_shell_of_the_builder() {
    require_capability!(Root, Program("busybox"));
    let (soft, hard) = {
        let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let most = own.map_or(524_288, |own| own.min(524_288));
        (most.min(1024), most)
    };
    let step = Step::new("ulimit -Sc; ulimit -Hc; ulimit -Sn; ulimit -Hn");
    assert_eq!(step.output(), format!("0\n0\n{soft}\n{hard}\n"));
}
