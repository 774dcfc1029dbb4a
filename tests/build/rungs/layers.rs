//! The layers of a step do not tell who ran it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::lodger::Lodger;
use crate::support::rootfs::Rootfs;
use crate::support::rung_cases::{RUNG_CASES, RungCase, layers_of};
use crate::support::{TestEnv, layout, require_capability};

#[test]
fn a_user_with_subordinate_ids_makes_the_layers_that_root_makes() {
    require_capability!(
        Root,
        Overlay,
        UserNamespaces,
        Program("newuidmap"),
        Base(Busybox),
        Base(Compiler),
        Base(Python)
    );
    let lodger = Lodger::with_ids();
    let mut failed = Vec::new();
    for case in &RUNG_CASES {
        if catch_unwind(AssertUnwindSafe(|| check(case, &lodger))).is_err() {
            failed.push(case.name);
        }
    }
    assert!(
        failed.is_empty(),
        "cases that failed (see above): {failed:?}"
    );
}

fn check(case: &RungCase, lodger: &Lodger) {
    let env = TestEnv::new();
    let folder = lodger.path(case.name);
    case.copy_to(&folder);
    // Twice, so that folders that are kept between builds are there the second time.
    for round in ["ROUND=1", "ROUND=2"] {
        let by_root = env.path(format!("image-{round}"));
        let by_user = lodger.path("home").join(case.name).join(round);
        let arguments = |output| {
            let flags = ["--build-arg", round].map(std::ffi::OsString::from);
            flags.into_iter().chain(case.arguments(&folder, output))
        };
        env.build(arguments(&by_root)).succeeded();
        let built = lodger.build(arguments(&by_user)).succeeded();
        let told = "steps run without root, in a user namespace with subordinate ids";
        let ran = round == "ROUND=1" || case.name == "caches";
        assert_eq!(built.stderr.contains(told), ran, "{}", built.stderr);
        let (expected, found) = (layout::read(&by_root), layout::read(&by_user));
        let difference = Rootfs::of(&found).beyond(&Rootfs::of(&expected));
        assert_eq!(difference, "", "{}: {round}", case.name);
        assert_eq!(
            layers_of(&by_user),
            layers_of(&by_root),
            "{}: {round}",
            case.name
        );
    }
}
