//! Folders from one store to another and back, and how little moves.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::cache::Defaults;
use crate::registry::{Client, Settings};
use crate::store::Store;

/// A machine: a store, and the means to use it.
struct Machine {
    dir: tempfile::TempDir,
    means: Means,
    _runtime: tokio::runtime::Runtime,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let means = Means {
            store: Arc::new(Store::open(&dir.path().join("store")).unwrap()),
            client: Client::new(Settings::default(), runtime.handle().clone()),
            clock: || std::time::SystemTime::UNIX_EPOCH,
        };
        Self {
            dir,
            means,
            _runtime: runtime,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn save(&self, spec: &MountsSpec, folder: &Path) -> String {
        let folders = BTreeMap::from([("gocache".to_owned(), folder.to_owned())]);
        let moved = save(&self.means, spec, &folders, privileges()).unwrap();
        assert_eq!(moved.warnings, [""; 0]);
        moved.lines.join("\n")
    }

    fn restore(&self, spec: &MountsSpec, folder: &Path) -> Restored {
        Mounts::new(self.means.clone(), std::slice::from_ref(spec), privileges())
            .restore("gocache", folder)
    }
}

fn privileges() -> Privileges {
    match rustix::process::geteuid().is_root() {
        true => Privileges::Full,
        false => Privileges::OneId,
    }
}

fn spec(place: &Path, more: &str) -> MountsSpec {
    let text = format!("type=local,dest={}{more}", place.display());
    MountsSpec::parse(&text, &Defaults::default()).unwrap()
}

/// All that can be told of a tree, a line a path.
fn describe(root: &Path) -> String {
    let mut lines = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let stat = entry.metadata().unwrap();
        let content = match stat.file_type() {
            kind if kind.is_file() => Digest::of(std::fs::read(entry.path()).unwrap()).short(),
            kind if kind.is_symlink() => format!("{:?}", std::fs::read_link(entry.path()).unwrap()),
            _ => String::new(),
        };
        lines.push(format!(
            "{:?} {:o} {}:{} {}.{} links {} {content}",
            entry.path().strip_prefix(root).unwrap(),
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.nlink(),
        ));
    }
    lines.join("\n")
}

