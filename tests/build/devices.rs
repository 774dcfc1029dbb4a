//! `RUN --device`: devices as CDI specs describe them, who may have them, and what is left of them.

use std::ffi::OsString;

use crate::support::bases::{self, Base};
use crate::support::progress::Progress;
use crate::support::rootfs::Rootfs;
use crate::support::{Outcome, TestEnv, layout, require_capability};

const SPEC: &str = r#"
cdiVersion: "0.6.0"
kind: vendor.com/test
containerEdits:
  env: [COMMON=all]
devices:
- name: one
  containerEdits:
    env: [WHICH=one]
    deviceNodes:
    - {path: /dev/test0, hostPath: /dev/null, fileMode: 0o640}
    - {path: /dev/sub/test1, hostPath: /dev/zero, uid: 5, gid: 6}
    mounts:
    - {hostPath: FOLDER/shared, containerPath: /opt/test, options: [ro, nosuid, nodev]}
    additionalGids: [44]
- name: two
  containerEdits:
    env: [WHICH=two]
- name: free
  annotations:
    org.mobyproject.buildkit.device.autoallow: true
  containerEdits:
    env: [WHICH=free]
- name: hooked
  containerEdits:
    hooks: [{hookName: createContainer, path: /bin/true}]
"#;

struct Place(TestEnv);

impl Place {
    fn new() -> Self {
        let env = TestEnv::new();
        env.write("shared/file", "of the machine\n");
        let folder = env.path(".").display().to_string();
        env.write(
            "cdi/vendor.yaml",
            SPEC.replace("FOLDER", folder.trim_end_matches("/.")),
        );
        Self(env)
    }

    fn build(&self, run: &str, arguments: &[&str]) -> Outcome {
        self.0
            .write("context/Dockerfile", format!("FROM base\n{run}\n"));
        let mut all: Vec<OsString> = bases::build_context("base", Base::Busybox).into();
        all.extend(["--cdi-spec-dir", "cdi"].map(Into::into));
        all.extend(arguments.iter().map(OsString::from));
        all.push("context".into());
        self.0.build(all)
    }

    /// What a step printed.
    #[track_caller]
    fn output(&self, run: &str, arguments: &[&str]) -> Vec<String> {
        let outcome = self.build(run, arguments).succeeded();
        Progress::read(&outcome.stderr).step("RUN").output.clone()
    }

