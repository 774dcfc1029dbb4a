//! Reads the bodies of heredocs: the lines after an instruction, each body up to the line that equals its delimiter.

use super::ast::Heredoc;
use super::glued::GluedText;
use super::pieces::HeredocMarker;
use crate::source::{Diagnostic, SourceFile};

/// The heredocs of an instruction and where the line of the last terminator ends and the next line begins.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) heredocs: Vec<Heredoc>,
    pub(super) end: usize,
    pub(super) next: usize,
}

/// Reads the bodies of all markers, one after the other, from the line at `start` on. `arguments` is the text that the
/// markers are in.
pub(super) fn read(
    file: &SourceFile,
    arguments: &GluedText<'_>,
    markers: &[HeredocMarker],
    start: usize,
) -> Result<Bodies, Diagnostic> {
    let mut bodies = Bodies {
        heredocs: Vec::with_capacity(markers.len()),
        end: start,
        next: start,
    };
    for marker in markers {
        let body_start = bodies.next;
        let Some((body_end, terminator)) = find_terminator(&file.text()[body_start..], marker)
        else {
            return Err(unterminated(file, arguments, marker, body_start));
        };
        let body = body_start..body_start + body_end;
        bodies.next = body.end + terminator.len();
        bodies.end = body.end + terminator.trim_end_matches(['\r', '\n']).len();
        bodies.heredocs.push(Heredoc {
            name: marker.name.clone(),
            file_descriptor: marker.file_descriptor.clone(),
            strip_tabs: marker.strip_tabs,
            expand: !marker.quoted,
            body: file.text()[body.clone()].to_owned(),
            marker: arguments.span(marker.range.clone()),
            body_span: file.span(body),
        });
    }
    Ok(bodies)
}

/// Length of the body at the start of `text`, and the line that ends it.
fn find_terminator<'t>(text: &'t str, marker: &HeredocMarker) -> Option<(usize, &'t str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let mut content = line.trim_end_matches(['\r', '\n']);
        if marker.strip_tabs {
            content = content.trim_start_matches('\t');
        }
        if content == marker.name {
            return Some((at, line));
        }
        at += line.len();
    }
    None
}

fn unterminated(
    file: &SourceFile,
    arguments: &GluedText<'_>,
    marker: &HeredocMarker,
    start: usize,
) -> Diagnostic {
    let name = &marker.name;
    let diagnostic = Diagnostic::error("unterminated-heredoc", "unterminated heredoc").at(
        arguments.span(marker.range.clone()),
        format!("no line after this is just `{name}`"),
    );
    let mut at = start;
    for line in file.text()[start..].split_inclusive('\n') {
        if line.trim() == name.trim() {
            let place = file.span(at..at + line.trim_end_matches(['\r', '\n']).len());
            return diagnostic
                .at(place, "this line has blanks around it")
                .hint(format!(
                    "let `{name}` stand alone on its line; `<<-` allows tabs before it"
                ));
        }
        at += line.len();
    }
    diagnostic.hint(format!("end the text with a line that is just `{name}`"))
}
