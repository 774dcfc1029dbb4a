//! Vocabulary of text: source files, spans, diagnostics and their rendering.
//!
//! Nothing here knows what a Dockerfile is, reads a file or prints.

mod boolean;
mod diagnostic;
mod edit;
mod file;
mod render;
mod span;

pub use boolean::boolean;
pub use diagnostic::{Diagnostic, Edit, Label, Severity};
pub use edit::{edited, overlap};
pub use file::{LineColumn, SourceError, SourceFile, SourceMap};
pub use render::{Style, render};
pub use span::{FileId, Span, Spanned};
