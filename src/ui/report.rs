//! What a failed build ends with: the last output of the steps that failed, where it was, why, and what to try.

use super::step_log::FailedStep;
use super::style::{Style, paint};
use super::text;

/// The parts of a report, each of which may be missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failure<'a> {
    /// Steps that failed, with the end of their output ([`StepLog::failures`](super::StepLog::failures)).
    pub steps: &'a [FailedStep],
    /// The rendered excerpt of the source, several lines.
    pub diagnostic: Option<&'a str>,
    /// What failed; further lines are shown beneath it.
    pub error: Option<&'a str>,
    /// What the user can do about it, one action each.
    pub hints: &'a [String],
}

const RULE: &str = "------";

/// Puts a report together, as text that ends with a line end.
#[must_use]
pub fn failure(failure: &Failure<'_>, colours: bool) -> String {
    let mut report = String::new();
    for step in failure.steps.iter().filter(|step| !step.lines.is_empty()) {
        excerpt(&mut report, step, colours);
    }
    if let Some(diagnostic) = failure.diagnostic {
        for line in diagnostic.trim_end().lines() {
            add(&mut report, &text::neutralise(line.as_bytes(), colours));
        }
    }
    if let Some(error) = failure.error {
        labelled(&mut report, "error", Style::Error, error, colours);
    }
    for hint in failure.hints {
        labelled(&mut report, "hint", Style::Hint, hint, colours);
    }
    report
}

/// The last lines of a step between two rules.
fn excerpt(report: &mut String, step: &FailedStep, colours: bool) {
    let faint = |text: &str| paint(colours, Style::Faint, text);
    add(report, &faint(RULE));
    add(report, &format!(" > {}", step.name));
    if step.omitted > 0 {
        let are = if step.omitted == 1 {
            "line is"
        } else {
            "lines are"
        };
        let note = format!("({} earlier {are} not shown)", step.omitted);
        add(report, &format!(" {} {}", faint("|"), faint(&note)));
    }
    for line in &step.lines {
        add(report, &format!(" {} {line}", faint("|")));
    }
    add(report, &faint(RULE));
}

/// `label: text`; further lines of the text are indented to where it began.
pub(super) fn labelled(
    report: &mut String,
    label: &str,
    style: Style,
    message: &str,
    colours: bool,
) {
    let indent = " ".repeat(label.len() + 2);
    for (index, line) in message.trim_end().split('\n').enumerate() {
        let line = text::neutralise(line.as_bytes(), false);
        if index == 0 {
            let label = paint(colours, style, &format!("{label}:"));
            add(report, &format!("{label} {line}"));
        } else {
            add(report, &format!("{indent}{line}"));
        }
    }
}

fn add(report: &mut String, line: &str) {
    report.push_str(line.trim_end());
    report.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_output_source_error_and_hint() {
        let steps = [FailedStep {
            name: "[build 2/4] RUN make".to_owned(),
            message: "exit code 2".to_owned(),
            lines: vec!["cc -c x.c".to_owned(), "x.c:1: error".to_owned()],
            omitted: 3,
        }];
        let report = failure(
            &Failure {
                steps: &steps,
                diagnostic: Some(" --> Dockerfile:3:1\n  |\n3 | RUN make\n  | ^^^^^^^^\n"),
                error: Some("`make` ended with exit code 2\nwhile building stage `build`"),
                hints: &["run the step again with `--no-cache`".to_owned()],
            },
            false,
        );
        let expected = "\
------
 > [build 2/4] RUN make
 | (3 earlier lines are not shown)
 | cc -c x.c
 | x.c:1: error
------
 --> Dockerfile:3:1
  |
3 | RUN make
  | ^^^^^^^^
error: `make` ended with exit code 2
       while building stage `build`
hint: run the step again with `--no-cache`
";
        assert_eq!(report, expected);
    }

    #[test]
    fn a_step_without_output_has_no_excerpt() {
        let steps = [FailedStep {
            name: "[2/2] COPY missing /".to_owned(),
            message: "not found".to_owned(),
            lines: Vec::new(),
            omitted: 0,
        }];
        let report = failure(
            &Failure {
                steps: &steps,
                error: Some("`missing` is not in the context"),
                ..Failure::default()
            },
            false,
        );
        assert_eq!(report, "error: `missing` is not in the context\n");
    }

    #[test]
    fn control_sequences_in_the_source_or_the_error_go() {
        let report = failure(
            &Failure {
                diagnostic: Some("1 | RUN \x1b[2J\x1b[31mx"),
                error: Some("bad \x1b]0;t\x07name"),
                ..Failure::default()
            },
            false,
        );
        assert_eq!(report, "1 | RUN x\nerror: bad name\n");
    }

    #[test]
    fn labels_are_coloured() {
        let report = failure(
            &Failure {
                error: Some("no"),
                ..Failure::default()
            },
            true,
        );
        assert_eq!(report, "\x1b[1;31merror:\x1b[0m no\n");
    }
}
