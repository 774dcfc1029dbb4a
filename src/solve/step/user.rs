//! Names of users and groups to numbers, looked up in an image's `/etc/passwd` and `/etc/group`.

use std::io::Read as _;

use super::super::error::{LayerError, StepError};
use super::super::layers::Layers;
use super::super::state::State;
use crate::layer::Stack;
use crate::sandbox::User;

/// The most that is read of `/etc/passwd` and `/etc/group`.
const DATABASE_LIMIT: u64 = 10 << 20;

/// A name that is not there, or an id that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
    /// A number that no id has.
    #[error("invalid user or group id `{0}`, expected 0 to 4294967294")]
    Id(String),
}

/// The users and groups of a state, read when a name has to be looked up.
pub(super) struct Accounts<'a> {
    layers: &'a Layers<'a>,
    state: &'a State,
}

struct Account<'t> {
    name: &'t str,
    uid: u32,
    gid: u32,
    home: &'t str,
}

impl<'a> Accounts<'a> {
    pub(super) fn of(layers: &'a Layers<'a>, state: &'a State) -> Self {
        Self { layers, state }
    }

    /// A file of the state as text; empty where it is not there. Links are followed inside the state.
    fn database(&self, path: &str) -> Result<String, StepError> {
        let stack: Stack = self.layers.stack(self.state)?;
        let Ok(resolved) = stack.resolve(path, true) else {
            return Ok(String::new());
        };
        let Some(found) = resolved.found.and_then(|found| stack.content_of(found)) else {
            return Ok(String::new());
        };
        if !matches!(found.entry.kind, crate::layer::EntryKind::File { .. }) {
            return Ok(String::new());
        }
        let layers = self.state.layers();
        let layer = &layers[found.layer];
        let content = self.layers.content(layer)?;
        let broken = |source| LayerError::Format {
            diff_id: layer.diff_id,
            source,
        };
        let mut bytes = Vec::new();
        let mut reader = content
            .open(found.entry)
            .map_err(broken)?
            .take(DATABASE_LIMIT);
        reader
            .read_to_end(&mut bytes)
            .map_err(|source| crate::fsio::Error::new("read", path, source))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Who runs a command for `USER spec`, and that user's home.
    pub(super) fn runner(&self, spec: &str) -> Result<(User, String), StepError> {
        let (user, group) = split(spec);
        let passwd = self.database("/etc/passwd")?;
        let account = match number(user)? {
            Some(uid) => accounts(&passwd).find(|account| account.uid == uid),
            None => {
                let found = accounts(&passwd).find(|account| account.name == user);
                // Root is root even in an image without accounts.
                if found.is_none() && user != "root" {
                    return Err(UserError::User(user.to_owned()).into());
                }
                found
            }
        };
        let uid = match number(user)? {
            Some(uid) => uid,
            None => account.as_ref().map_or(0, |account| account.uid),
        };
        let home = account.as_ref().map_or("/", |account| account.home);
        let home = if home.is_empty() { "/" } else { home }.to_owned();
        if let Some(group) = group {
            let gid = self.group(group)?;
            return Ok((
                User {
                    uid,
                    gid,
                    groups: vec![gid],
                },
                home,
            ));
        }
        let gid = account.as_ref().map_or(0, |account| account.gid);
        let mut groups = vec![gid];
        if let Some(account) = &account {
            let database = self.database("/etc/group")?;
            for (_, id, members) in groups_of(&database) {
                if members.split(',').any(|member| member == account.name) && !groups.contains(&id)
                {
                    groups.push(id);
                }
            }
        }
        Ok((User { uid, gid, groups }, home))
    }

    /// The owner that `--chown spec` gives, and that a folder made by WORKDIR has. A number alone is also the group.
    pub(super) fn owner(&self, spec: &str) -> Result<(u32, u32), StepError> {
        let (user, group) = split(spec);
        let (uid, primary) = match number(user)? {
            Some(uid) => (uid, uid),
            None => {
                let passwd = self.database("/etc/passwd")?;
                let found = accounts(&passwd)
                    .find(|account| account.name == user)
                    .map(|a| (a.uid, a.gid));
                match found {
                    Some(ids) => ids,
                    None if user == "root" => (0, 0),
                    None => return Err(UserError::User(user.to_owned()).into()),
                }
            }
        };
        let gid = match group {
            Some(group) => self.group(group)?,
            None => primary,
        };
        Ok((uid, gid))
    }

    fn group(&self, group: &str) -> Result<u32, StepError> {
        if let Some(gid) = number(group)? {
            return Ok(gid);
        }
        let database = self.database("/etc/group")?;
        let found = groups_of(&database)
            .find(|(name, ..)| *name == group)
            .map(|(_, gid, _)| gid);
        match found {
            Some(gid) => Ok(gid),
            None if group == "root" => Ok(0),
            None => Err(UserError::Group(group.to_owned()).into()),
        }
    }
}

fn split(spec: &str) -> (&str, Option<&str>) {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    (if user.is_empty() { "root" } else { user }, group)
}

fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    // The last number means "no id" to the kernel.
    let id = text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
    id.map(Some).ok_or_else(|| UserError::Id(text.to_owned()))
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        Some(Account {
            name: fields.first()?,
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
            home: fields.get(5).unwrap_or(&""),
        })
    })
}

fn groups_of(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((
            *fields.first()?,
            fields.get(2)?.parse().ok()?,
            fields.get(3).copied().unwrap_or(""),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_with_odd_lines() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad\n:::\nu:x:5:6::/home/u:\n";
        let found: Vec<_> = accounts(passwd)
            .map(|a| (a.name, a.uid, a.gid, a.home))
            .collect();
        assert_eq!(found, [("root", 0, 0, "/root"), ("u", 5, 6, "/home/u")]);
        let groups: Vec<_> = groups_of("wheel:x:10:a,b\nx\nempty:x:11:\n").collect();
        assert_eq!(groups, [("wheel", 10, "a,b"), ("empty", 11, "")]);
    }

    #[test]
    fn specs() {
        assert_eq!(split("a:b"), ("a", Some("b")));
        assert_eq!(split(""), ("root", None));
        assert_eq!(split("7:"), ("7", None));
        assert_eq!(number("12"), Ok(Some(12)));
        assert_eq!(number("x1"), Ok(None));
        assert!(number("4294967295").is_err());
    }
}
