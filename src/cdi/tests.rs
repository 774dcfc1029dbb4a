//! Specs in folders, and what comes of them.

use super::*;

const YAML: &str = r#"
cdiVersion: "0.6.0"
kind: vendor.com/gpu
annotations:
  org.mobyproject.buildkit.device.class: fast
containerEdits:
  env: [COMMON=1]
devices:
- name: 1
  annotations:
    org.mobyproject.buildkit.device.autoallow: true
    org.mobyproject.buildkit.device.class: slow
  containerEdits:
    deviceNodes:
    - {path: /dev/test1, hostPath: /dev/null, fileMode: 0660, uid: 5, permissions: rw}
    - path: /dev/disk
      type: b
      major: 7
      minor: 1
      fileMode: 384
- name: "0"
  containerEdits:
    env: ["A=b=c", "EMPTY="]
    mounts:
    - hostPath: /usr/lib
      containerPath: /lib
      options: [ro, nosuid, nodev, noexec, rbind, rprivate]
    additionalGids: [0, 44]
    hooks: null
"#;

/// A registry of files in folders, each `folder/name` with its text.
fn registry(folders: &[&str], files: &[(&str, &str)]) -> Registry {
    let place = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = place.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let folders: Vec<_> = folders.iter().map(|name| place.path().join(name)).collect();
    Registry::read(&folders)
}

fn json(kind: &str, name: &str, edits: &str) -> String {
    format!(
        r#"{{"cdiVersion":"0.6.0","kind":"{kind}","devices":[{{"name":"{name}","containerEdits":{edits}}}]}}"#
    )
}

#[test]
fn names_find_devices() {
    let registry = registry(
        &["a", "gone"],
        &[("a/gpu.yaml", YAML), ("a/README", "not read")],
    );
    assert!(registry.problems().is_empty(), "{:?}", registry.problems());
    let cases: [(&str, &[&str]); 8] = [
        ("vendor.com/gpu=1", &["vendor.com/gpu=1"]),
        ("vendor.com/gpu", &["vendor.com/gpu=0"]),
        (
            "vendor.com/gpu=*",
            &["vendor.com/gpu=0", "vendor.com/gpu=1"],
        ),
        ("vendor.com/gpu=slow", &["vendor.com/gpu=1"]),
        ("vendor.com/gpu=fast", &["vendor.com/gpu=0"]),
        ("vendor.com/gpu=2", &[]),
        ("vendor.com/gpus", &[]),
        ("vendor.com/g", &[]),
    ];
    for (wanted, expected) in cases {
        assert_eq!(registry.find(wanted).unwrap(), expected, "{wanted}");
    }
    for bad in [
        "gpu",
        "",
        "/gpu",
        "vendor.com/",
        "1vendor/gpu",
        "vendor./gpu",
        "a/b/c",
        "=x",
    ] {
        let error = registry.find(bad).unwrap_err();
        assert_eq!(error.to_string(), format!("invalid device \"{bad}\""));
    }
    assert!(registry.is_allowed_to_all("vendor.com/gpu=1"));
    assert!(!registry.is_allowed_to_all("vendor.com/gpu=0"));
    assert!(!registry.is_allowed_to_all("vendor.com/gpu=2"));
}

#[test]
fn edits_are_those_of_the_spec_then_those_of_its_devices() {
    let registry = registry(&["a"], &[("a/gpu.yaml", YAML)]);
    let names = registry.find("vendor.com/gpu=*").unwrap();
    let edits = registry.edits(&names).unwrap();
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let env = [("COMMON", "1"), ("A", "b=c"), ("EMPTY", "")].map(pair);
    assert_eq!(edits.env, env);
    assert_eq!(edits.groups, [44]);
    let mount = HostMount {
        source: "/usr/lib".into(),
        target: "/lib".to_owned(),
        read_only: true,
        no_suid: true,
        no_devices: true,
        no_execution: true,
    };
    assert_eq!(edits.mounts, [mount]);
    let null = Node {
        path: "/dev/test1".to_owned(),
        source: "/dev/null".into(),
        kind: NodeKind::Character,
        major: 1,
        minor: 3,
        mode: 0o660,
        uid: Some(5),
        gid: None,
    };
    let disk = Node {
        path: "/dev/disk".to_owned(),
        source: "/dev/disk".into(),
        kind: NodeKind::Block,
        major: 7,
        minor: 1,
        mode: 0o600,
        uid: None,
        gid: None,
    };
    assert_eq!(edits.nodes, [null, disk]);
}

