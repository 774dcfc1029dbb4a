//! The Dockerfiles of `testdata/rungs`: whoever runs their steps, and however, has to get the same layers.

use std::ffi::OsString;
use std::path::Path;

use builder::fsio;

use super::bases::{self, Base};
use super::env::repository;
use super::layout;

/// One Dockerfile, and what it starts from.
#[derive(Clone, Copy, Debug)]
pub struct RungCase {
    /// Its folder.
    pub name: &'static str,
    base: (&'static str, Base),
}

const fn case(name: &'static str, base: (&'static str, Base)) -> RungCase {
    RungCase { name, base }
}

const BUSYBOX: (&str, Base) = ("busybox", Base::Busybox);

/// All of them; the last one takes a base of 40 MB.
pub const RUNG_CASES: [RungCase; 7] = [
    case("owners", BUSYBOX),
    case("users", BUSYBOX),
    case("deletes", BUSYBOX),
    case("stages", BUSYBOX),
    case("caches", BUSYBOX),
    case("attributes", ("compiler", Base::Compiler)),
    case("package", ("debian", Base::Python)),
];

impl RungCase {
    /// Copies the case and its base into `folder`, which is not there yet, for whoever is to build it. All that builds of a case
    /// shall have in common are these files, with their times.
    #[track_caller]
    pub fn copy_to(&self, folder: &Path) {
        let copy = |from: &Path, to: &Path| {
            let status = std::process::Command::new("cp")
                .arg("-a")
                .arg(from)
                .arg(to)
                .status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "a copy of {}",
                from.display()
            );
        };
        fsio::create_dir_all(folder).expect("a folder for the case");
        copy(
            &repository("testdata/rungs").join(self.name),
            &folder.join("context"),
        );
        copy(
            &repository("testdata/rungs/settle"),
            &folder.join("context/settle"),
        );
        copy(&bases::layout(self.base.1), &folder.join("base"));
        fsio::write_atomic(&folder.join("token"), b"secret", fsio::Durability::Cached)
            .expect("a secret");
    }

    /// Flags and context of a build of the copy in `folder`, into the layout `output`.
    pub fn arguments(&self, folder: &Path, output: &Path) -> Vec<OsString> {
        let folder = folder.display();
        let words = [
            "--build-context".to_owned(),
            format!("{}=oci-layout://{folder}/base", self.base.0),
            // What the build makes itself has one time too.
            "--build-arg".to_owned(),
            "SOURCE_DATE_EPOCH=1704067200".to_owned(),
            "--secret".to_owned(),
            format!("id=token,src={folder}/token"),
            "-o".to_owned(),
            format!("type=oci,tar=false,dest={}", output.display()),
            format!("{folder}/context"),
        ];
        words.map(OsString::from).to_vec()
    }
}

/// The layers of the one image in a layout, bottom first: digests of their uncompressed tars.
#[track_caller]
pub fn layers_of(folder: &Path) -> Vec<String> {
    let image = layout::read(folder);
    image
        .layers
        .iter()
        .map(|layer| layer.diff_id.clone())
        .collect()
}
