//! What the machine itself is set up to emulate: the entries of binfmt_misc that hold for everybody.

use std::path::Path;

use crate::fsio;

const FOLDER: &str = "/proc/sys/fs/binfmt_misc";

/// The entry that serves programs that start so, wherever they are.
pub(super) fn for_header(header: &[u8]) -> Option<String> {
    let folder = Path::new(FOLDER);
    let read = |name: &std::ffi::OsString| fsio::read_to_string(folder.join(name)).ok();
    // The folder is empty where nothing is mounted.
    let names = fsio::read_dir_sorted(folder).ok()?;
    if !names.iter().any(|name| name == "status") || read(&"status".into())?.trim() != "enabled" {
        return None;
    }
    let entry = names
        .iter()
        .find(|name| read(name).is_some_and(|text| serves(&text, header)));
    entry.map(|name| name.to_string_lossy().into_owned())
}

/// Whether an entry is in force for a header, also where its emulator is not to be seen: in the root of a step.
fn serves(entry: &str, header: &[u8]) -> bool {
    let value = |key: &str| {
        let mut lines = entry.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', ':']))
    };
    let opened = value("flags").is_some_and(|flags| flags.contains('F'));
    let at_start = value("offset").map(str::trim) == Some("0");
    let Some(magic) = value("magic").and_then(bytes) else {
        return false;
    };
    let mask = match value("mask") {
        Some(mask) => bytes(mask).unwrap_or_default(),
        None => vec![0xff; magic.len()],
    };
    let same = magic.len() <= header.len()
        && mask.len() == magic.len()
        && std::iter::zip(header, std::iter::zip(&magic, &mask))
            .all(|(byte, (magic, mask))| byte & mask == magic & mask);
    entry.lines().next() == Some("enabled") && opened && at_start && same
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.trim().as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    match digits.len() % 2 {
        0 => digits.chunks(2).map(pair).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::machines::Machine;
    use super::*;

    const ENTRY: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
                         magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_entry_serves_its_processor_if_it_is_open_and_in_force() {
        let header = |arch| Machine::of(arch).unwrap().header();
        assert!(serves(ENTRY, &header("arm64")));
        assert!(!serves(ENTRY, &header("riscv64")));
        assert!(!serves(&ENTRY.replace("POCF", "POC"), &header("arm64")));
        assert!(!serves(
            &ENTRY.replace("enabled", "disabled"),
            &header("arm64")
        ));
        assert!(!serves(
            "enabled\ninterpreter /x\nflags: F\nextension .exe\n",
            &header("arm64")
        ));
        assert!(!serves("", &header("arm64")));
    }
}
