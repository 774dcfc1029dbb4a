//! The limits that each process of a step has if nobody said otherwise: those that show in what a step makes, or slow it down, do not
//! come from the shell that the builder was started in. The others are the builder's own.

use super::{LimitedResource, Ulimit};

/// Open files: in force, because some programs can not do with more; and at the most, because others walk through all of them.
const FILES: u64 = 1024;
const MOST_FILES: u64 = 524_288;

/// The limits that were asked for, and those of the rest; `own_files` is what the builder may have open at the most.
pub(super) fn with_defaults(asked: &[Ulimit], own_files: Option<u64>) -> Vec<Ulimit> {
    let most = own_files.map_or(MOST_FILES, |own| own.min(MOST_FILES));
    let files = Ulimit {
        resource: LimitedResource::OpenFiles,
        soft: Some(FILES.min(most)),
        hard: Some(most),
    };
    // The memory of a process, secrets included, belongs neither into the layer nor to whom the machine sends it.
    let core = Ulimit {
        resource: LimitedResource::Core,
        soft: Some(0),
        hard: Some(0),
    };
    let is_asked = |limit: &Ulimit| asked.iter().any(|asked| asked.resource == limit.resource);
    let defaults = [core, files].into_iter().filter(|limit| !is_asked(limit));
    defaults.chain(asked.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(resource: LimitedResource, soft: u64, hard: u64) -> Ulimit {
        Ulimit {
            resource,
            soft: Some(soft),
            hard: Some(hard),
        }
    }

    #[test]
    fn what_was_asked_for_counts_and_nobody_gets_more_than_the_builder_has() {
        let core = limit(LimitedResource::Core, 0, 0);
        let files = |soft, hard| limit(LimitedResource::OpenFiles, soft, hard);
        assert_eq!(with_defaults(&[], None), [core, files(1024, 524_288)]);
        assert_eq!(with_defaults(&[], Some(4096)), [core, files(1024, 4096)]);
        assert_eq!(with_defaults(&[], Some(500)), [core, files(500, 500)]);
        let asked = [files(9, 10), limit(LimitedResource::Nice, 1, 1)];
        assert_eq!(with_defaults(&asked, None), [core, asked[0], asked[1]]);
    }
}
