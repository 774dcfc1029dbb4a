//! Paths inside an image as text: joined and cleaned without looking at any file system.

/// `path` made absolute from `cwd`, without `.`, `..`, doubled or trailing slashes.
pub(super) fn absolute(cwd: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{cwd}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The destination of a copy: absolute and cleaned, with the trailing slash that says "into this folder".
pub(super) fn destination(cwd: &str, path: &str) -> String {
    let cleaned = absolute(cwd, path);
    let into = path.is_empty()
        || path.ends_with('/')
        || path == "."
        || path == ".."
        || path.ends_with("/.")
        || path.ends_with("/..");
    if into && cleaned != "/" {
        format!("{cleaned}/")
    } else {
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning() {
        for (cwd, path, expected) in [
            ("/", "a/../b", "/b"),
            ("/x", "../../..", "/"),
            ("/x", ".", "/x"),
            ("/x/", "//y//z/", "/y/z"),
            ("", "a", "/a"),
        ] {
            assert_eq!(absolute(cwd, path), expected);
        }
        for (path, expected) in [
            ("d/", "/w/d/"),
            ("d", "/w/d"),
            ("", "/w/"),
            (".", "/w/"),
            ("/", "/"),
            ("./", "/w/"),
            ("d/..", "/w/"),
        ] {
            assert_eq!(destination("/w", path), expected, "{path}");
        }
    }
}
