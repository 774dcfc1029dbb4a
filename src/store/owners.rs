//! Whose files a store has: directories of layers mean something only with the ids and the attributes they were made with.
//!
//! A store that root of the machine made has no mark. One that was made in a user namespace says how its ids map to those outside,
//! and whether there was one only. More ids may be added later; other ones would make everything belong to somebody else.

use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, record};
use crate::fsio::{self, Durability};
use crate::layer::Privileges;
use crate::sys::identity::{Extent, IdMaps};

/// With which ids and attributes the directories of a store were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owners {
    /// Whether all files belong to one user, and owners are in tables of contents only.
    one_id: bool,
    /// Inside, outside, count.
    uids: Vec<(u32, u32, u32)>,
    gids: Vec<(u32, u32, u32)>,
}

impl Owners {
    fn new(one_id: bool, maps: &IdMaps) -> Self {
        let numbers = |extents: &[Extent]| {
            let extents = extents.iter();
            extents
                .map(|extent| (extent.inside, extent.outside, extent.count))
                .collect()
        };
        Self {
            one_id,
            uids: numbers(&maps.uids),
            gids: numbers(&maps.gids),
        }
    }

    /// Whether files of these owners are what they should be for others: all ids of `self` are the same there.
    fn hold_for(&self, others: &Self) -> bool {
        let within = |these: &[(u32, u32, u32)], those: &[(u32, u32, u32)]| {
            these.iter().all(|(inside, outside, count)| {
                those.iter().any(|(first, first_outside, room)| {
                    let skipped = inside.checked_sub(*first);
                    let fits = skipped
                        .and_then(|skipped| skipped.checked_add(*count))
                        .is_some_and(|end| end <= *room);
                    fits && outside.checked_sub(*first_outside) == skipped
                })
            })
        };
        self.one_id == others.one_id
            && within(&self.uids, &others.uids)
            && within(&self.gids, &others.gids)
    }
}

impl Store {
    /// Makes sure that directories in this store are as this process would make them; marks a store that has none yet.
    ///
    /// # Errors
    /// [`StoreError::OtherOwners`] for a store of somebody else, and the disk.
    pub fn claim(&self, privileges: Privileges) -> Result<(), StoreError> {
        let path = self.paths.owners();
        let there: Option<Owners> = record::read(&path);
        let wanted = match privileges {
            Privileges::Full => None,
            _ => {
                let maps = IdMaps::of_this_process()
                    .map_err(|errno| fsio::Error::new("read", "/proc/self/uid_map", errno))?;
                Some(Owners::new(privileges == Privileges::OneId, &maps))
            }
        };
        let fits = match (&there, &wanted) {
            (None, None) => return Ok(()),
            (Some(there), Some(wanted)) if there == wanted => return Ok(()),
            (Some(there), Some(wanted)) => there.hold_for(wanted),
            // Without a mark it is root's, or has been made by this user, who could not make directories before there were marks.
            (None, Some(_)) => fsio::metadata(self.paths.layers())?.uid() == 0,
            (Some(_), None) => false,
        };
        if !fits && !self.is_bare()? {
            return Err(StoreError::OtherOwners {
                root: self.root.clone(),
                made: maker(there.as_ref()),
                here: maker(wanted.as_ref()),
            });
        }
        match wanted {
            Some(wanted) => record::write(&path, &wanted, Durability::Synced)?,
            None => fsio::remove_file_if_there(&path)?,
        }
        Ok(())
    }

    /// Whether there is nothing whose owner could be wrong.
    fn is_bare(&self) -> fsio::Result<bool> {
        let is_empty = |path| Ok(fsio::read_dir_sorted(path)?.is_empty());
        Ok(is_empty(self.paths.layers())? && is_empty(self.paths.mounts())?)
    }
}

fn maker(owners: Option<&Owners>) -> &'static str {
    match owners {
        None => "root of the machine",
        Some(Owners { one_id: true, .. }) => "a user with one id",
        Some(_) => "a user with subordinate ids",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(ranges: &[(u32, u32, u32)]) -> Owners {
        Owners {
            one_id: false,
            uids: ranges.to_vec(),
            gids: ranges.to_vec(),
        }
    }

    #[test]
    fn more_ids_do_no_harm_and_others_do() {
        let first = many(&[(0, 1000, 1), (1, 100_000, 65_536)]);
        let more = many(&[(0, 1000, 1), (1, 100_000, 65_536), (65_537, 300_000, 10)]);
        let longer = many(&[(0, 1000, 1), (1, 100_000, 100_000)]);
        let others = many(&[(0, 1000, 1), (1, 200_000, 65_536)]);
        assert!(first.hold_for(&first) && first.hold_for(&more) && first.hold_for(&longer));
        for other in [&others, &many(&[(0, 1000, 1)]), &many(&[(0, 999, 66_000)])] {
            assert!(!first.hold_for(other), "{other:?}");
        }
        assert!(!more.hold_for(&first));
        let one = Owners::new(true, &IdMaps::only(1000, 1000));
        assert!(
            !one.hold_for(&first),
            "owners of its files are in tables only"
        );
    }

    #[test]
    fn a_store_is_claimed_once_and_refused_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.claim(Privileges::UserNamespace).unwrap();
        store.claim(Privileges::UserNamespace).unwrap();
        // Nothing is in it yet.
        store.claim(Privileges::Full).unwrap();
        store.claim(Privileges::UserNamespace).unwrap();
        fsio::create_dir_all(store.paths.layers().join("some")).unwrap();
        store.claim(Privileges::UserNamespace).unwrap();
        for other in [Privileges::Full, Privileges::OneId] {
            let refused = store.claim(other).unwrap_err().to_string();
            assert!(
                refused.contains("was made by a user with subordinate ids"),
                "{refused}"
            );
        }
    }
}
