//! Cleaning of slash-separated paths by their text alone, the way Go's `filepath.Clean` does.
//!
//! Nothing here looks at a disk, so `a/../b` is `b` even where `a` is a link.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Removes empty and `.` components and resolves `..` where something precedes it; nothing left is `.`.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// The path of a COPY source relative to the context root: always rooted there, so a leading `/` is dropped and `..`
/// cannot lead out. The root itself is the empty path.
#[must_use]
pub fn clean_source(path: &Path) -> PathBuf {
    let mut rooted = b"/".to_vec();
    rooted.extend_from_slice(path.as_os_str().as_bytes());
    let cleaned = clean(&rooted);
    PathBuf::from(OsStr::from_bytes(cleaned.get(1..).unwrap_or_default()))
}

/// The names of a relative, clean path.
pub(super) fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// The rest of a path below another one, both as a walk makes them: without `.`, `..`, or slashes to spare. As
/// [`Path::strip_prefix`], which takes both apart, and a walk asks once for each of its entries.
pub(super) fn below<'p>(path: &'p Path, root: &Path) -> Option<&'p Path> {
    let (bytes, root) = (path.as_os_str().as_bytes(), root.as_os_str().as_bytes());
    let rest = bytes.strip_prefix(root)?;
    let rest = match (rest, root) {
        ([], _) | (_, [] | [.., b'/']) => rest,
        ([b'/', rest @ ..], _) => rest,
        _ => return None,
    };
    Some(Path::new(OsStr::from_bytes(rest)))
}

/// The last name of a path as a walk makes it. As [`Path::file_name`], which looks for `..` too.
pub(super) fn last_name(path: &Path) -> &OsStr {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().rposition(|byte| *byte == b'/');
    OsStr::from_bytes(&bytes[start.map_or(0, |slash| slash + 1)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_like_go() {
        for (path, cleaned) in [
            ("", "."),
            (".", "."),
            ("./a", "a"),
            ("a//b/", "a/b"),
            ("a/./b", "a/b"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("..", ".."),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
            ("/", "/"),
            ("//a", "/a"),
            ("/..", "/"),
            ("/../a/..", "/"),
        ] {
            assert_eq!(
                String::from_utf8(clean(path.as_bytes())).unwrap(),
                cleaned,
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_quick_is_what_the_library_says() {
        let paths = [
            "", "/", "/a", "/a/b", "/ab", "a", "a/b", "a/b/c", "ab", "b", "a/bc",
        ];
        for path in paths.map(Path::new) {
            for root in paths.map(Path::new) {
                // The library says that every path is below the empty one, but that one is relative.
                let expected = match root.as_os_str().is_empty() {
                    true => Some(path),
                    false => path.strip_prefix(root).ok(),
                };
                assert_eq!(below(path, root), expected, "{path:?} below {root:?}");
            }
            if let Some(name) = path.file_name() {
                assert_eq!(last_name(path), name, "{path:?}");
            }
        }
    }

    #[test]
    fn a_source_stays_below_the_root() {
        for (path, cleaned) in [
            ("/a/b", "a/b"),
            ("../../a", "a"),
            (".", ""),
            ("/", ""),
            ("a/../..", ""),
            ("dir/.", "dir"),
        ] {
            assert_eq!(clean_source(Path::new(path)), Path::new(cleaned), "{path}");
        }
    }
}
