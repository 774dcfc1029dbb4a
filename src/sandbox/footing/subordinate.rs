//! The ids that an administrator lent to a user: `/etc/subuid`, `/etc/subgid`, and the programs that hand them out.

use std::process::{Command, Output};

use rustix::process::Pid;

use super::Shortcoming;
use crate::fsio;
use crate::sys::identity::Extent;

/// As many extents as a map can have.
const MOST_EXTENTS: usize = 340;

/// The files, and the programs that obey them: users, then groups.
const KINDS: [Kind; 2] = [
    Kind {
        file: "/etc/subuid",
        program: "newuidmap",
    },
    Kind {
        file: "/etc/subgid",
        program: "newgidmap",
    },
];

#[derive(Clone, Copy, Debug)]
struct Kind {
    file: &'static str,
    program: &'static str,
}

/// What a user may map: an own id as root, and behind it those that were lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lent {
    uids: Vec<Extent>,
    gids: Vec<Extent>,
}

impl Lent {
    /// Looks it up.
    pub(super) fn to(uid: u32, gid: u32) -> Result<Self, Shortcoming> {
        let name = user_name(uid);
        let [uids, gids] = KINDS.map(|kind| {
            let text = fsio::read_to_string(kind.file).unwrap_or_default();
            let own = if kind.file == KINDS[0].file { uid } else { gid };
            let ranges = ranges_of(&text, name.as_deref(), uid);
            match map(own, &ranges) {
                map if map.len() < 2 => Err(Shortcoming::NoSubordinateIds { file: kind.file }),
                map => Ok(map),
            }
        });
        Ok(Self {
            uids: uids?,
            gids: gids?,
        })
    }

    /// Has a process's new namespace given these ids, by the programs that have the right to.
    pub(super) fn give_to(&self, process: Pid) -> Result<(), Shortcoming> {
        let [users, groups] = KINDS;
        let start = |kind: Kind, map: &[Extent]| {
            let mut command = Command::new(kind.program);
            command.arg(process.as_raw_nonzero().to_string());
            for extent in map {
                let numbers = [extent.inside, extent.outside, extent.count];
                command.args(numbers.map(|number| number.to_string()));
            }
            command
                .env("LC_ALL", "C")
                .stdin(std::process::Stdio::null());
            command.stdout(std::process::Stdio::piped());
            command.stderr(std::process::Stdio::piped());
            command.spawn().map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Shortcoming::NoHelper {
                    program: kind.program,
                },
                _ => refused(kind, error.to_string()),
            })
        };
        // Both at once: each reads a handful of files.
        let first = start(users, &self.uids)?;
        let second = start(groups, &self.gids);
        let first = first.wait_with_output();
        let second = second?.wait_with_output();
        for (kind, output) in [(users, first), (groups, second)] {
            let Output { status, stderr, .. } =
                output.map_err(|error| refused(kind, error.to_string()))?;
            if !status.success() {
                let said = String::from_utf8_lossy(&stderr);
                return Err(refused(kind, said.trim().to_owned()));
            }
        }
        Ok(())
    }
}

fn refused(kind: Kind, said: String) -> Shortcoming {
    Shortcoming::HelperRefused {
        program: kind.program,
        said,
    }
}

/// The name of a user: from the accounts of the machine, else from whoever knows more of them.
fn user_name(uid: u32) -> Option<String> {
    let accounts = fsio::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some(name) = name_in(&accounts, uid) {
        return Some(name.to_owned());
    }
    let output = Command::new("id").args(["-u", "-n"]).output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?;
    let name = name.trim();
    (output.status.success() && !name.is_empty()).then(|| name.to_owned())
}

fn name_in(accounts: &str, uid: u32) -> Option<&str> {
    let mut accounts = accounts.lines().map(|line| line.split(':'));
    accounts.find_map(|mut fields| {
        let name = fields.next()?;
        let found: u32 = fields.nth(1)?.parse().ok()?;
        (found == uid).then_some(name)
    })
}

/// The ranges of lines `OWNER:START:COUNT` whose owner is the user, by name or by number.
fn ranges_of(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let is_ours = Some(owner) == name || owner == number;
        let start = fields.next()?.parse::<u32>().ok()?;
        let count = fields.next()?.parse::<u32>().ok()?;
        (is_ours && count > 0 && start.checked_add(count).is_some()).then_some((start, count))
    };
    text.lines().filter_map(range).collect()
}

/// The own id as root, then the ranges one behind the other.
fn map(own: u32, ranges: &[(u32, u32)]) -> Vec<Extent> {
    let mut map = vec![Extent {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut inside = 1_u32;
    for &(outside, count) in ranges {
        let overlaps = |extent: &Extent| {
            let end = outside.saturating_add(count);
            outside < extent.outside.saturating_add(extent.count) && extent.outside < end
        };
        // The kernel refuses a map that has an id twice.
        if map.len() == MOST_EXTENTS || map.iter().any(overlaps) {
            continue;
        }
        let Some(next) = inside.checked_add(count) else {
            break;
        };
        map.push(Extent {
            inside,
            outside,
            count,
        });
        inside = next;
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text =
            "me:100000:65536\nyou:200000:65536\n1000:300000:10\n# me:1:1\nme:x:1\nme:5\nme:7:0\n";
        let found = ranges_of(text, Some("me"), 1000);
        assert_eq!(found, [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(ranges_of(text, None, 1000), [(300_000, 10)]);
        assert_eq!(ranges_of("me:4294967290:65536\n", Some("me"), 1), []);
    }

    #[test]
    fn a_map_has_no_gaps_and_nobody_twice() {
        let found = map(
            1000,
            &[(100_000, 65_536), (900, 200), (150_000, 5), (300_000, 10)],
        );
        let numbers: Vec<_> = found
            .iter()
            .map(|extent| (extent.inside, extent.outside, extent.count))
            .collect();
        assert_eq!(
            numbers,
            [(0, 1000, 1), (1, 100_000, 65_536), (65_537, 300_000, 10)]
        );
    }

    #[test]
    fn accounts() {
        let accounts = "root:x:0:0::/root:/bin/sh\nbad\nme:x:1000:100::/home/me:/bin/sh\n";
        assert_eq!(name_in(accounts, 1000), Some("me"));
        assert_eq!(name_in(accounts, 7), None);
    }
}