/// Bytes that no compression makes smaller.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[test]
fn a_folder_is_the_same_elsewhere() {
    let (here, there) = (Machine::new(), Machine::new());
    let folder = here.path("folder");
    for directory in ["deep/er/still", "empty", "closed"] {
        std::fs::create_dir_all(folder.join(directory)).unwrap();
    }
    std::fs::write(folder.join("deep/er/file"), noise(1, 500_000)).unwrap();
    std::fs::write(folder.join("empty-file"), "").unwrap();
    std::fs::hard_link(folder.join("deep/er/file"), folder.join("z-link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("outside")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("deep/dangling")).unwrap();
    std::fs::write(folder.join(OsStr::from_bytes(b"odd \xff\n'\"name")), "odd").unwrap();
    let sparse = std::fs::File::create(folder.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    drop(sparse);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let xattr = rustix::fs::setxattr(folder.join("empty-file"), "user.colour", b"red", flags);
    if privileges() == Privileges::Full {
        std::os::unix::fs::lchown(folder.join("deep/dangling"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::chown(folder.join("empty-file"), Some(56), Some(78)).unwrap();
    }
    for (name, mode) in [("closed", 0o700), ("deep/er/file", 0o4755), ("", 0o1777)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.join(name), mode).unwrap();
    }
    let place = spec(&here.path("place"), "");
    let line = here.save(&place, &folder);
    assert!(line.starts_with("gocache: 67 MB, 50"), "{line}");

    let copy = there.path("copy");
    let restored = there.restore(&place, &copy);
    assert!(
        restored
            .line
            .as_ref()
            .is_some_and(|l| l.contains("fetched")),
        "{restored:?}"
    );
    assert_eq!(describe(&copy), describe(&folder));
    let blocks = |name: &str| std::fs::metadata(copy.join(name)).unwrap().blocks();
    assert!(blocks("sparse") < 1000, "{} blocks", blocks("sparse"));
    if xattr.is_ok() {
        let mut value = [0; 3];
        rustix::fs::getxattr(copy.join("empty-file"), "user.colour", &mut value).unwrap();
        assert_eq!(&value, b"red");
    }
    // The copy is the original: nothing of it has to be sent, or even read.
    assert!(there.save(&place, &copy).ends_with(" 0 B sent"));
    // Read it is, once something else has changed.
    std::fs::write(copy.join("more"), "more").unwrap();
    assert!(!there.save(&place, &copy).ends_with(" 0 B sent"));
    std::fs::write(folder.join("more"), "more").unwrap();
    assert!(!here.save(&place, &folder).ends_with(" 0 B sent"));
    // What is there is not written over, and each folder is filled once at most.
    let mounts = Mounts::new(there.means.clone(), &[place], privileges());
    assert!(mounts.restore("gocache", &there.path("a")).line.is_some());
    assert!(mounts.restore("gocache", &there.path("b")).line.is_none());
    assert_eq!(
        mounts.restore("other", &there.path("c")),
        Restored::default()
    );
}

#[test]
fn a_small_change_moves_little() {
    let machine = Machine::new();
    let folder = machine.path("folder");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..200 {
        let bytes = noise(number + 1, 20_000 + usize::try_from(number).unwrap() * 300);
        std::fs::write(folder.join(format!("{number:03}")), bytes).unwrap();
    }
    let place = spec(&machine.path("place"), "");
    let total = machine.save(&place, &folder);
    assert!(total.starts_with("gocache: 9.9 MB, 9.9 MB sent"), "{total}");
    // One file changes, one goes, one comes.
    std::fs::write(folder.join("100"), noise(1000, 50_000)).unwrap();
    std::fs::remove_file(folder.join("020")).unwrap();
    std::fs::write(folder.join("0205"), noise(1001, 40_000)).unwrap();
    let line = machine.save(&place, &folder);
    let sent = line.strip_prefix("gocache: 9.9 MB, ").unwrap();
    let sent: u64 = sent.strip_suffix(" kB sent").unwrap().parse().unwrap();
    assert!(sent < 900, "{line}");
    let copy = machine.path("copy");
    machine.restore(&place, &copy);
    assert_eq!(describe(&copy), describe(&folder));
}

#[test]
fn many_saves_do_not_make_many_packs() {
    let machine = Machine::new();
    let folder = machine.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let place = spec(&machine.path("place"), "");
    let mut most = 0;
    for round in 0..30 {
        std::fs::write(
            folder.join(format!("{round:03}")),
            noise(round + 1, 100_000),
        )
        .unwrap();
        machine.save(&place, &folder);
        let backend = backend::open(&place.place, &machine.means).unwrap();
        let saved = saved_at(&backend, &machine.means).unwrap();
        most = most.max(saved["gocache"].packs.len());
    }
    assert!(most <= 12, "{most} packs");
    let copy = machine.path("copy");
    machine.restore(&place, &copy);
    assert_eq!(describe(&copy), describe(&folder));
}

#[test]
fn above_the_limit_what_is_large_and_old_stays_behind() {
    let machine = Machine::new();
    let folder = machine.path("folder");
    std::fs::create_dir(&folder).unwrap();
    for (name, age, size) in [
        ("old", 1_000, 40_000),
        ("new", 0, 40_000),
        ("small", 1_000, 100),
    ] {
        std::fs::write(folder.join(name), noise(age + 1, size)).unwrap();
        let file = std::fs::File::options()
            .write(true)
            .open(folder.join(name))
            .unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(2_000 - age);
        file.set_modified(time).unwrap();
    }
    let dir = std::fs::File::open(&folder).unwrap();
    dir.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(2_000))
        .unwrap();
    std::fs::hard_link(folder.join("old"), folder.join("old-link")).unwrap();
    let place = spec(&machine.path("place"), ",max=64k");
    let line = machine.save(&place, &folder);
    assert!(
        line.contains("1 files (40 kB) left out above the limit"),
        "{line}"
    );
    let copy = machine.path("copy");
    machine.restore(&place, &copy);
    assert_eq!(fsio::read_dir_sorted(&copy).unwrap(), ["new", "small"]);
}

#[test]
fn damage_is_a_warning_and_leaves_nothing() {
    let machine = Machine::new();
    let folder = machine.path("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), noise(1, 300_000)).unwrap();
    let place = spec(&machine.path("place"), "");
    machine.save(&place, &folder);
    let blobs = machine.path("place/blobs/sha256");
    for name in fsio::read_dir_sorted(&blobs).unwrap() {
        let path = blobs.join(&name);
        let good = std::fs::read(&path).unwrap();
        for bad in [&good[..good.len() / 2], &vec![7; good.len()], b""] {
            // Another machine, whose store has nothing of it.
            let other = Machine::new();
            std::fs::write(&path, bad).unwrap();
            let copy = other.path("copy");
            let restored = other.restore(&place, &copy);
            assert!(
                restored.line.is_none() && restored.warnings.len() == 1,
                "{restored:?}"
            );
            assert!(!copy.exists());
        }
        std::fs::write(&path, good).unwrap();
    }
    // A save that meets with a place that lost something sends all of it.
    for name in fsio::read_dir_sorted(&blobs).unwrap() {
        std::fs::remove_file(blobs.join(name)).unwrap();
    }
    std::fs::remove_file(machine.path("place/index.json")).unwrap();
    machine.save(&place, &folder);
    let copy = machine.path("copy");
    assert!(machine.restore(&place, &copy).warnings.is_empty());
    assert_eq!(describe(&copy), describe(&folder));
}

#[test]
fn a_place_that_lost_a_part_gets_everything_again() {
    let machine = Machine::new();
    let (one, two) = (machine.path("one"), machine.path("two"));
    for folder in [&one, &two] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(
            folder.join("file"),
            noise(folder.as_os_str().len() as u64, 300_000),
        )
        .unwrap();
    }
    let place = spec(&machine.path("place"), "");
    let folders = BTreeMap::from([("one".to_owned(), one), ("two".to_owned(), two)]);
    save(&machine.means, &place, &folders, privileges()).unwrap();
    let backend = backend::open(&place.place, &machine.means).unwrap();
    let saved = saved_at(&backend, &machine.means).unwrap();
    let pack = saved["two"].packs[0].digest;
    std::fs::remove_file(machine.path("place/blobs/sha256").join(pack.hex())).unwrap();
    save(&machine.means, &place, &folders, privileges()).unwrap();
    let mounts = Mounts::new(machine.means.clone(), &[place], privileges());
    assert!(mounts.restore("two", &machine.path("copy")).line.is_some());
}

#[test]
fn files_that_change_while_they_are_read_are_whole_or_left_out() {
    let machine = Machine::new();
    let folder = machine.path("folder");
    std::fs::create_dir(&folder).unwrap();
    // Every file has one byte, over and over: a torn one would have two.
    let write = |number: usize, byte: u8| {
        let path = folder.join(format!("{number:02}"));
        let _written = std::fs::write(path, vec![byte; 200_000 + usize::from(byte)]);
    };
    (0..20).for_each(|number| write(number, 1));
    std::fs::write(folder.join("zz-still"), noise(3, 100_000)).unwrap();
    let place = spec(&machine.path("place"), "");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 1_u8;
            while !stop.load(Ordering::Relaxed) {
                round = round.wrapping_add(1).max(1);
                (0..20).for_each(|number| write(number, round));
                let name = folder.join(format!("new-{round}"));
                let _made = std::fs::create_dir(&name);
                let _gone = std::fs::remove_dir(&name);
            }
        });
        for round in 0..10 {
            machine.save(&place, &folder);
            let copy = machine.path(&format!("copy-{round}"));
            let restored = machine.restore(&place, &copy);
            assert!(restored.line.is_some(), "{restored:?}");
            assert!(copy.join("zz-still").exists());
            for name in fsio::read_dir_sorted(&copy).unwrap() {
                let path = copy.join(&name);
                if name == "zz-still" || path.is_dir() {
                    continue;
                }
                let bytes = std::fs::read(&path).unwrap();
                let first = bytes.first().copied().unwrap_or(0);
                assert!(bytes.iter().all(|byte| *byte == first), "{name:?} is torn");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
