//! A place of its own for each test: a scratch folder, a store in it, and `builder` with nothing of this machine around it.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::fsio;

use super::process::{self, Outcome};

/// Where one test runs `builder`. Dropping it removes all of it.
#[derive(Debug)]
pub struct TestEnv {
    folder: PathBuf,
    /// `None` for a fixed folder.
    _guard: Option<tempfile::TempDir>,
}

impl TestEnv {
    /// A new empty place.
    #[track_caller]
    pub fn new() -> Self {
        let guard = tempfile::Builder::new()
            .prefix("env-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a scratch folder");
        Self {
            folder: guard.path().to_owned(),
            _guard: Some(guard),
        }
        .prepared()
    }

    /// The place of this name, emptied now and left behind, for what several tests share.
    #[track_caller]
    pub fn shared(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fsio::remove_tree(&folder).expect("an old scratch folder can be removed");
        Self {
            folder,
            _guard: None,
        }
        .prepared()
    }

    fn prepared(self) -> Self {
        fsio::create_dir_all(self.path("home")).expect("a home folder");
        self
    }

    /// A path in the scratch folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The root of the store.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// `builder SUBCOMMAND --root ROOT ARGUMENTS...` in the scratch folder, for those who want to change it further.
    pub fn command<I>(&self, subcommand: &str, arguments: I) -> Command
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        let mut command = process::hermetic(env!("CARGO_BIN_EXE_builder"), &self.path("home"));
        command.arg(subcommand).arg("--root").arg(self.root());
        command.args(arguments).current_dir(&self.folder);
        command
    }

    /// Runs `builder SUBCOMMAND`.
    #[track_caller]
    pub fn builder<I>(&self, subcommand: &str, arguments: I) -> Outcome
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        process::run(&mut self.command(subcommand, arguments))
    }

    /// Runs `builder build --progress plain`.
    #[track_caller]
    pub fn build<I>(&self, arguments: I) -> Outcome
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        let mut command = self.command("build", ["--progress", "plain"]);
        process::run(command.args(arguments))
    }

    /// Writes a file of the scratch folder, with the folders on the way.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let parent = path.parent().expect("a file is in a folder");
        fsio::create_dir_all(parent).expect("a folder in the scratch folder");
        fsio::write_atomic(&path, content.as_ref(), fsio::Durability::Cached)
            .expect("a file in the scratch folder");
        fsio::set_mode(&path, 0o644).expect("its mode");
        path
    }

    /// Copies a tree of the repository in, with the modes that git knows: the umask of a checkout must not reach an image.
    #[track_caller]
    pub fn copy_tree(&self, from: &Path, to: &str) -> PathBuf {
        let to = self.path(to);
        copy_tree(from, &to).expect("a copy of a tree");
        to
    }

    /// A tool of this machine, with the scratch folder as its home.
    pub fn tool(&self, program: &str) -> Command {
        process::hermetic(program, &self.path("home"))
    }
}

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn copy_tree(from: &Path, to: &Path) -> fsio::Result<()> {
    let metadata = fsio::symlink_metadata(from)?;
    if metadata.is_symlink() {
        return fsio::symlink(fsio::read_link(from)?, to);
    }
    if !metadata.is_dir() {
        fsio::copy(from, to)?;
        let executable = metadata.permissions().mode() & 0o100 != 0;
        return fsio::set_mode(to, if executable { 0o755 } else { 0o644 });
    }
    fsio::create_dir_all(to)?;
    fsio::set_mode(to, 0o755)?;
    for name in fsio::read_dir_sorted(from)? {
        copy_tree(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}
