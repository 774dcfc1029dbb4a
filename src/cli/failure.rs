//! The one place that maps a failure to words, hints and an exit code.
//!
//! 0 done; 1 build failed (Dockerfile or step); 2 wrong usage; 3 environment (kernel feature, permission, disk, registry);
//! 70 a mistake in the builder; 130 interrupted.

use std::process::ExitCode;

use crate::build::{BuildError, Category, Sources};
use crate::fsio;
use crate::source::{Diagnostic, SourceMap, Style, render};
use crate::ui::{Console, FailedStep, report};

/// A failure on its way to the user.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    text: Text,
}

#[derive(Debug)]
enum Text {
    /// A line and hints.
    Plain { error: String, hints: Vec<String> },
    /// A report that was put together where everything was known.
    Report(String),
    /// All has been said.
    Said,
}

const BUILD: u8 = 1;
const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 3;
const MISTAKE: u8 = 70;
const INTERRUPTED: u8 = 130;

impl Failure {
    /// The command line is wrong.
    pub(super) fn usage(error: impl ToString) -> Self {
        Self {
            code: USAGE,
            text: Text::Plain {
                error: error.to_string(),
                hints: Vec::new(),
            },
        }
    }

    /// The machine is in the way.
    pub(super) fn environment(error: impl ToString) -> Self {
        Self {
            code: ENVIRONMENT,
            text: Text::Plain {
                error: error.to_string(),
                hints: Vec::new(),
            },
        }
    }

    /// The builder itself is at fault.
    pub(super) fn mistake() -> Self {
        let failure = Self {
            code: MISTAKE,
            text: Text::Plain {
                error: "this is a mistake in builder itself".to_owned(),
                hints: Vec::new(),
            },
        };
        failure.hint("please report it with the lines above and the Dockerfile")
    }

    /// The user wanted to stop.
    pub(super) fn interrupted() -> Self {
        Self {
            code: INTERRUPTED,
            text: Text::Plain {
                error: "interrupted".to_owned(),
                hints: Vec::new(),
            },
        }
    }

    /// A check found something, which has been printed.
    pub(super) fn findings() -> Self {
        Self {
            code: BUILD,
            text: Text::Said,
        }
    }

    /// The same, but the Dockerfile's: a check does not care why there would be no image.
    pub(super) fn of_the_build(self) -> Self {
        Self {
            code: BUILD,
            ..self
        }
    }

    /// Adds an action.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Text::Plain { hints, .. } = &mut self.text {
            hints.push(hint.into());
        }
        self
    }

    /// Mistakes in a configuration file.
    pub(super) fn configuration(
        sources: &SourceMap,
        mistakes: &[Diagnostic],
        colours: bool,
    ) -> Self {
        let style = Style { colour: colours };
        let excerpts = mistakes
            .iter()
            .map(|mistake| render(sources, mistake, style));
        Self {
            code: USAGE,
            text: Text::Report(excerpts.collect::<Vec<_>>().join("\n")),
        }
    }

    /// A build or an export failed. `sources` are the texts, `steps` what ran last.
    pub(super) fn build(
        error: &BuildError,
        sources: &Sources,
        steps: &[FailedStep],
        colours: bool,
    ) -> Self {
        let style = Style { colour: colours };
        let excerpt = match error {
            BuildError::Dockerfile(diagnostics) => {
                let errors = diagnostics
                    .iter()
                    .filter(|diagnostic| diagnostic.is_error());
                errors
                    .map(|diagnostic| render(&sources.map, diagnostic, style))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            other => match other.span() {
                Some(span) => {
                    let diagnostic =
                        Diagnostic::error("build", fsio::with_causes(other)).at(span, "");
                    render(&sources.map, &diagnostic, style)
                }
                None => String::new(),
            },
        };
        let text = fsio::with_causes(error);
        // An excerpt opens with the error itself.
        let line = excerpt.is_empty().then_some(text.as_str());
        let failure = report::Failure {
            steps,
            diagnostic: Some(excerpt.as_str()).filter(|excerpt| !excerpt.is_empty()),
            error: line,
            hints: &error.hints(),
        };
        let code = match error.category() {
            Category::Build => BUILD,
            Category::Usage => USAGE,
            Category::Environment => ENVIRONMENT,
            Category::Interrupted => INTERRUPTED,
        };
        Self {
            code,
            text: Text::Report(report::failure(&failure, colours)),
        }
    }

    /// Prints it and gives the exit code.
    pub(super) fn report(self, colours: bool) -> ExitCode {
        let mut console = Console::process(colours);
        match self.text {
            Text::Plain { error, hints } => {
                console.error(&error);
                hints.iter().for_each(|hint| console.hint(hint));
            }
            Text::Report(report) => console.message(report.trim_end()),
            Text::Said => {}
        }
        ExitCode::from(self.code)
    }
}

/// What clap has to say: help and version are no failures.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about a closed pipe here.
    let _printed = error.print();
    match error.use_stderr() {
        true => ExitCode::from(USAGE),
        false => ExitCode::SUCCESS,
    }
}
