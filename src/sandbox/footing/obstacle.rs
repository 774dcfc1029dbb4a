//! Why no step can run here, or none on a better rung, each with what to do about it.

use rustix::io::Errno;

use crate::sys::probe::{self, Forbidden};

/// Why no step can run on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The kernel makes no user namespaces.
    #[error("a RUN needs root or user namespaces, and this kernel has none")]
    NoNamespaces,
    /// A setting of the machine.
    #[error("a RUN needs root or user namespaces, which {} here", forbidden(*.0))]
    Forbidden(Forbidden),
    /// As many are in use as may be.
    #[error("a RUN needs root or a user namespace, and the limit on those is reached")]
    LimitReached,
    /// Root in a container that may neither mount nor make user namespaces.
    #[error("a RUN needs the right to mount, which this container lacks")]
    MayNotMount,
    /// Old kernel.
    #[error("a RUN needs Linux 5.12 or newer")]
    OldKernel,
    /// `/proc` is missing.
    #[error("a RUN needs `/proc`, which does not tell who this process is")]
    NoProc,
    /// A second thread was there too early; a mistake of whoever called.
    #[error("a RUN without root needs a user namespace, and this process has threads already")]
    Threads,
}

fn forbidden(by: Forbidden) -> &'static str {
    match by {
        Forbidden::UsernsClone => "`kernel.unprivileged_userns_clone` forbids",
        Forbidden::AppArmor => "`kernel.apparmor_restrict_unprivileged_userns` forbids",
        Forbidden::MaxUserNamespaces => "`user.max_user_namespaces` forbids",
        Forbidden::Unknown => "something forbids",
    }
}

impl Obstacle {
    /// What an ordinary user could not get past when asking for a namespace.
    pub(super) fn of_namespaces(errno: Errno) -> Self {
        match (errno, probe::why_forbidden()) {
            (Errno::INVAL | Errno::NOSYS, _) => Self::NoNamespaces,
            (Errno::NOSPC | Errno::USERS, Forbidden::MaxUserNamespaces) => {
                Self::Forbidden(Forbidden::MaxUserNamespaces)
            }
            (Errno::NOSPC | Errno::USERS, _) => Self::LimitReached,
            (_, by) => Self::Forbidden(by),
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NoNamespaces => {
                "run the builder as root, or use a kernel with CONFIG_USER_NS; a Dockerfile without RUN needs neither"
            }
            Self::Forbidden(Forbidden::UsernsClone) => {
                "allow them with `sudo sysctl kernel.unprivileged_userns_clone=1`, or run the builder as root"
            }
            Self::Forbidden(Forbidden::AppArmor) => {
                "allow them with `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` or an AppArmor profile \
                 for the builder with `userns,`, or run it as root"
            }
            Self::Forbidden(Forbidden::MaxUserNamespaces) => {
                "allow them with `sudo sysctl user.max_user_namespaces=15000`, or run the builder as root"
            }
            Self::Forbidden(Forbidden::Unknown) => {
                "run the builder as root; inside a container, run that container with `--privileged` or with \
                 `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
            }
            Self::LimitReached => {
                "raise `user.max_user_namespaces` with sysctl, or end what holds them"
            }
            Self::MayNotMount => "run that container with `--privileged`",
            Self::OldKernel => {
                "update the kernel; a Dockerfile without RUN is built on older ones too"
            }
            Self::NoProc => "mount it: `mount -t proc proc /proc`",
            Self::Threads => "this is a mistake in builder: report it",
        }
    }
}

/// What keeps a process from a better rung.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortcoming {
    /// Nobody lent the user any ids.
    #[error("this user has no subordinate ids in `{file}`")]
    NoSubordinateIds {
        /// The file.
        file: &'static str,
    },
    /// The program that gives them to a namespace is missing.
    #[error("`{program}` is not installed")]
    NoHelper {
        /// The program.
        program: &'static str,
    },
    /// It was there and did not do it.
    #[error("`{program}` failed: {said}")]
    HelperRefused {
        /// The program.
        program: &'static str,
        /// Its words.
        said: String,
    },
    /// Root of a container may not give its ids to a namespace.
    #[error("this container may not pass its ids on: {0}")]
    MapRefused(Errno),
}

impl Shortcoming {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoSubordinateIds { .. } => {
                "`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \"$(id -un)\"`"
            }
            Self::NoHelper { .. } => {
                "install it: package `uidmap` (Debian, Ubuntu), `shadow-utils` (Fedora), `shadow` (Arch, Alpine: \
                 `shadow-subids`)"
            }
            Self::HelperRefused { .. } => {
                "see that it is set-user-id root (`ls -l`), that its file system is not mounted `nosuid`, and that no \
                 `no_new_privs` is in force"
            }
            Self::MapRefused(_) => {
                "run the container with the capabilities SETUID, SETGID and SETFCAP, as it is by default"
            }
        }
    }
}