#[test]
fn what_a_step_cannot_be_given_is_refused() {
    let cases = [
        (
            r#"{"hooks":[{"hookName":"createContainer","path":"/bin/x"}]}"#,
            "wants a hook (`createContainer`)",
        ),
        (r#"{"intelRdt":{}}"#, "wants a class of processor caches"),
        (r#"{"netDevices":[{}]}"#, "wants a network interface"),
        (r#"{"env":["=x"]}"#, "wants a variable without a name"),
        (
            r#"{"mounts":[{"hostPath":"/a","containerPath":"/a","type":"tmpfs"}]}"#,
            "mount of the type `tmpfs`",
        ),
        (
            r#"{"mounts":[{"hostPath":"/a","containerPath":"/a","options":["shared"]}]}"#,
            "option `shared`",
        ),
        (
            r#"{"deviceNodes":[{"path":"/dev/x","type":"q"}]}"#,
            "type `q`",
        ),
        (
            r#"{"deviceNodes":[{"path":"/etc/passwd"}]}"#,
            "is no device file",
        ),
        (
            r#"{"deviceNodes":[{"path":"/dev/no/such"}]}"#,
            "/dev/no/such",
        ),
    ];
    for (edits, message) in cases {
        let registry = registry(&["a"], &[("a/x.json", &json("v.com/x", "y", edits))]);
        assert!(registry.problems().is_empty(), "{:?}", registry.problems());
        let error = registry.edits(&["v.com/x=y".to_owned()]).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn later_folders_win_and_two_specs_of_one_folder_do_not() {
    let env = |value: &str| json("v.com/x", "y", &format!(r#"{{"env":["V={value}"]}}"#));
    let name = ["v.com/x=y".to_owned()];
    let files = [("a/x.json", env("a")), ("b/x.json", env("b"))];
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let value = |folders: &[&str]| {
        registry(folders, &files).edits(&name).unwrap().env[0]
            .1
            .clone()
    };
    assert_eq!(value(&["a", "b"]), "b");
    assert_eq!(value(&["b", "a"]), "a");
    let (one, two, three) = (env("1"), env("2"), env("3"));
    let same = [
        ("a/1.json", &*one),
        ("a/2.json", &*two),
        ("a/3.json", &*three),
    ];
    for specs in [&same[..2], &same] {
        let unclear = registry(&["a"], specs);
        assert_eq!(unclear.find("v.com/x").unwrap(), [""; 0], "{specs:?}");
        assert_eq!(unclear.problems().len(), specs.len() - 1);
        assert!(
            unclear.problems()[0]
                .to_string()
                .contains("described twice")
        );
    }
    let decided = [same[0], same[1], ("b/1.json", &*three)];
    let decided = registry(&["a", "b"], &decided);
    assert_eq!(decided.find("v.com/x").unwrap(), ["v.com/x=y"]);
}

#[test]
fn specs_that_cannot_be_used_are_named_and_the_others_count() {
    let good = json("v.com/x", "y", "{}");
    for (bad, message) in [
        ("kind: [", "bad.yaml"),
        ("cdiVersion: 0.6.0\n", "missing field `kind`"),
        ("cdiVersion: 0.6.0\nkind: x\n", "`x` is not VENDOR/CLASS"),
        (
            "cdiVersion: 2.0.0\nkind: v.com/x\n",
            "its version `2.0.0` is not known",
        ),
        (
            "cdiVersion: 0.6.0\nkind: v.com/x\ndevices: [{name: '-'}]\n",
            "`-` is no name",
        ),
        (
            "cdiVersion: 0.6.0\nkind: v.com/x\n---\nkind: v.com/x\n",
            "2 documents",
        ),
        ("", "0 documents"),
        ("? [a]\n: b\n", "a key is no text"),
    ] {
        let registry = registry(&["a"], &[("a/bad.yaml", bad), ("a/good.json", &good)]);
        let [problem] = registry.problems() else {
            panic!("one problem with {bad:?}, found {:?}", registry.problems());
        };
        assert!(problem.to_string().contains(message), "{problem}");
        assert_eq!(registry.find("v.com/x").unwrap(), ["v.com/x=y"]);
    }
}

#[test]
fn yaml_numbers_are_those_of_specs() {
    let value =
        yaml::parse("[0660, 0o17, 0x1f, 10, 0, -3, 08, 1.5, '7', ~, yes, true, 0x-1]").unwrap();
    let expected = serde_json::json!([
        432, 15, 31, 10, 0, -3, "08", "1.5", "7", null, "yes", true, "0x-1"
    ]);
    assert_eq!(value, expected);
    let aliases = yaml::parse("a: &x [1]\nb: *x\n").unwrap();
    assert_eq!(aliases, serde_json::json!({"a": [1], "b": [1]}));
}
