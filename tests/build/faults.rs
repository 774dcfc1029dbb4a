//! Every kind of operation on every kind of file of the store fails once, in each way in which a disk fails: the build ends with a
//! clear error or without one, and the next one makes the same image.
//!
//! The suite has each point fail once, in one of the ways; `BUILDER_FAULTS=all` in every way.

use std::collections::BTreeMap;
use std::path::Path;

use builder::fsio;

use crate::support::process::{self, host_variable};
use crate::support::repeated::Place;
use crate::support::require_capability;

/// An operation and what of a path it is about.
type Point = (String, String);

/// The fault points of a build that finds nothing in the cache, and how often each is met.
fn points(place: &Place) -> BTreeMap<Point, u64> {
    let log = place.env.path("log");
    place.forget();
    process::run(place.command("logged", 0).env("BUILDER_FAULT_LOG", &log)).succeeded();
    place.read("logged");
    let store = place.env.root().join("v1").display().to_string();
    let text = fsio::read_to_string(&log).expect("a log");
    let mut points = BTreeMap::new();
    for line in text.lines() {
        let Some((operation, path)) = line.split_once(':') else {
            continue;
        };
        let place = match path.strip_prefix(&store) {
            Some(below) => kind(below),
            None if path == "blob" => path.to_owned(),
            None => continue,
        };
        *points.entry((operation.to_owned(), place)).or_default() += 1;
    }
    points
}

/// The folder of the store that a path is in: a part of the path that tells it from others.
fn kind(below: &str) -> String {
    let mut parts = Path::new(below).components().skip(1);
    let first = parts
        .next()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    format!("/v1/{}", first.unwrap_or_default())
}

#[test]
fn every_point_fails_in_every_way() {
    require_capability!(Root, Overlay, Base(Busybox));
    let place = Place::new();
    let expected = place.digest("expected", 0);
    let points = points(&place);
    place.forget();
    place.keep_old_image();
    assert!(points.len() > 25, "{points:?}");
    let all = host_variable("BUILDER_FAULTS").is_some();
    let mut failed = 0;
    let mut tried = 0;
    for (position, ((operation, part), times)) in points.iter().enumerate() {
        let errors: &[&str] = match operation.as_str() {
            "write" => &["ENOSPC", "EIO", "SHORT"],
            _ => &["ENOSPC", "EIO"],
        };
        for (index, error) in errors.iter().enumerate() {
            if !all && index != position % errors.len() {
                continue;
            }
            // The first time and, with another error, one in the middle.
            let number = if index == 0 { 1 } else { times / 2 + 1 };
            let fault = format!("{operation}:{part}:{number}:{error}");
            place.clear();
            let outcome = process::run(place.command("faulty", 0).env("BUILDER_FAULT", &fault));
            tried += 1;
            match outcome.code {
                Some(0) => assert_eq!(place.read("faulty"), expected, "{fault}"),
                Some(1 | 3) => {
                    failed += 1;
                    assert!(
                        outcome.stderr.contains("error: "),
                        "{fault}: {}",
                        outcome.stderr
                    );
                    fsio::remove_tree(place.env.path("faulty")).expect("what is left of an output");
                }
                _ => panic!("{fault}: {:?}\n{}", outcome.code, outcome.stderr),
            }
            assert_eq!(place.digest("next", 0), expected, "{fault}");
            place.is_sound(&fault);
            // Also when it is what fails while the image is written somewhere.
            let save = [
                "old",
                "-o",
                &format!("type=oci,dest={}", place.env.path("old.tar").display()),
            ];
            let mut save = place.env.command("save", save);
            let _failed = process::run(save.env("BUILDER_FAULT", &fault));
            place.old_image_is_whole(&fault);
        }
    }
    // Many are of no consequence; most are.
    assert!(failed * 4 > tried, "{failed} of {tried}");
}
