//! Texts that are kept beside the cases that they are expected of.

use std::path::Path;

use builder::fsio;

use super::process::host_variable;

/// Compares a text with the one in a file, or writes it there where `UPDATE_EXPECT` is set. A file that is not there is a
/// difference.
pub fn compare(path: &Path, actual: &str) -> Result<(), String> {
    if host_variable("UPDATE_EXPECT").is_some() {
        fsio::write_atomic(path, actual.as_bytes(), fsio::Durability::Cached)
            .expect("a file of the test data can be written");
        return Ok(());
    }
    let shown = path.display();
    match fsio::read_to_string(path) {
        Ok(expected) if expected == actual => Ok(()),
        Ok(expected) => Err(format!(
            "{shown}:\n--- expected\n{expected}--- actual\n{actual}"
        )),
        Err(error) => Err(format!("{shown}: {error}; UPDATE_EXPECT=1 writes it")),
    }
}

/// Panics with what differs, if anything does.
#[track_caller]
pub fn report(differences: &[String]) {
    assert!(
        differences.is_empty(),
        "{} cases differ:\n\n{}",
        differences.len(),
        differences.join("\n")
    );
}
