//! Steps that try to get out, to see in, or to stay: against the real kernel, as root of the step and as an ordinary user of it.
//! What is only a table (which calls are refused, which paths are masked) has tests beside the code.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests make and look at plain files"
)]

mod calls;
mod devices;
mod first_process;
mod host;
mod killed;
mod secrets;
mod store;

use std::fs;
use std::os::unix::fs::symlink;

use builder::sandbox::{Attributes, MountKind};

use crate::sandbox::Step;

/// A step that has the machine's Perl, which makes any system call.
fn perl(program: &str) -> Step {
    let mut step = Step::new("");
    for name in ["lib", "lib64"] {
        symlink(format!("usr/{name}"), step.path("base").join(name)).unwrap();
    }
    fs::create_dir(step.path("base/usr")).unwrap();
    step.spec.argv = ["/usr/bin/perl", "-e", program].map(str::to_owned).to_vec();
    let attributes = Attributes {
        read_only: true,
        ..Attributes::default()
    };
    step.with_mount(
        "/usr",
        MountKind::Host {
            source: "/usr".into(),
            attributes,
        },
    )
}

/// Turns a step into one of an ordinary user.
fn as_user(mut step: Step) -> Step {
    step.spec.user.uid = 1000;
    step.spec.user.gid = 1000;
    step
}
