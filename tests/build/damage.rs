//! Damage in the store is a miss and nothing more: whatever is torn, cut, flipped or emptied, the next build makes the same image.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use builder::fsio;

use crate::support::bases::{self, Base};
use crate::support::progress::Progress;
use crate::support::{TestEnv, layout, require_capability};

const DOCKERFILE: &str = "\
FROM base AS made
RUN mkdir -p /made/deep && head -c 300000 /dev/zero | tr '\\0' a >/made/a && echo b >/made/deep/b \\
 && touch -d @0 /made/a /made/deep/b /made/deep /made
COPY --chmod=600 text.txt /made/
FROM base
COPY text.txt /
COPY --from=made /made /copied
RUN cat /copied/deep/b /text.txt >/both && touch -d @0 /both
WORKDIR /work
";

/// A build whose store has one object of each kind, or more.
struct Built {
    env: TestEnv,
    digest: String,
    builds: u32,
}

impl Built {
    fn new() -> Self {
        let env = TestEnv::new();
        env.write("context/Dockerfile", DOCKERFILE);
        env.write("context/text.txt", "text\n");
        let mut built = Self {
            env,
            digest: String::new(),
            builds: 0,
        };
        built.digest = built.build();
        assert_eq!(built.build(), built.digest);
        built
    }

    /// Builds, and gives the digest of the image in a layout that was checked.
    fn build(&mut self) -> String {
        self.builds += 1;
        let folder = self.env.path(format!("out-{}", self.builds));
        let output = format!("type=oci,dest={},tar=false", folder.display());
        let base = bases::build_context("base", Base::Busybox).into_iter();
        // Steps that run again must not differ by when they did: the rest is what the files were made of.
        let words = [
            "--build-arg",
            "SOURCE_DATE_EPOCH=0",
            "-t",
            "app",
            "-o",
            &output,
        ];
        let words = words.map(Into::into);
        let context = [self.env.path("context").into()];
        let outcome = self.env.build(base.chain(words).chain(context));
        outcome.succeeded();
        layout::read(&folder).digest
    }

    /// The files of the store, without locks and what only running processes need.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for kind in [
            "blobs", "layers", "steps", "aliases", "places", "images", "contexts",
        ] {
            walk(&self.env.root().join("v1").join(kind), &mut files);
        }
        files
    }

    fn fsck(&self) -> String {
        let none: [&str; 0] = [];
        self.env.builder("fsck", none).succeeded().stdout
    }
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) {
    let there = fsio::symlink_metadata(path).expect("a path of the store");
    if there.is_dir() {
        for name in fsio::read_dir_sorted(path).expect("a folder of the store") {
            walk(&path.join(name), files);
        }
    } else if there.is_file() && there.len() > 0 {
        files.push(path.to_owned());
    }
}

type Damage = fn(&Path, Vec<u8>);

/// Written in place, as a bad disk does it: an object that is replaced by a rename would be another.
const DAMAGES: [(&str, Damage); 4] = [
    ("emptied", |path, _| overwrite(path, &[])),
    ("cut", |path, bytes| {
        overwrite(path, &bytes[..bytes.len() / 2])
    }),
    ("flipped", |path, mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        overwrite(path, &bytes);
    }),
    ("gone", |path, _| {
        fsio::remove_file(path).expect("a file of the store")
    }),
];

fn overwrite(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mode = fsio::metadata(path).expect("its mode").permissions().mode();
    fsio::set_mode(path, 0o600).expect("a file of the store");
    let mut file = fsio::create(path).expect("a file of the store");
    file.write_all(bytes).expect("a file of the store");
    fsio::set_mode(path, mode & 0o7777).expect("a file of the store");
}

