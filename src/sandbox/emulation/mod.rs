//! Programs for other processors: who runs them here.
//!
//! Finds out whether a platform needs an emulator, and which. How the kernel is told of it is the business of `init`: in a
//! namespace of the step's own, so that nothing of the machine is changed.

mod machines;
mod registered;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spec::path_bytes;
use crate::fsio;
use crate::sys::process;
use machines::Machine;

/// A program that runs those of another processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// The program. It is static: where it is run there are no libraries for it.
    #[serde(with = "path_bytes")]
    pub program: PathBuf,
    /// How programs of that processor start.
    pub(super) header: Vec<u8>,
    /// Which bits of that count.
    pub(super) mask: Vec<u8>,
}

/// How programs of a platform run on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Execution {
    /// The processor does it.
    Native,
    /// The machine is set up to do it, by the emulator of this name.
    Registered(String),
    /// A step brings its emulator.
    Emulated(Emulator),
}

/// Nobody runs programs of a platform here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a RUN for linux/{arch} on linux/{}: no emulator", machine_arch())]
pub struct NoEmulator {
    /// The processor.
    pub arch: String,
    /// An emulator that is there, where steps cannot bring one.
    pub unusable: Option<PathBuf>,
}

impl NoEmulator {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> String {
        if let Some(program) = &self.unusable {
            return format!(
                "`{}` is there, but without namespaces a step cannot bring it: have the machine set up to emulate, with `binfmt-support`",
                program.display()
            );
        }
        match Machine::of(&self.arch) {
            Some(machine) => format!(
                "install `qemu-user-static`, which has `qemu-{}-static`; or let the stage run here: `FROM --platform=$BUILDPLATFORM`",
                machine.qemu
            ),
            None => "let the stage run here: `FROM --platform=$BUILDPLATFORM`".to_owned(),
        }
    }
}

/// Where emulators are looked for.
#[derive(Clone, Debug, Default)]
pub struct Emulators {
    folders: Vec<PathBuf>,
}

impl Emulators {
    /// Those in these folders; the first that has one counts.
    #[must_use]
    pub fn in_folders(folders: Vec<PathBuf>) -> Self {
        Self { folders }
    }

    /// How programs of a processor, as platforms name it, run here.
    ///
    /// # Errors
    /// They do not.
    pub fn execution(&self, arch: &str) -> Result<Execution, NoEmulator> {
        if is_native(arch) {
            return Ok(Execution::Native);
        }
        let missing = || NoEmulator {
            arch: arch.to_owned(),
            unusable: None,
        };
        let machine = Machine::of(arch).ok_or_else(missing)?;
        if let Some(name) = registered::for_header(&machine.header()) {
            return Ok(Execution::Registered(name));
        }
        let program = self.program(machine.qemu).ok_or_else(missing)?;
        Ok(Execution::Emulated(Emulator {
            program,
            header: machine.header().to_vec(),
            mask: machine.mask().to_vec(),
        }))
    }

    /// All processors whose programs run here, and how: for people who ask.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, Execution)> {
        let known = machines::MACHINES.iter().map(|machine| machine.arch);
        known
            .filter_map(|arch| Some((arch, self.execution(arch).ok()?)))
            .collect()
    }

    /// Debian's packages have had the static ones under both names.
    fn program(&self, qemu: &str) -> Option<PathBuf> {
        let names = [format!("qemu-{qemu}-static"), format!("qemu-{qemu}")];
        let paths = self
            .folders
            .iter()
            .flat_map(|folder| names.iter().map(|name| folder.join(name)));
        paths.into_iter().find(|path| is_static_program(path))
    }
}

/// Whether a file can be executed and needs no other: it names no loader of libraries.
fn is_static_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = fsio::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    executable && !names_loader(path)
}

/// Whether an ELF file of this machine has a program header of the kind `INTERP`.
fn names_loader(path: &Path) -> bool {
    use std::io::Read as _;
    const INTERPRETER: usize = 3;
    let mut start = Vec::new();
    let read = fsio::open(path).map(|file| file.take(1024).read_to_end(&mut start));
    if !matches!(read, Ok(Ok(_))) {
        return true;
    }
    let number = |at: usize, size: usize| {
        let bytes = start.get(at..at.checked_add(size)?)?;
        let mut wide = [0; 8];
        wide.get_mut(..size)?.copy_from_slice(bytes);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    let kinds = || {
        // In the form of 64 bits and this byte order; the others are not for the machines that run the builder.
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let kind = |index: usize| number(table.checked_add(index.checked_mul(size)?)?, 4);
        Some((0..count).filter_map(kind).collect::<Vec<_>>())
    };
    let is_elf = start.starts_with(b"\x7fELF\x02\x01");
    is_elf && kinds().is_some_and(|kinds| kinds.contains(&INTERPRETER))
}

/// This machine's processor, as platforms name it.
fn machine_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "loongarch64" => "loong64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn is_native(arch: &str) -> bool {
    match (machine_arch(), arch) {
        (own, arch) if own == arch => true,
        ("amd64", "386") => true,
        ("arm64", "arm") => process::has_small_programs(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_programs_need_nobody() {
        let nobody = Emulators::default();
        assert_eq!(nobody.execution(machine_arch()), Ok(Execution::Native));
        let error = nobody.execution("vax").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a RUN for linux/vax on linux/")
        );
        assert!(!error.hint().contains("qemu"));
        assert!(nobody.all().iter().any(|(arch, _)| *arch == machine_arch()));
    }

    #[test]
    fn emulators_are_static_and_the_first_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let program = |folder: &str, name: &str, content: &[u8], mode| {
            let folder = scratch.path().join(folder);
            fsio::create_dir_all(&folder).unwrap();
            let path = folder.join(name);
            fsio::write_atomic(&path, content, fsio::Durability::Cached).unwrap();
            fsio::set_mode(&path, mode).unwrap();
        };
        // A header, and one program header of each kind.
        let elf = |kind: u8| {
            let mut bytes = vec![0; 120];
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, kind);
            bytes
        };
        program("a", "qemu-x-static", &elf(1), 0o644);
        program("b", "qemu-x-static", &elf(3), 0o755);
        program("c", "qemu-x", &elf(1), 0o755);
        program("d", "qemu-x-static", &elf(1), 0o755);
        let folders = ["none", "a", "b", "c", "d"].map(|name| scratch.path().join(name));
        let found = Emulators::in_folders(folders.to_vec()).program("x");
        assert_eq!(found, Some(scratch.path().join("c/qemu-x")));
    }
}
