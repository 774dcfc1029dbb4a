//! Several builders over one store: each shared step runs once, the images are the same, and a prune beside them hurts nobody.
//!
//! The suite does it for some seconds; `BUILDER_SOAK=600` for as many as that.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::process::{self, host_variable};
use crate::support::progress::Progress;
use crate::support::repeated::{Place, STEPS, VARIANTS, random};
use crate::support::require_capability;

/// Builders at a time.
const BUILDERS: u32 = 8;
/// Seconds where nobody says.
const SOAK: u64 = 8;

#[test]
fn eight_builds_of_the_same_run_each_step_once() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    let ran: Vec<String> = std::thread::scope(|scope| {
        let builders: Vec<_> = (0..BUILDERS)
            .map(|number| {
                let place = &place;
                scope.spawn(move || {
                    let mut command = place.command(&format!("out-{number}"), 0);
                    let outcome = process::run(&mut command).succeeded();
                    let progress = Progress::read(&outcome.stderr);
                    progress
                        .ran()
                        .into_iter()
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        builders
            .into_iter()
            .flat_map(|builder| builder.join().unwrap())
            .collect()
    });
    assert_eq!(ran.len(), STEPS, "{ran:?}");
    let digests: Vec<String> = (0..BUILDERS)
        .map(|number| place.read(&format!("out-{number}")))
        .collect();
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "{digests:?}"
    );
    place.has_nothing_wrong("after all");
}

#[test]
fn builds_and_prunes_beside_each_other() {
    require_capability!(Root, Overlay, Base(Busybox));
    let seconds = host_variable("BUILDER_SOAK");
    let seconds = seconds.and_then(|text| text.to_str()?.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SOAK));
    let place = Place::new();
    place.keep_old_image();
    let expected: Vec<String> = (0..VARIANTS)
        .map(|variant| place.digest(&format!("expected-{variant}"), variant))
        .collect();
    let over = AtomicBool::new(false);
    let [built, pruned] = [(); 2].map(|()| AtomicU32::new(0));
    std::thread::scope(|scope| {
        let builders: Vec<_> = (0..BUILDERS)
            .map(|number| {
                let (place, expected, built) = (&place, &expected, &built);
                scope.spawn(move || {
                    let mut state = u64::from(number) + 1;
                    let mut round = 0;
                    while Instant::now() < end {
                        let variant =
                            usize::try_from(random(&mut state) % VARIANTS as u64).unwrap();
                        let name = format!("out-{number}-{round}");
                        assert_eq!(place.digest(&name, variant), expected[variant]);
                        built.fetch_add(1, Ordering::Relaxed);
                        round += 1;
                    }
                })
            })
            .collect();
        let pruner = scope.spawn(|| {
            let mut state = 77;
            while !over.load(Ordering::Relaxed) {
                let max = format!("--max={}k", random(&mut state) % 4000);
                let words: &[&str] = match random(&mut state) % 3 {
                    0 => &[],
                    _ => &[&max],
                };
                place.env.builder("prune", words).succeeded();
                pruned.fetch_add(1, Ordering::Relaxed);
            }
        });
        let results: Vec<_> = builders
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        over.store(true, Ordering::Relaxed);
        pruner.join().unwrap();
        results.into_iter().for_each(Result::unwrap);
    });
    let [built, pruned] = [built, pruned].map(AtomicU32::into_inner);
    assert!(
        built >= BUILDERS && pruned > 0,
        "{built} builds, {pruned} prunes"
    );
    place.has_nothing_wrong("after all");
    place.old_image_is_whole("after all");
}
