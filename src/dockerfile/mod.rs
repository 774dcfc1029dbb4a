//! Text of a Dockerfile to its syntax tree, and the expansion of words. No I/O.
//!
//! ```text
//! text ─lower (grammar/)─▶ statements, words ─instruction/─▶ typed instructions ─parse─▶ ast::Dockerfile + diagnostics
//! ```
//! The tree is what the author wrote. Values are expanded later, with [`word::expand`], by whoever knows the variables.

pub mod ast;
mod csv;
pub mod directive;
mod dump;
mod duration;
mod glued;
mod grammar;
mod heredoc;
mod instruction;
mod json;
mod keyword;
mod lower;
pub mod mount;
mod parse;
mod pieces;
mod plain;
pub mod word;

pub use self::ast::Dockerfile;
pub use self::dump::dump;
pub use self::parse::{Parsed, parse, parse_trigger};