/// Each kind of file once, with what tells it from the others in its path.
fn kinds(files: &[PathBuf], root: &Path) -> Vec<PathBuf> {
    let mut seen = std::collections::BTreeSet::new();
    let kind = |path: &Path| -> String {
        let below = path
            .strip_prefix(root.join("v1"))
            .expect("a path of the store");
        let words: Vec<String> = below
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        match words[0].as_str() {
            "layers" => format!("layers/{}", words[2].split('-').next().unwrap_or_default()),
            "blobs" => format!(
                "blobs/{}",
                if fsio::metadata(path).is_ok_and(|m| m.len() > 1000) {
                    "layer"
                } else {
                    "config"
                }
            ),
            other => other.to_owned(),
        }
    };
    let mut files: Vec<PathBuf> = files.to_vec();
    files.retain(|path| seen.insert(kind(path)));
    files
}

#[test]
fn each_kind_of_object_in_each_way() {
    require_capability!(Root, Overlay, Base(Busybox));
    let mut built = Built::new();
    let root = built.env.root();
    let kinds = kinds(&built.files(), &root);
    assert!(kinds.len() >= 9, "{kinds:?}");
    for (name, damage) in DAMAGES {
        for path in &kinds {
            // What a damage before it cost has been made again, or its name is another now.
            let Ok(bytes) = fsio::read(path) else {
                continue;
            };
            damage(path, bytes);
            let context = format!("{} {name}", path.display());
            assert_eq!(built.build(), built.digest, "{context}");
            let found = built.fsck();
            assert!(!found.contains("left as"), "{context}: {found}");
        }
    }
}

#[test]
fn all_at_once_and_what_fsck_makes_of_it() {
    require_capability!(Root, Overlay, Base(Busybox));
    for (name, damage) in DAMAGES {
        let mut built = Built::new();
        assert!(built.fsck().contains("nothing is wrong"));
        for path in built.files() {
            let bytes = fsio::read(&path).expect("a file of the store");
            damage(&path, bytes);
        }
        if name != "gone" {
            let dry = built.env.builder("fsck", ["--dry-run"]);
            assert_eq!(dry.code, Some(1), "{name}: {}", dry.stdout);
            let found = built.fsck();
            assert!(found.contains("forgotten"), "{name}: {found}");
            let found = built.fsck();
            assert!(found.contains("nothing is wrong"), "{name}: {found}");
        }
        assert_eq!(built.build(), built.digest, "{name}");
        let found = built.fsck();
        assert!(found.contains("nothing is wrong"), "{name}: {found}");
    }
}

#[test]
fn without_fsck_too() {
    require_capability!(Root, Overlay, Base(Busybox));
    for (name, damage) in DAMAGES {
        let mut built = Built::new();
        for path in built.files() {
            let bytes = fsio::read(&path).expect("a file of the store");
            damage(&path, bytes);
        }
        assert_eq!(built.build(), built.digest, "{name}");
    }
}

/// What a step only touched is in no layer, and nowhere in the store either: nothing is there that a table does not name.
#[test]
fn what_a_step_touched_and_did_not_change_is_no_damage() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    env.write(
        "context/Dockerfile",
        "FROM base\nRUN mkdir -p /deep/er && touch -d @1000000000 /deep/er/file /deep/er /deep\n\
         RUN chmod 755 /bin /deep && : >>/etc/passwd && : >>/deep/er/file && echo x >/new\n\
         RUN stat -c %Y /deep /deep/er && ls /deep\n",
    );
    let arguments = || {
        let base = bases::build_context("base", Base::Busybox).into_iter();
        base.chain(["-t", "app", "context"].map(Into::into))
    };
    let built = env.build(arguments()).succeeded();
    let output = &Progress::read(&built.stderr)
        .step("stat -c")
        .output
        .join(" ");
    assert_eq!(output, "1000000000 1000000000 er");
    let none = [""; 0];
    let found = env.builder("fsck", none).succeeded().stdout;
    assert!(found.contains("nothing is wrong"), "{found}");
    let images = env.builder("images", none).succeeded().stdout;
    assert!(images.contains("app"), "{images}");
}