    /// What was said of a build that did not take place.
    #[track_caller]
    fn refused(&self, run: &str, arguments: &[&str], words: &[&str]) {
        let outcome = self.build(run, arguments).exited(1);
        for word in words {
            assert!(
                outcome.stderr.contains(word),
                "no `{word}` in\n{}",
                outcome.stderr
            );
        }
        assert!(
            outcome.stderr.contains("Dockerfile:2"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_device_brings_files_mounts_variables_and_groups_and_leaves_nothing() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    let run = "USER builder\nRUN --device=vendor.com/test=one,required \
        echo $COMMON $WHICH; echo x >/dev/test0; cd /dev; stat -c '%n %F %a %u %g' test0 sub/test1; \
        head -c 3 sub/test1 | wc -c; cat /opt/test/file; touch /opt/test/new; id -G";
    let folder = place.0.path("image");
    let output = format!("type=oci,dest={},tar=false", folder.display());
    let outcome = place
        .build(run, &["--allow", "device", "-o", &output])
        .succeeded();
    assert_eq!(
        Progress::read(&outcome.stderr).step("RUN").output,
        [
            "all one",
            // Without an owner it is that of the step's user.
            "test0 character special file 640 1000 1000",
            "sub/test1 character special file 666 5 6",
            "3",
            "of the machine",
            "touch: /opt/test/new: Read-only file system",
            "1000 44 100",
        ]
    );
    let image = layout::read(&folder);
    let base = layout::read(&bases::layout(Base::Busybox));
    assert_eq!(Rootfs::of(&image).beyond(&Rootfs::of(&base)), "");
    assert!(
        !image.config.to_string().contains("WHICH="),
        "{}",
        image.config
    );
}

#[test]
fn devices_have_to_be_allowed() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    let run = |device: &str| format!("RUN --device=vendor.com/test{device} echo $WHICH");
    let one = "device vendor.com/test=one is requested by the build but not allowed";
    let hint = "--allow device=vendor.com/test=one";
    place.refused(&run("=one"), &[], &[one, hint]);
    place.refused(
        &run("=one"),
        &["--allow", "device=vendor.com/test=two"],
        &[one],
    );
    place.refused(
        &run("=*"),
        &["--allow", "device=vendor.com/test=one"],
        &["devices vendor.com/test=hooked, vendor.com/test=two are requested by the build but not allowed"],
    );
    assert_eq!(place.output(&run("=free"), &[]), ["free"]);
    // The first of its kind, by name: the same step.
    let outcome = place.build(&run(""), &[]).succeeded();
    Progress::read(&outcome.stderr).all_cached(1);
    let allowed = ["--allow", "device=vendor.com/test=one"];
    assert_eq!(place.output(&run("=one"), &allowed), ["one"]);
    let outcome = place.build("RUN true", &["--allow", "devices"]).exited(2);
    assert!(
        outcome.stderr.contains("unknown entitlement `devices`"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_device_that_is_not_there_is_an_error_only_if_it_is_required() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    let message = "required device \"vendor.com/other\" is not registered";
    place.refused(
        "RUN --device=vendor.com/other,required true",
        &[],
        &[message, "--cdi-spec-dir"],
    );
    place.refused(
        "RUN --device=nonsense true",
        &[],
        &["invalid device \"nonsense\""],
    );
    assert_eq!(
        place.output("RUN --device=vendor.com/other,required=false echo ran", &[]),
        ["ran"]
    );
    // Without the device the step is the same as one that never asked for it.
    let outcome = place.build("RUN echo ran", &[]).succeeded();
    Progress::read(&outcome.stderr).all_cached(1);
    place.0.write("cdi/broken.yaml", "kind: [");
    let outcome = place
        .build("RUN --device=vendor.com/other echo ran", &[])
        .succeeded();
    assert!(
        outcome.stderr.contains("cdi/broken.yaml"),
        "a warning: {}",
        outcome.stderr
    );
}

#[test]
fn the_name_of_a_device_is_in_the_key_and_its_spec_is_not() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    let run = |name: &str| format!("RUN --device=vendor.com/test={name} true");
    let allow = ["--allow", "device"];
    place.build(&run("one"), &allow).succeeded();
    let outcome = place.build(&run("two"), &allow).succeeded();
    assert!(
        outcome
            .stderr
            .contains("vendor.com/test=one → vendor.com/test=two"),
        "{}",
        outcome.stderr
    );
    place
        .0
        .write("cdi/vendor.yaml", SPEC.replace("WHICH=one", "WHICH=other"));
    let outcome = place.build(&run("one"), &allow).succeeded();
    Progress::read(&outcome.stderr).all_cached(1);
}

#[test]
fn what_runs_programs_of_the_machine_is_refused() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    let outcome = place
        .build(
            "RUN --device=vendor.com/test=hooked true",
            &["--allow", "device"],
        )
        .exited(3);
    let message = "the device `vendor.com/test=hooked` wants a hook (`createContainer`)";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

#[test]
fn privileges_have_to_be_allowed() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    let (insecure, host) = ("RUN --security=insecure true", "RUN --network=host true");
    place.refused(
        insecure,
        &[],
        &[
            "security.insecure is not allowed",
            "--allow security.insecure",
        ],
    );
    place.refused(
        host,
        &[],
        &["network.host is not allowed", "--allow network.host"],
    );
    place
        .build(insecure, &["--allow", "security.insecure"])
        .succeeded();
    place.build(host, &["--allow", "network.host"]).succeeded();
    // The user who puts all steps on the machine's network has allowed it.
    place.build(host, &["--network", "host"]).succeeded();
    place.refused(
        host,
        &["--network", "none"],
        &["network.host is not allowed"],
    );
}
