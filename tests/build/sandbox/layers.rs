//! What a step is made of and leaves behind: layers below, changes above.

use super::*;

#[test]
fn mount_points_do_not_show_in_the_layer() {
    require_capability!(Root, Program("busybox"));
    for code in [0, 3] {
        let mut step = Step::new(&format!(
            "cat /etc/hosts /run/secrets/token; touch /made 2>&1; echo > /made; exit {code}"
        ));
        step.spec.hosts = Some(b"127.0.0.1 localhost\n".to_vec());
        step.spec.resolv_conf = Some(b"nameserver 1.1.1.1\n".to_vec());
        let step = step
            .with_mount("/run/secrets/token", secret(b"s3cret\n", 0o400))
            .with_mount(
                "/deep/er/dir",
                MountKind::Tmpfs {
                    size: None,
                    mode: 0o755,
                    read_only: false,
                },
            );
        let etc = step.path("base/etc");
        let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(&etc)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        let (result, output) = step.run();
        assert_eq!(result.unwrap().exit, Exit::Code(code));
        assert!(
            output.starts_with("127.0.0.1 localhost\ns3cret\n"),
            "{output}"
        );
        // The folder was copied up; the difference to the layer below is none, times included.
        assert_eq!(step.changed(), ["/etc", "/made"]);
        assert_eq!(
            fs::metadata(step.path("upper/etc"))
                .unwrap()
                .modified()
                .unwrap(),
            long_ago
        );
    }
}

#[test]
fn mount_points_that_existed_or_were_used_stay() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new("echo x > /run/other; cat /etc/hosts");
    fs::write(step.path("base/etc/hosts"), "").unwrap();
    let mut step = step.with_mount("/run/secrets/token", secret(b"x", 0o400));
    step.spec.hosts = Some(b"mounted\n".to_vec());
    assert_eq!(step.output(), "mounted\n");
    assert_eq!(step.changed(), ["/run", "/run/other"]);
    assert!(step.path("base/etc/hosts").exists());
}

#[test]
fn a_deletion_leaves_a_whiteout() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new("busybox rm /etc/gone; busybox mv /etc/dir /etc/moved");
    fs::write(step.path("base/etc/gone"), "x").unwrap();
    fs::create_dir(step.path("base/etc/dir")).unwrap();
    fs::write(step.path("base/etc/dir/inside"), "x").unwrap();
    step.output();
    assert_eq!(
        step.changed(),
        [
            "/etc",
            "/etc/dir",
            "/etc/gone",
            "/etc/moved",
            "/etc/moved/inside"
        ]
    );
    let gone = fs::symlink_metadata(step.path("upper/etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
}

#[test]
fn two_hundred_layers_are_one_file_system() {
    require_capability!(Root, Program("busybox"));
    let mut step =
        Step::new("ls /many | wc -l; cat /top; busybox cut -c1-40 /proc/mounts | grep ' / '");
    let layers: Vec<_> = (0..400)
        .map(|number| step.path(&format!("a-rather-long-name-of-a-layer-directory/{number}")))
        .collect();
    for (number, layer) in layers.iter().enumerate() {
        fs::create_dir_all(layer.join("many")).unwrap();
        fs::write(layer.join(format!("many/{number}")), "").unwrap();
        fs::write(layer.join("top"), format!("{number}\n")).unwrap();
    }
    step.lower().splice(0..0, layers);
    let output = step.output();
    assert!(output.starts_with("400\n0\noverlay / overlay"), "{output}");
}

#[test]
fn a_stage_from_scratch_has_no_layers() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("");
    step.lower().clear();
    let source = PathBuf::from(BUSYBOX);
    let mut step = step.with_mount(
        "/busybox",
        MountKind::Bind {
            source,
            sub_path: String::new(),
            read_only: true,
        },
    );
    step.spec.argv = ["/busybox", "touch", "/made"].map(str::to_owned).to_vec();
    step.output();
    assert_eq!(step.changed(), ["/made"]);
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("true");
    step.lower().push("/no/such/layer".into());
    assert_eq!(
        step.failure().to_string(),
        "cannot set up the sandbox: cannot open the source `/no/such/layer`: no such file or directory"
    );
}

#[test]
fn nothing_is_left_in_the_machines_mounts() {
    require_capability!(Root, Program("busybox"));
    let step = Step::new("true");
    step.output();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(step.folder.path().to_str().unwrap()),
        "{mounts}"
    );
    fs::remove_dir_all(step.path("work")).unwrap();
}

#[test]
fn a_scaffold_saves_making_mount_points() {
    require_capability!(Root, Program("busybox"));
    let mut step = Step::new("cat /etc/hosts; echo x > /etc/made; ls / | busybox tr '\\n' ' '");
    step.spec.hosts = Some(b"127.0.0.1 localhost\n".to_vec());
    let scaffold = step.path("scaffold");
    let runner = runner().with_scaffold(&scaffold).unwrap();
    let mut output = Vec::new();
    let outcome = runner.run(
        &step.spec,
        &mut |bytes| output.extend_from_slice(bytes),
        &Cancel::new(),
    );
    assert_eq!(outcome.unwrap().exit, Exit::Code(0));
    assert_eq!(output, b"127.0.0.1 localhost\nbin dev etc proc sys tmp ");
    assert_eq!(step.changed(), ["/etc", "/etc/made"]);
    assert_eq!(fs::read(scaffold.join("etc/hosts")).unwrap(), b"");
}
