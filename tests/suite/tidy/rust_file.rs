//! A file of Rust source, with what the checks ask of it.

use std::collections::BTreeSet;

use super::rust_text::{without_literals, without_tests};

/// A file of Rust source.
pub(super) struct RustFile {
    /// From the package's folder: `src/ui/mod.rs`.
    pub(super) path: String,
    pub(super) text: String,
    /// The text without comments and literals.
    pub(super) code: String,
    /// The code without tests; empty for a file that is one.
    pub(super) product: String,
}

impl RustFile {
    /// Reads texts together, because what is a test may be said in another file.
    pub(super) fn all(texts: impl IntoIterator<Item = (String, String)>) -> Vec<Self> {
        let mut tests = BTreeSet::new();
        let mut files: Vec<Self> = texts
            .into_iter()
            .map(|(path, text)| {
                let code = without_literals(&text);
                let (product, test_modules) = without_tests(&code);
                tests.extend(test_modules.iter().map(|name| submodule(&path, name)));
                Self {
                    path,
                    text,
                    code,
                    product,
                }
            })
            .collect();
        for file in &mut files {
            let module = file.path.trim_end_matches(".rs");
            let is_test = |test: &String| module == test || module.starts_with(&format!("{test}/"));
            if tests.iter().any(is_test) {
                file.product.clear();
            }
        }
        files
    }

    /// `ui` for `src/ui/mod.rs` and `src/ui/text.rs`; none for `src/lib.rs`, which declares everything.
    pub(super) fn module(&self) -> Option<&str> {
        let path = self.path.strip_prefix("src/")?;
        let name = path.split('/').next()?.trim_end_matches(".rs");
        (name != "lib").then_some(name)
    }

    /// How many `super::` lead from this file to the crate's root.
    pub(super) fn depth(&self) -> usize {
        let folders = self.path.matches('/').count();
        folders - usize::from(self.path.ends_with("/mod.rs"))
    }

    pub(super) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    pub(super) fn complain(&self, complaint: &str) -> String {
        format!("{}: {complaint}", self.path)
    }
}

/// Where the file of a module without its ending is, for one that `path` declares.
fn submodule(path: &str, name: &str) -> String {
    let folder = path
        .strip_suffix("/mod.rs")
        .or_else(|| path.strip_suffix("/lib.rs"))
        .or_else(|| path.strip_suffix("/main.rs"))
        .unwrap_or(path.trim_end_matches(".rs"));
    format!("{folder}/{name}")
}

#[test]
fn a_test_module_is_no_product_wherever_it_is() {
    let files = RustFile::all([
        (
            "src/ui/tty/mod.rs".to_owned(),
            "fn product() {}\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more { fn test() {} }\n"
                .to_owned(),
        ),
        ("src/ui/tty/tests.rs".to_owned(), "fn test() {}".to_owned()),
        (
            "src/ui/tty/tests/deep.rs".to_owned(),
            "fn test() {}".to_owned(),
        ),
        (
            "src/ui/tty/testsuite.rs".to_owned(),
            "fn product() {}".to_owned(),
        ),
        ("src/ui/tests.rs".to_owned(), "fn product() {}".to_owned()),
    ]);
    for file in files {
        assert!(!file.product.contains("test()"), "{}", file.path);
        let is_product = file.text.contains("product");
        assert_eq!(
            file.product.contains("product()"),
            is_product,
            "{}",
            file.path
        );
    }
}

#[test]
fn a_path_gives_module_and_depth() {
    let cases = [
        ("src/lib.rs", None, 1),
        ("src/main.rs", Some("main"), 1),
        ("src/ui/mod.rs", Some("ui"), 1),
        ("src/ui/text.rs", Some("ui"), 2),
        ("src/ui/tty/mod.rs", Some("ui"), 2),
        ("src/ui/tty/view.rs", Some("ui"), 3),
        ("tests/suite/main.rs", None, 2),
    ];
    for (path, module, depth) in cases {
        let [file] = &RustFile::all([(path.to_owned(), String::new())])[..] else {
            panic!("one text is one file");
        };
        assert_eq!(file.module(), module, "{path}");
        assert_eq!(file.depth(), depth, "{path}");
    }
}
