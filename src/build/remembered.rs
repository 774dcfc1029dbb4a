//! What registries said before: used again while it is young enough, and whatever its age where no network is to be touched.
//!
//! A digest means the same for ever. A registry on this machine is asked each time: who has one pushes and builds in turns,
//! and there is no network to spare.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::ResolveError;
use super::resolve::{Found, Resolver};
use crate::oci::{BaseImage, Digest, Platform, Reference};
use crate::registry::{Fetched, RegistryError, Resolved};
use crate::store::{ResolvedRecord, Store, StoreError};

/// What is known of a reference.
struct Known {
    record: ResolvedRecord,
    image: BaseImage,
    /// Since the registry was asked; nothing where the clock was turned back since.
    age: Option<Duration>,
}

impl Resolver {
    /// The image of a reference: what the registry said before if that holds, else what it says now.
    pub(super) fn at_registry(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Found, ResolveError> {
        let known = self.known(reference, platform);
        match known {
            Some(known) if self.holds(reference, &known) => Ok(known.found(reference)),
            known => self.ask(reference, platform, known),
        }
    }

    fn holds(&self, reference: &Reference, known: &Known) -> bool {
        let young = || known.age.is_some_and(|age| age < self.tag_age);
        reference.digest().is_some()
            || self.client.is_offline()
            || (!self.pull && !reference.is_loopback() && young())
    }

    /// What the store has of an answer, if it has all of it.
    fn known(&self, reference: &Reference, platform: &Platform) -> Option<Known> {
        let store = self.store.as_ref()?;
        let record = store.resolved(&reference.to_string(), platform)?;
        let document = |descriptor: &crate::oci::Descriptor| {
            let bytes = store.read_blob(descriptor.digest)?;
            let descriptor = descriptor.clone();
            Some(Fetched { descriptor, bytes })
        };
        let (manifest, config) = (document(&record.manifest)?, document(&record.config)?);
        let image = self.client.image(reference, &manifest, &config).ok()?;
        let since = seconds(self.now()).checked_sub(record.asked);
        Some(Known {
            age: since
                .and_then(|s| u64::try_from(s).ok())
                .map(Duration::from_secs),
            record,
            image,
        })
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Asks the registry and remembers its answer. Where something is known, most answers are that nothing has changed,
    /// which takes one question and counts for no limit of pulls.
    fn ask(
        &self,
        reference: &Reference,
        platform: &Platform,
        known: Option<Known>,
    ) -> Result<Found, ResolveError> {
        let asked = seconds(self.now());
        if let Some(known) = &known {
            let root = self.client.digest_of(reference);
            if root.map_err(|error| out_of_date(error, known))? == known.record.root {
                let record = ResolvedRecord {
                    asked,
                    ..known.record.clone()
                };
                self.keep(|store| store.put_resolved(&record));
                return Ok(known.image.clone().into());
            }
        }
        let answer = self.client.resolve(reference, platform)?;
        let before = known.as_ref().map(|known| &known.record);
        let moved = before
            .map(|before| before.manifest.digest)
            .filter(|digest| *digest != answer.manifest.descriptor.digest);
        let previous = moved.or_else(|| before?.previous);
        let record = record(reference, platform, &answer, asked, previous);
        self.keep(|store| remember(store, &record, &answer));
        let now = answer.manifest.descriptor.digest;
        Ok(Found {
            image: answer.image,
            remark: moved.map(|then| format!("moved: {} → {}", short(then), short(now))),
        })
    }

    /// Best effort: what cannot be written is asked for again.
    fn keep(&self, write: impl FnOnce(&Store) -> Result<(), StoreError>) {
        if let Some(store) = &self.store {
            let _written = write(store);
        }
    }
}

impl Known {
    /// The image, and how old the answer is unless it is one for ever.
    fn found(self, reference: &Reference) -> Found {
        let digest = short(self.record.manifest.digest);
        let remark = reference
            .digest()
            .is_none()
            .then(|| format!("{digest} {}", asked(self.age)));
        Found {
            image: self.image,
            remark,
        }
    }
}

fn record(
    reference: &Reference,
    platform: &Platform,
    answer: &Resolved,
    asked: i64,
    previous: Option<Digest>,
) -> ResolvedRecord {
    ResolvedRecord {
        reference: reference.to_string(),
        platform: platform.clone(),
        root: answer.root.digest,
        manifest: answer.manifest.descriptor.clone(),
        config: answer.config.descriptor.clone(),
        asked,
        previous,
    }
}

fn remember(store: &Store, record: &ResolvedRecord, answer: &Resolved) -> Result<(), StoreError> {
    for document in [&answer.manifest, &answer.config] {
        store.put_blob(&document.descriptor.media_type, &document.bytes)?;
    }
    store.put_resolved(record)
}

/// A registry that does not answer, where it did before: the user may want to do with that.
fn out_of_date(source: RegistryError, known: &Known) -> ResolveError {
    match source.is_unanswered() {
        true => ResolveError::OutOfDate {
            source,
            known: format!(
                "{} {}",
                short(known.record.manifest.digest),
                asked(known.age)
            ),
        },
        false => source.into(),
    }
}

fn short(digest: Digest) -> String {
    format!("sha256:{}…", digest.short())
}

/// When somebody was asked.
fn asked(age: Option<Duration>) -> String {
    const UNITS: [(u64, &str); 3] = [(48 * 3600, "d"), (2 * 3600, "h"), (60, "min")];
    let Some(age) = age.map(|age| age.as_secs()) else {
        return "asked at a time that this machine's clock has not reached".to_owned();
    };
    let size = |unit: &str| match unit {
        "d" => 24 * 3600,
        "h" => 3600,
        _ => 60,
    };
    let unit = UNITS.iter().find(|(from, _)| age >= *from);
    match unit {
        Some((_, unit)) => format!("asked {} {unit} ago", age / size(unit)),
        None => format!("asked {age} s ago"),
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_in_words() {
        for (seconds, words) in [
            (0, "asked 0 s ago"),
            (59, "asked 59 s ago"),
            (60, "asked 1 min ago"),
            (7199, "asked 119 min ago"),
            (7200, "asked 2 h ago"),
            (172_800, "asked 2 d ago"),
        ] {
            assert_eq!(asked(Some(Duration::from_secs(seconds))), words);
        }
    }
}
