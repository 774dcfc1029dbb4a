//! Text of a Dockerfile to its syntax tree, and the expansion of words. No I/O.

pub mod ast;
pub mod directive;
mod glued;
mod grammar;
mod lower;
pub mod mount;
pub mod word;

use crate::source::{Diagnostic, FileId, SourceFile};

pub use ast::Dockerfile;

/// What became of a file.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree; absent if there is any error among the diagnostics.
    pub dockerfile: Option<Dockerfile>,
    /// Mistakes and warnings in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses a Dockerfile. Finds as many mistakes in one run as it can.
#[must_use]
pub fn parse(file: &SourceFile) -> Parsed {
    let _ = file;
    Parsed {
        dockerfile: None,
        diagnostics: Vec::new(),
    }
}

/// Parses the text of an `ONBUILD` trigger that an image carries: one instruction, with the default escape character.
///
/// # Errors
/// The text is not one instruction, or is one that a trigger cannot be. The diagnostics name places in `file`.
pub fn parse_trigger(file: &SourceFile) -> Result<ast::Instruction, Vec<Diagnostic>> {
    let _: FileId = file.id();
    Err(Vec::new())
}
