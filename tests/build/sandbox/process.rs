//! What the command is: its words, output, exit, environment, user, rights and limits.

use super::*;

#[test]
fn output_arrives_in_order_and_the_exit_code_is_exact() {
    require_capability!(Root, Program("busybox"));
    let (result, output) = Step::new("echo one; echo two >&2; echo three; exit 7").run();
    let outcome = result.unwrap();
    assert_eq!(
        (outcome.exit, output.as_str()),
        (Exit::Code(7), "one\ntwo\nthree\n")
    );
    assert!(outcome.resources.max_rss_bytes > 0);
    assert!(outcome.wall_time > Duration::ZERO);
}

#[test]
fn much_output_arrives_whole() {
    require_capability!(Root, Program("busybox"));
    let output =
        Step::new("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; busybox seq 1 200000")
            .output();
    assert_eq!(output.lines().count(), 203_000);
    assert!(output.ends_with("\n200000\n"));
}

#[test]
fn death_by_a_signal_is_told_from_an_exit_code() {
    require_capability!(Root, Program("busybox"));
    assert_eq!(
        Step::new("kill -TERM $$").run().0.unwrap().exit,
        Exit::Signal(15)
    );
    assert_eq!(
        Step::new("(kill -9 $BASHPID; :); exit 143")
            .run()
            .0
            .unwrap()
            .exit,
        Exit::Code(143)
    );
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("");
    step.spec.argv = ["busybox", "env"].map(str::to_owned).to_vec();
    let env = [("PATH", PATH), ("EMPTY", ""), ("SPACES", " a  b ")];
    step.spec.env = env
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
        .into();
    assert_eq!(
        step.output(),
        format!("PATH={PATH}\nEMPTY=\nSPACES= a  b \n")
    );
}

#[test]
fn standard_input_is_empty_and_signals_are_default() {
    require_capability!(Root, Program("busybox"));
    assert_eq!(Step::new("cat; echo end").output(), "end\n");
    // Without a shell, which ignores one itself.
    let mut step = Step::new("");
    step.spec.argv = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]
        .map(str::to_owned)
        .to_vec();
    let signals = step.output();
    assert_eq!(
        signals,
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

#[test]
fn the_host_name_is_the_given_one() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("hostname; cat /proc/sys/kernel/hostname");
    assert_eq!(step.output(), "buildkitsandbox\nbuildkitsandbox\n");
    step.spec.hostname = "other".to_owned();
    fs::remove_dir_all(step.path("work")).unwrap();
    fs::create_dir(step.path("work")).unwrap();
    assert_eq!(step.output(), "other\nother\n");
}

#[test]
fn a_missing_working_directory_is_made_and_kept() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("busybox pwd");
    step.spec.cwd = "/a/b".to_owned();
    assert_eq!(step.output(), "/a/b\n");
    assert_eq!(step.changed(), ["/a", "/a/b"]);
    assert_eq!(
        fs::metadata(step.path("upper/a/b")).unwrap().mode() & 0o7777,
        0o755
    );
}

#[test]
fn a_working_directory_that_is_a_file_is_named() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("true");
    step.spec.cwd = "/bin/busybox".to_owned();
    assert_eq!(
        step.failure().to_string(),
        "cannot set up the sandbox: cannot change the directory to `/bin/busybox`: not a directory"
    );
}

#[test]
fn user_group_and_supplementary_groups_are_set() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("id; umask; echo x > /tmp/x; echo seen > /dev/stdout");
    step.spec.user = User {
        uid: 1000,
        gid: 1001,
        groups: vec![5, 1001],
    };
    fs::set_permissions(step.path("base/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(
        step.output(),
        "uid=1000 gid=1001 groups=5,1001\n0022\nseen\n"
    );
    let made = fs::metadata(step.path("upper/tmp/x")).unwrap();
    assert_eq!(
        (made.uid(), made.gid(), made.mode() & 0o777),
        (1000, 1001, 0o644)
    );
    assert_eq!(Step::new("id").output(), "uid=0 gid=0\n");
}

#[test]
fn capabilities_are_the_default_ones() {
    require_capability!(Root, Program("busybox"));
    let command = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status";
    let sets = |inh: u64, prm: u64, eff: u64, bnd: u64, amb: u64| {
        format!(
            "CapInh:\t{inh:016x}\nCapPrm:\t{prm:016x}\nCapEff:\t{eff:016x}\nCapBnd:\t{bnd:016x}\nCapAmb:\t{amb:016x}\nNoNewPrivs:\t0\n"
        )
    };
    let default = 0xa804_25fb;
    let mut step = Step::new(command);
    assert_eq!(step.output(), sets(0, default, default, default, 0));
    let mut user = Step::new(command);
    user.spec.user.uid = 1000;
    assert_eq!(user.output(), sets(0, 0, 0, default, 0));

    step = Step::new(command);
    step.spec.security = Security::Insecure;
    let output = step.output();
    assert!(
        output.contains("CapEff:\t000001ffffffffff\n") || !output.contains("a80425fb"),
        "{output}"
    );
    step = Step::new(
        "busybox mount -t tmpfs none /tmp && test -w /proc/sys/kernel/hostname && test -c /dev/fuse",
    );
    step.spec.security = Security::Insecure;
    assert_eq!(step.output(), "");
    assert_ne!(
        Step::new("busybox mount -t tmpfs none /tmp 2>/dev/null")
            .run()
            .0
            .unwrap()
            .exit,
        Exit::Code(0)
    );
}

