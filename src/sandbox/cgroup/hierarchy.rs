//! Where the process is in the machine's cgroup hierarchies, read from the texts of the kernel. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a hierarchy is mounted when it is mounted more than once.
const USUAL: &str = "/sys/fs/cgroup";

/// The hierarchies that this process can see itself in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    /// The one of version 2.
    pub(super) unified: Option<Position>,
    /// Those of version 1, by controller.
    pub(super) legacy: BTreeMap<String, Position>,
}

/// A place in a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Where the hierarchy is mounted.
    pub(super) mount: PathBuf,
    /// Path of the process's cgroup below that; empty for the top.
    pub(super) below: PathBuf,
}

impl Position {
    /// The folder of the process's cgroup.
    pub(super) fn folder(&self) -> PathBuf {
        match self.below.as_os_str().is_empty() {
            true => self.mount.clone(),
            false => self.mount.join(&self.below),
        }
    }
}

/// A mounted hierarchy, or a part of one.
struct Mounted {
    /// The cgroup that is seen at the mount point.
    root: PathBuf,
    point: PathBuf,
    unified: bool,
    /// Options of the file system: controllers among others.
    options: String,
}

impl Hierarchies {
    /// From `/proc/self/cgroup` and `/proc/self/mountinfo`.
    pub(super) fn read(cgroup: &str, mountinfo: &str) -> Self {
        let mut mounted: Vec<Mounted> = mountinfo.lines().filter_map(mounted).collect();
        // Of several the usual one; a stable sort keeps the order of the others.
        mounted.sort_by_key(|mounted| !mounted.point.starts_with(USUAL));
        let mut found = Self::default();
        for line in cgroup.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            if controllers.is_empty() {
                let position = |mounted: &Mounted| position(mounted, path);
                let mut unified = mounted.iter().filter(|mounted| mounted.unified);
                found.unified = unified.find_map(position);
                continue;
            }
            for controller in controllers.split(',') {
                let has_it = |mounted: &&Mounted| {
                    let mut options = mounted.options.split(',');
                    !mounted.unified && options.any(|option| option == controller)
                };
                let mut of_it = mounted.iter().filter(has_it);
                if let Some(position) = of_it.find_map(|mounted| position(mounted, path)) {
                    found.legacy.insert(controller.to_owned(), position);
                }
            }
        }
        found
    }
}

/// Where a cgroup is below a mount point; none if it is not below it, or cannot be told from within a namespace.
fn position(mounted: &Mounted, path: &str) -> Option<Position> {
    let path = Path::new(path);
    let climbs = |path: &Path| path.components().any(|part| part.as_os_str() == "..");
    if climbs(path) || climbs(&mounted.root) {
        return None;
    }
    Some(Position {
        mount: mounted.point.clone(),
        below: path.strip_prefix(&mounted.root).ok()?.to_owned(),
    })
}

/// `31 23 0:28 ROOT POINT rw,relatime shared:9 - cgroup2 cgroup2 rw`
fn mounted(line: &str) -> Option<Mounted> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let unified = match kind.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    Some(Mounted {
        root: plain(root),
        point: plain(point),
        unified,
        options: kind.nth(1).unwrap_or_default().to_owned(),
    })
}

/// A path without the escapes that the kernel writes for blanks and backslashes.
fn plain(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.get(..3).filter(|_| first == b'\\');
        let number = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(number.unwrap_or(first));
        rest = match number {
            Some(_) => &after[3..],
            None => after,
        };
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unified(cgroup: &str, mountinfo: &str) -> Option<String> {
        let found = Hierarchies::read(cgroup, mountinfo);
        found
            .unified
            .map(|position| position.folder().display().to_string())
    }

    #[test]
    fn the_unified_hierarchy_of_many_machines() {
        let systemd = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let cases = [
            (
                "a session of root",
                "0::/user.slice/user-0.slice/session-1.scope\n",
                systemd,
                Some("/sys/fs/cgroup/user.slice/user-0.slice/session-1.scope"),
            ),
            (
                "a scope of a user's own systemd",
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-7.scope\n",
                systemd,
                Some(
                    "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-7.scope",
                ),
            ),
            (
                "a container with a cgroup namespace",
                "0::/\n",
                "900 890 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
                Some("/sys/fs/cgroup"),
            ),
            (
                "a container without one, which sees its own part",
                "0::/docker/abc\n",
                "900 890 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
                Some("/sys/fs/cgroup"),
            ),
            (
                "a namespace in which nothing was mounted",
                "0::/\n",
                "30 23 0:26 /../../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
                None,
            ),
            (
                "a process outside of the namespace",
                "0::/../x\n",
                systemd,
                None,
            ),
            (
                "mounted twice, and a blank",
                "0::/a\n",
                "1 2 0:26 / /mnt/c\\040d rw - cgroup2 none rw\n30 23 0:26 / /sys/fs/cgroup rw shared:4 master:1 - cgroup2 none rw\n",
                Some("/sys/fs/cgroup/a"),
            ),
            (
                "at an unusual place",
                "0::/a\n",
                "1 2 0:26 / /mnt/c\\040d rw - cgroup2 none rw\n",
                Some("/mnt/c d/a"),
            ),
            (
                "not mounted",
                "0::/\n",
                "1 2 0:3 / /proc rw - proc proc rw\n",
                None,
            ),
        ];
        for (what, cgroup, mountinfo, expected) in cases {
            assert_eq!(unified(cgroup, mountinfo).as_deref(), expected, "{what}");
        }
    }

    #[test]
    fn hierarchies_of_version_one_are_found_by_controller() {
        let cgroup =
            "12:memory:/user.slice\n3:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n";
        let mountinfo = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let found = Hierarchies::read(cgroup, mountinfo);
        let folder = |name: &str| found.legacy[name].folder().display().to_string();
        assert_eq!(folder("memory"), "/sys/fs/cgroup/memory/user.slice");
        assert_eq!(folder("cpu"), "/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(folder("cpuacct"), "/sys/fs/cgroup/cpu,cpuacct");
        assert!(!found.legacy.contains_key("pids"));
        let own = found.unified.unwrap();
        assert_eq!(own.folder(), Path::new("/sys/fs/cgroup/unified/init.scope"));
    }
}
