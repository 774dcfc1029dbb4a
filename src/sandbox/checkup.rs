//! What a step would meet on this machine, tried without running one: for `builder doctor`.

use std::path::Path;

use super::Footing;
use crate::fsio;
use crate::sys::mount::OverlayDirectories;

/// Makes an overlay in `folder`, as a step would have one, and drops it without a trace.
///
/// # Errors
/// The folder cannot be written, or the kernel makes no overlay on its file system.
pub fn overlay_in(folder: &Path, footing: Footing) -> fsio::Result<()> {
    let scratch = folder.join(format!(".overlay-{}", fsio::unique()));
    fsio::create_dir(&scratch)?;
    let tried = try_overlay(&scratch, footing);
    fsio::remove_tree(&scratch)?;
    tried
}

fn try_overlay(scratch: &Path, footing: Footing) -> fsio::Result<()> {
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| scratch.join(name));
    for folder in [&lower, &upper, &work] {
        fsio::create_dir(folder)?;
    }
    let failed = |errno| fsio::Error::new("make an overlay in", scratch, errno);
    OverlayDirectories::open(&[lower], Some((&upper, &work)))
        .map_err(|(_, errno)| failed(errno))?
        .create(footing.in_user_namespace())
        .map(drop)
        .map_err(failed)
}

/// Whether nothing covers a part of `/proc`. Where something does, a user namespace gets no `/proc` of its own, and steps see this one.
#[must_use]
pub fn sees_whole_proc() -> bool {
    let mounts = fsio::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut targets = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    // The automatic mount of this one is what every machine has.
    targets.all(|target| {
        !target.starts_with("/proc/") || target.starts_with("/proc/sys/fs/binfmt_misc")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Rung;

    #[test]
    fn an_overlay_that_was_tried_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = rustix::process::geteuid().is_root();
        let tried = overlay_in(folder.path(), Footing::on(Rung::Root));
        assert_eq!(tried.is_ok(), root, "{tried:?}");
        assert_eq!(fsio::read_dir_sorted(folder.path()).unwrap(), [""; 0]);
        let gone = folder.path().join("gone");
        let error = overlay_in(&gone, Footing::on(Rung::Root)).unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }
}
