//! Base images for tests: OCI layouts that `testdata/bases/make` makes from Debian packages, once for all runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A base that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A shell and the usual small programs.
    Busybox,
    /// The same with a C compiler.
    Compiler,
    /// As busybox, for a processor that this machine does not have: ARM, or that of PCs on ARM.
    Foreign,
    /// Debian with `python` and `pip`.
    Python,
}

impl Base {
    fn name(self) -> &'static str {
        match self {
            Self::Busybox => "busybox",
            Self::Compiler => "compiler",
            Self::Foreign => "foreign",
            Self::Python => "python",
        }
    }
}

/// The folder of the base's layout, made now if it is not there yet.
///
/// # Errors
/// Why it cannot be made on this machine.
pub fn make(base: Base) -> Result<PathBuf, String> {
    static MADE: [OnceLock<Result<PathBuf, String>>; 4] = [const { OnceLock::new() }; 4];
    MADE[base as usize].get_or_init(|| make_now(base)).clone()
}

/// The folder of the base's layout, after `require_capability!(Base(...))`.
pub fn layout(base: Base) -> PathBuf {
    make(base).expect("the base is there")
}

/// `--build-context NAME=oci-layout://FOLDER`: the base under the name that a Dockerfile uses.
pub fn build_context(name: &str, base: Base) -> [OsString; 2] {
    let mut value = OsString::from(format!("{name}=oci-layout://"));
    value.push(layout(base));
    ["--build-context".into(), value]
}

/// The script locks each base for itself, so test binaries and other runs may ask at the same time.
fn make_now(base: Base) -> Result<PathBuf, String> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Beside cargo's own folders, where `.ci/test` and the quick start keep them too.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bases");
    let output = Command::new(project.join("testdata/bases/make"))
        .arg("--out")
        .arg(&folder)
        .args(["--only", base.name()])
        .output()
        .map_err(|error| format!("testdata/bases/make does not start: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    builder::fsio::canonicalize(folder.join(base.name())).map_err(|error| error.to_string())
}
