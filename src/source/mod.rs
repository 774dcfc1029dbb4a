//! Vocabulary of text: source files, spans, diagnostics and their rendering.
