//! Moves this process into a user namespace where it is root.
//!
//! A short-lived process makes the namespace, others give it its ids, and only when all that went well does this process join: what
//! fails on the way has changed nothing here, and less can be tried.

use rustix::io::Errno;

use super::obstacle::{Obstacle, Shortcoming};
use super::subordinate::Lent;
use super::{Footing, Rung};
use crate::sys::identity::{self, Holder, IdMaps};
use crate::sys::probe;
use crate::sys::process::SingleThreaded;

/// Enters the best user namespace that can be had.
pub(super) fn namespace(
    is_root: bool,
    shortcomings: &mut Vec<Shortcoming>,
) -> Result<Footing, Obstacle> {
    let evidence = SingleThreaded::so_far().map_err(|_threads| Obstacle::Threads)?;
    let no_namespace = |errno| {
        if is_root {
            Obstacle::MayNotMount
        } else {
            Obstacle::of_namespaces(errno)
        }
    };
    let holder = Holder::start(&evidence).map_err(no_namespace)?;
    let (holder, rung) = match many_ids(is_root, &holder) {
        Ok(()) => (holder, Rung::SubordinateIds),
        Err(shortcoming) => {
            shortcomings.push(shortcoming);
            // What was begun with this one cannot be taken back.
            drop(holder);
            let holder = Holder::start(&evidence).map_err(no_namespace)?;
            one_id(&holder).map_err(no_namespace)?;
            (holder, Rung::OneId)
        }
    };
    holder.join(&evidence).map_err(no_namespace)?;
    probe::may_mount_here().map_err(no_namespace)?;
    Ok(Footing::on(rung))
}

/// Gives a namespace all ids that may be given: those of this process if it is root, else those lent to its user.
fn many_ids(is_root: bool, holder: &Holder) -> Result<(), Shortcoming> {
    if is_root {
        let maps = IdMaps::of_this_process().map_err(Shortcoming::MapRefused)?;
        return maps
            .passed_on()
            .write_for(holder.process())
            .map_err(Shortcoming::MapRefused);
    }
    let lent = Lent::to(own_uid(), own_gid())?;
    lent.give_to(holder.process())
}

/// Gives a namespace the one user and the one group that this process is, which nobody has to allow.
fn one_id(holder: &Holder) -> Result<(), Errno> {
    identity::deny_groups(holder.process())?;
    IdMaps::only(own_uid(), own_gid()).write_for(holder.process())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn own_gid() -> u32 {
    rustix::process::getegid().as_raw()
}
