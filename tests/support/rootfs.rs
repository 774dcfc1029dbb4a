//! The root file system that an image's layers make, applied in memory, and what it has beyond its base, as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;

use tar::{Entry, EntryType};

use super::layout::{Image, digest};

/// Contents up to this size are kept, to be shown.
const SHOWN: u64 = 100;
/// What names a deleted entry and a directory whose lower entries are hidden.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// One path. Times are left out: they depend on when the build ran.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    kind: Kind,
    mode: u32,
    owner: (u64, u64),
    /// Extended attributes, as the archive names them.
    attributes: BTreeMap<String, Vec<u8>>,
    /// The same number for all names of one file.
    file: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    File(Content),
    Symlink(String),
    Fifo,
    /// `c` or `b`, major and minor number.
    Device(char, u32, u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Bytes { digest: String, size: u64 },
}

/// The paths of a root file system, `/` between components and none at either end.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    nodes: BTreeMap<String, Node>,
    files: usize,
}

impl Rootfs {
    /// Applies the layers of an image.
    #[track_caller]
    pub fn of(image: &Image) -> Self {
        let mut rootfs = Self::default();
        for layer in &image.layers {
            rootfs.apply(layer.open());
        }
        rootfs
    }

    /// All paths.
    pub fn paths(&self) -> Vec<&str> {
        self.nodes.keys().map(String::as_str).collect()
    }

    #[track_caller]
    fn apply(&mut self, layer: impl Read) {
        let mut archive = tar::Archive::new(layer);
        let mut upper: Vec<String> = Vec::new();
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("an entry of a layer");
            let path = entry.path_bytes();
            let path = std::str::from_utf8(&path).expect("a UTF-8 name");
            let path = path
                .strip_prefix("./")
                .unwrap_or(path)
                .trim_end_matches('/')
                .to_owned();
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == OPAQUE {
                self.remove_beneath(parent, &upper);
            } else if let Some(deleted) = name.strip_prefix(WHITEOUT) {
                let deleted = join(parent, deleted);
                self.nodes.remove(&deleted);
                self.remove_beneath(&deleted, &upper);
            } else {
                let node = self.node(&mut entry);
                let is_directory = node.kind == Kind::Directory;
                let old = self.nodes.insert(path.clone(), node);
                if !is_directory && old.is_some_and(|old| old.kind == Kind::Directory) {
                    self.remove_beneath(&path, &[]);
                }
                upper.push(path);
            }
        }
    }

    /// Removes what lies beneath a path, but for what is named in `kept`.
    fn remove_beneath(&mut self, path: &str, kept: &[String]) {
        let beneath = |other: &str| {
            path.is_empty()
                || other
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        self.nodes
            .retain(|other, _| !beneath(other) || kept.contains(other));
    }

    #[track_caller]
    fn node(&mut self, entry: &mut Entry<'_, impl Read>) -> Node {
        let target = entry.link_name_bytes();
        let target = target.map(|t| String::from_utf8_lossy(&t).into_owned());
        let target = target.unwrap_or_default();
        let header = entry.header().clone();
        if header.entry_type() == EntryType::Link {
            let target = target.strip_prefix("./").unwrap_or(&target);
            return match self.nodes.get(target) {
                Some(node) => node.clone(),
                None => panic!("a hard link to `{target}`, which is not there"),
            };
        }
        let device = |letter| {
            let number = |part: std::io::Result<Option<u32>>| part.ok().flatten().unwrap_or(0);
            let (major, minor) = (header.device_major(), header.device_minor());
            Kind::Device(letter, number(major), number(minor))
        };
        let kind = match header.entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(target),
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => device('c'),
            EntryType::Block => device('b'),
            EntryType::Regular => Kind::File(content(entry)),
            other => panic!("a layer with an entry of type {other:?}"),
        };
        self.files += 1;
        Node {
            kind,
            mode: header.mode().expect("a mode"),
            owner: (header.uid().expect("a uid"), header.gid().expect("a gid")),
            attributes: attributes(entry),
            file: self.files,
        }
    }

    /// What differs from `base`, one line a path: `+` is new, `~` is changed, `-` is gone.
    pub fn beyond(&self, base: &Self) -> String {
        let mut lines = String::new();
        let mut seen = BTreeMap::new();
        let same = |path: &str| {
            let (old, new) = (base.nodes.get(path), self.nodes.get(path));
            old.zip(new)
                .is_some_and(|(old, new)| old.describe() == new.describe())
        };
        let mut paths: Vec<_> = self.nodes.keys().chain(base.nodes.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            let Some(node) = self.nodes.get(path) else {
                let _infallible = writeln!(lines, "- /{path}");
                continue;
            };
            let first = *seen.entry(node.file).or_insert(path);
            if same(path) {
                continue;
            }
            let sign = if base.nodes.contains_key(path) {
                '~'
            } else {
                '+'
            };
            let description = if first == path {
                node.describe()
            } else {
                format!("the same file as /{first}")
            };
            let _infallible = writeln!(lines, "{sign} /{path}  {description}");
        }
        lines
    }
}

impl Node {
    fn describe(&self) -> String {
        let kind = match &self.kind {
            Kind::Directory => "dir".to_owned(),
            Kind::File(Content::Text(text)) => format!("file {text:?}"),
            Kind::File(Content::Bytes { digest, size }) => format!("file {size} bytes {digest}"),
            Kind::Symlink(target) => format!("link to {target}"),
            Kind::Fifo => "fifo".to_owned(),
            Kind::Device(letter, major, minor) => format!("device {letter} {major}:{minor}"),
        };
        let (uid, gid) = self.owner;
        let mut text = format!("{:04o} {uid}:{gid} {kind}", self.mode & 0o7777);
        for (name, value) in &self.attributes {
            let _infallible = write!(text, " {name}={}", value.escape_ascii());
        }
        text
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}

#[track_caller]
fn content(entry: &mut Entry<'_, impl Read>) -> Content {
    if entry.size() <= SHOWN {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("a file's content");
        if let Ok(text) = String::from_utf8(bytes.clone()) {
            return Content::Text(text);
        }
        let (digest, size) = digest(&bytes[..]);
        return Content::Bytes { digest, size };
    }
    let (digest, size) = digest(entry);
    Content::Bytes { digest, size }
}

#[track_caller]
fn attributes(entry: &mut Entry<'_, impl Read>) -> BTreeMap<String, Vec<u8>> {
    let mut attributes = BTreeMap::new();
    let Some(extensions) = entry.pax_extensions().expect("extended headers") else {
        return attributes;
    };
    for extension in extensions {
        let extension = extension.expect("an extended header");
        let name = extension.key().expect("its name");
        if let Some(name) = name.strip_prefix("SCHILY.xattr.") {
            attributes.insert(name.to_owned(), extension.value_bytes().to_vec());
        }
    }
    attributes
}
