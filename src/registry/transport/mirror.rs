//! The places where the content of a repository may be: its mirrors and the registry itself. What is said of a mirror that fails.

use std::sync::{Arc, PoisonError};

use super::error::Failure;
use super::{Endpoint, Transport};
use crate::registry::Patience;

/// Where a repository is looked for.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Place {
    pub(in crate::registry) endpoint: Arc<Endpoint>,
    /// The repository's name there.
    pub(in crate::registry) repository: String,
    pub(in crate::registry) patience: Patience,
    /// The registry that it is a mirror of, unless it is the registry itself.
    pub(in crate::registry) mirror_of: Option<String>,
}

impl Transport {
    /// Takes notice of a failure. A mirror that is in trouble is not asked again, or every blob would wait for it, and
    /// that is said once; one that only does not have something is in no trouble. One that refuses may have other things
    /// for us: many say no to what they do not know.
    pub(in crate::registry) fn failed_at(&self, place: &Place, failure: &Failure) {
        let Some(registry) = &place.mirror_of else {
            return;
        };
        match failure {
            Failure::NotFound { .. } | Failure::Stopped | Failure::Offline => return,
            Failure::Denied { .. } => {}
            _ => place.endpoint.give_up(),
        }
        if place.endpoint.is_first_trouble() {
            let remark = format!(
                "the mirror `{}` of `{registry}` is not used: {failure}",
                place.endpoint.name()
            );
            let remarks = self.remarks.lock();
            remarks.unwrap_or_else(PoisonError::into_inner).push(remark);
        }
    }

    /// What is to be said of mirrors and has not been said.
    pub(in crate::registry) fn take_remarks(&self) -> Vec<String> {
        let remarks = self.remarks.lock();
        std::mem::take(&mut *remarks.unwrap_or_else(PoisonError::into_inner))
    }
}