#[test]
fn a_command_that_cannot_start_is_told_like_a_runtime_would() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new("");
    fs::write(step.path("base/etc/script"), "#!/no/interpreter\n").unwrap();
    fs::write(step.path("base/etc/text"), "echo\n").unwrap();
    fs::set_permissions(
        step.path("base/etc/script"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    fs::write(step.path("base/etc/binary"), [0x7f, b'E', b'L', b'F', 9]).unwrap();
    fs::set_permissions(
        step.path("base/etc/binary"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let cases = [
        (
            "no-such-tool",
            127,
            "exec: \"no-such-tool\": executable file not found in $PATH",
        ),
        (
            "/no/such/tool",
            127,
            "exec: \"/no/such/tool\": stat /no/such/tool: no such file or directory",
        ),
        (
            "/etc/script",
            127,
            "exec /etc/script: no such file or directory",
        ),
        ("/etc/text", 126, "exec: \"/etc/text\": permission denied"),
        ("/etc", 126, "exec: \"/etc\": is a directory"),
        ("/etc/binary", 126, "exec /etc/binary: exec format error"),
    ];
    let mut step = step;
    for (name, code, text) in cases {
        step.spec.argv = vec![name.to_owned(), "argument".to_owned()];
        for folder in ["upper", "work"] {
            fs::remove_dir_all(step.path(folder)).unwrap();
            fs::create_dir(step.path(folder)).unwrap();
        }
        let error = step.failure();
        assert_eq!(
            (error.to_string().as_str(), error.exit_code()),
            (text, Some(code))
        );
    }
}

#[test]
fn without_network_there_is_only_loopback_and_it_is_up() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new(
        "ls /sys/class/net; cat /proc/net/route | wc -l; ip addr show lo | grep -o -e LOOPBACK,UP -e 'inet 127.0.0.1/8'",
    );
    step.spec.network = Network::None;
    assert_eq!(step.output(), "lo\n1\nLOOPBACK,UP\ninet 127.0.0.1/8\n");
}

#[test]
fn limits_are_set() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("ulimit -Sn; ulimit -Hn; ulimit -c");
    let limit = |resource, soft, hard| Ulimit {
        resource,
        soft: Some(soft),
        hard: Some(hard),
    };
    step.spec.ulimits = vec![
        limit(LimitedResource::OpenFiles, 100, 200),
        limit(LimitedResource::Core, 0, 0),
    ];
    assert_eq!(step.output(), "100\n200\n0\n");
}

#[test]
fn the_command_has_three_descriptors_and_sees_no_processes_of_the_machine() {
    require_capability!(Root, Program("busybox"));
    // The fourth is that of `ls` itself. The processes: our PID 1, the shell, `ls` and `wc`.
    let step = Step::new(
        "ls /proc/self/fd | wc -l; ls -d /proc/[0-9]* | wc -l; cat /proc/1/cmdline; cat /proc/1/environ; ls /proc/1/cwd/",
    );
    let (result, output) = step.run();
    assert_ne!(result.unwrap().exit, Exit::Code(0));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[0], "4");
    assert_eq!(lines[1], "4", "{output}");
    assert_eq!(output.matches("Permission denied").count(), 2, "{output}");
}

#[test]
fn the_builders_executable_cannot_be_written_through_the_sandbox() {
    require_capability!(Root, Program("busybox"));
    // A privileged step sees the file that PID 1 runs. That it is busy protects it only until PID 1 ends; its mount does
    // for good.
    let mut step = Step::new("busybox chmod 755 /proc/1/exe");
    step.spec.security = Security::Insecure;
    let (_, output) = step.run();
    assert_eq!(output, "chmod: /proc/1/exe: Read-only file system\n");
}

#[test]
fn system_calls_are_filtered_and_set_user_id_programs_still_work() {
    require_capability!(Root, Program("busybox"));
    let status = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t'";
    assert_eq!(Step::new(status).output(), "NoNewPrivs:0\nSeccomp:2\n");
    let mut insecure = Step::new(status);
    insecure.spec.security = Security::Insecure;
    assert_eq!(insecure.output(), "NoNewPrivs:0\nSeccomp:0\n");
    // What the kernel would allow: the filter is what refuses it.
    let words = |command: &str| Step::new(&format!("{command} 2>&1; true")).output();
    assert!(words("unshare -U true").contains("Operation not permitted"));
    assert!(words("busybox unshare -U -m true").contains("Operation not permitted"));
    assert_eq!(words("chroot / true"), "");
}
