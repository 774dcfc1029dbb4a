//! The cgroup of a step in the kernel's hierarchy of version 2: born in it, killed in it, gone with the step.

use super::*;
use crate::support::capability;

/// A cgroup of the test's own, in which those of steps are made; removed when it is dropped.
struct Parent {
    folder: PathBuf,
    below: String,
}

impl Parent {
    fn new(name: &str) -> Self {
        let below = format!("builder-test-{name}-{}", std::process::id());
        let folder = capability::cgroup2().unwrap().join(&below);
        fs::create_dir(&folder).unwrap();
        Self { folder, below }
    }

    fn limits(&self) -> Limits {
        Limits {
            cgroup_parent: Some(format!("/{}", self.below)),
            ..Limits::default()
        }
    }

    /// The cgroups in it.
    fn steps(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _unused = fs::remove_dir(&self.folder);
    }
}

fn processes(folder: &Path) -> usize {
    fs::read_to_string(folder.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .count()
}

#[test]
fn a_step_is_born_in_its_cgroup_and_sees_nothing_above() {
    require_capability!(Root, Program("busybox"), Cgroup2);
    let parent = Parent::new("born");
    // Two processes, and what cat is: PID 1, the shell, cat.
    let mut step = Step::new("grep ^0: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | wc -l");
    step.spec.limits = parent.limits();
    let output = step.output();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "0::/");
    assert!(lines[1].trim().parse::<usize>().unwrap() >= 3, "{output}");
    assert_eq!(parent.steps(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_cancel_leaves_no_cgroup() {
    require_capability!(Root, Program("busybox"), Cgroup2);
    let parent = Parent::new("cancel");
    let mut step = Step::new("(busybox setsid sleep 87531 &); sleep 87531");
    step.spec.limits = parent.limits();
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let running = scope.spawn(|| step.run_with(&cancel).0);
        while !parent.steps().iter().any(|folder| processes(folder) >= 3) {
            thread::sleep(Duration::from_millis(5));
        }
        cancel.cancel();
        let result = running.join().unwrap();
        assert!(matches!(result, Err(SandboxError::Cancelled)), "{result:?}");
    });
    assert_eq!(parent.steps(), [""; 0].map(PathBuf::from));
}

#[test]
fn cgroups_that_an_insecure_step_made_are_removed_too() {
    require_capability!(Root, Program("busybox"), Cgroup2);
    let parent = Parent::new("nested");
    let mut step = Step::new("busybox mkdir -p /sys/fs/cgroup/a/b && ls -d /sys/fs/cgroup/a/b");
    step.spec.security = Security::Insecure;
    step.spec.limits = parent.limits();
    assert_eq!(step.output(), "/sys/fs/cgroup/a/b\n");
    assert_eq!(parent.steps(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_leftover_with_a_process_is_killed_and_removed() {
    require_capability!(Root, Program("busybox"), Cgroup2);
    let parent = Parent::new("left");
    let left = parent.folder.join("builder-step-of-a-dead-one");
    fs::create_dir(&left).unwrap();
    let mut sleeper = std::process::Command::new(BUSYBOX)
        .args(["sleep", "87532"])
        .spawn()
        .unwrap();
    fs::write(left.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
    let run = || {
        let mut step = Step::new("ls /");
        step.spec.limits = parent.limits();
        step.output()
    };
    run();
    assert!(!sleeper.wait().unwrap().success(), "it was killed");
    // It may have been on its way out while the first looked.
    run();
    assert_eq!(parent.steps(), [""; 0].map(PathBuf::from));
}
