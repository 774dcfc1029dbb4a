//! A user with one id: what a step can do, and what is said about the rest.

use crate::support::bases::Base;
use crate::support::lodger::Lodger;
use crate::support::rootfs::Rootfs;
use crate::support::{bases, layout, require_capability};
use builder::fsio;

/// Builds a Dockerfile on busybox as the user; what came of it, and where the image is.
fn build(lodger: &Lodger, dockerfile: &str) -> (crate::support::Outcome, std::path::PathBuf) {
    let context = lodger.path("home/context");
    fsio::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(context.join("file"), "content").unwrap();
    let base = lodger.path("busybox");
    if !base.exists() {
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(bases::layout(Base::Busybox))
            .arg(&base)
            .status();
        assert!(copied.unwrap().success());
    }
    lodger.give(&context);
    let output = lodger.path("home/image");
    fsio::remove_tree(&output).unwrap();
    let outcome = lodger.build([
        "--build-context".to_owned(),
        format!("busybox=oci-layout://{}", base.display()),
        "-o".to_owned(),
        format!("type=oci,tar=false,dest={}", output.display()),
        context.display().to_string(),
    ]);
    (outcome, output)
}

#[test]
fn owners_are_kept_where_a_step_cannot_see_them() {
    require_capability!(Root, Overlay, UserNamespaces, Base(Busybox));
    let lodger = Lodger::without_ids();
    let (outcome, image) = build(
        &lodger,
        "FROM busybox\n\
         COPY --chown=33:44 file /given\n\
         RUN echo more >> /given && mkdir /made && echo x > /made/x && chmod 4755 /made/x && rm /bin/vi && chown 0:0 /made\n\
         RUN cat /given /made/x && mv /made /moved\n",
    );
    let outcome = outcome.succeeded();
    assert!(outcome.stderr.contains("with one id"), "{}", outcome.stderr);
    let base = Rootfs::of(&layout::read(&bases::layout(Base::Busybox)));
    let found = Rootfs::of(&layout::read(&image)).beyond(&base);
    for expected in ["given", "33:44", "moved/x", "4755", "- /bin/vi"] {
        assert!(found.contains(expected), "`{expected}` is not in:\n{found}");
    }
}

#[test]
fn what_takes_other_ids_is_told_with_a_remedy() {
    require_capability!(Root, Overlay, UserNamespaces, Base(Busybox));
    let lodger = Lodger::without_ids();
    let (outcome, _) = build(&lodger, "FROM busybox\nUSER 1000\nRUN echo ran > /tmp/x\n");
    let said = outcome.exited(3).stderr;
    assert!(said.contains("is to run as user 1000"), "{said}");
    assert!(said.contains("hint: `builder doctor`"), "{said}");

    let (outcome, _) = build(&lodger, "FROM busybox\nRUN touch /x && chown 33 /x\n");
    let said = outcome.exited(1).stderr;
    assert!(said.contains("chown: /x: Invalid argument"), "{said}");
    assert!(
        said.contains("`builder doctor` tells how to get more ids"),
        "{said}"
    );
}
