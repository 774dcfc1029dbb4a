//! Builds that are killed at any moment: the next one makes the same image, and the store has nothing wrong that `fsck` does not mend.
//!
//! The suite kills a few; `BUILDER_KILLS=200` kills as many as that.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::process::host_variable;
use crate::support::repeated::{Place, random};
use crate::support::require_capability;

/// As many are killed where nobody says.
const KILLS: u64 = 12;

#[test]
fn kill_at_any_moment() {
    require_capability!(Root, Overlay, Base(Busybox));
    let kills = host_variable("BUILDER_KILLS");
    let kills = kills.and_then(|text| text.to_str()?.parse().ok());
    let kills: u64 = kills.unwrap_or(KILLS);
    let place = Place::new();
    place.keep_old_image();
    let expected = place.digest("reference", 0);
    // As long as a build takes that has nothing to find.
    place.clear();
    let started = Instant::now();
    assert_eq!(place.digest("measured", 0), expected);
    let whole = started.elapsed();
    let mut state = 0x5eed;
    let mut early = 0;
    for number in 0..kills {
        // A third of them begin with nothing, the others with what the killed ones have left.
        if number % 3 == 0 {
            place.clear();
        }
        let part = random(&mut state) % 1000;
        let moment = whole.mul_f64(f64::from(u32::try_from(part).unwrap()) / 1000.0);
        let name = format!("killed-{number}");
        let mut command = place.command(&name, 0);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(moment.max(Duration::from_millis(1)));
        early += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if number % 2 == 0 {
            place.is_sound(&format!("after {moment:?}"));
        }
        assert_eq!(
            place.digest(&format!("next-{number}"), 0),
            expected,
            "killed after {moment:?}"
        );
        place.is_sound(&format!("after {moment:?} and the next build"));
        place.old_image_is_whole(&format!("after {moment:?}"));
    }
    assert!(early > 0, "every build had ended when it was to be killed");
}
