//! Makes the edits that findings carry, and proves that the image stays what it was.
//!
//! One rule at a time: its edits are made, the new text is parsed and planned for every stage, and the plans are compared
//! with those of the old text. What would change an image is not done. So a rule that is wrong about one file costs that
//! file nothing, and the others still have their way.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::build::check::{Checked, ImagesOnly, Substitutes, examine};
use crate::build::error::BuildError;
use crate::build::request::Request;
use crate::build::source::{self, Opened, Reader};
use crate::build::{Sources, Vertices};
use crate::dockerfile::{self, Dockerfile};
use crate::fsio;
use crate::oci::Config;
use crate::plan::{self, Plan, PlannedImage};
use crate::solve::EventSink;
use crate::source::{Diagnostic, SourceFile, edited, overlap};

/// How often one rule may find something to edit, since its edits may have been about the same place.
const MOST_ROUNDS: usize = 10;

/// What became of a file.
#[derive(Debug)]
pub struct Fixed {
    /// The file.
    pub dockerfile: PathBuf,
    /// Its text before.
    pub before: String,
    /// Its text with all edits.
    pub after: String,
    /// The findings that are gone, in the order in which they went.
    pub done: Vec<FixedFinding>,
    /// Rules whose edits were not made, and why.
    pub refused: BTreeMap<&'static str, Refusal>,
    /// What there is to say about the text after.
    pub checked: Checked,
    /// The texts that `checked` is about.
    pub sources: Sources,
}

/// A finding that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedFinding {
    /// The rule.
    pub rule: &'static str,
    /// What it said.
    pub message: String,
    /// Line in the text that the edits were made in.
    pub line: usize,
}

/// Why edits were not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// They do not fit together or into the text.
    #[error("its edits do not fit together")]
    Overlap,
    /// The text is no Dockerfile any more.
    #[error("the result would not be a valid Dockerfile")]
    Invalid,
    /// Something else would be built.
    #[error("the image would be another one")]
    Image,
    /// The finding does not go away.
    #[error("its edits do not remove the finding")]
    Useless,
}

/// Edits the text of a Dockerfile until no rule has anything left to edit. Nothing is written: see [`Fixed::write`].
///
/// # Errors
/// The context or the Dockerfile cannot be read, or the Dockerfile has mistakes.
pub fn fix(
    request: &Request,
    reader: &Reader<'_>,
    sink: &mut dyn EventSink,
) -> Result<Fixed, (BuildError, Sources)> {
    let mut sources = Sources::default();
    let mut vertices = Vertices::new(sink);
    let opened = match source::open(request, reader, &mut sources, &mut vertices) {
        Ok(opened) => opened,
        Err(error) => return Err((error, sources)),
    };
    if opened.path.is_none() {
        return Err((BuildError::NotAFile, sources));
    }
    let path = source::dockerfile_path(request);
    if let Err(error) = source::parse(&opened.file) {
        return Err((error, sources));
    }
    let text = opened.file.text().to_owned();
    let images = ImagesOnly(reader.resolver);
    let mut bench = Bench {
        request,
        resolver: Substitutes::new(&images),
        opened,
        vertices,
    };
    let mut fixed = Fixed {
        dockerfile: path,
        before: text.clone(),
        after: text,
        done: Vec::new(),
        refused: BTreeMap::new(),
        checked: Checked::default(),
        sources,
    };
    let mut rounds = BTreeMap::new();
    loop {
        let (checked, sources, file) = match bench.examine(&fixed.after) {
            Ok(examined) => examined,
            Err(error) => return Err((error, fixed.sources)),
        };
        let next = next_rule(&checked.warnings, &fixed.refused);
        if let Some((rule, findings)) = next {
            let round = rounds.entry(rule).or_insert(0);
            *round += 1;
            match bench.apply(&file, rule, &findings, *round) {
                Ok(text) => {
                    fixed.after = text;
                    fixed
                        .done
                        .extend(findings.iter().map(|finding| FixedFinding {
                            rule,
                            message: finding.message.clone(),
                            line: finding.span().map_or(1, |span| file.line(span.start)),
                        }));
                }
                Err(refusal) => _ = fixed.refused.insert(rule, refusal),
            }
            continue;
        }
        fixed.checked = checked;
        fixed.checked.dockerfile.clone_from(&fixed.dockerfile);
        fixed.sources = sources;
        return Ok(fixed);
    }
}

impl Fixed {
    /// Puts the new text in the place of the old one, whole; what the path leads to keeps its mode. Does nothing if the
    /// two are the same.
    ///
    /// # Errors
    /// The disk, or another text in the file by now; what was there is then still there.
    pub fn write(&self) -> Result<(), BuildError> {
        if self.before == self.after {
            return Ok(());
        }
        // A link stays a link.
        let path = fsio::canonicalize(&self.dockerfile)?;
        if fsio::read(&path)? != self.before.as_bytes() {
            return Err(BuildError::DockerfileChanged);
        }
        Ok(fsio::rewrite(&path, self.after.as_bytes())?)
    }
}

/// The rule whose turn it is, and those of its findings that can be edited together. Rules that change the number of lines
/// come last, so that the lines of the others are still those that the author sees.
fn next_rule<'f>(
    findings: &'f [Diagnostic],
    refused: &BTreeMap<&'static str, Refusal>,
) -> Option<(&'static str, Vec<&'f Diagnostic>)> {
    let open =
        |finding: &&Diagnostic| !finding.fix.is_empty() && !refused.contains_key(finding.code);
    let multiline = |finding: &&Diagnostic| {
        let breaks = |edit: &crate::source::Edit| edit.replacement.contains('\n');
        finding.code == "NoEmptyContinuation" || finding.fix.iter().any(breaks)
    };
    let rule = findings
        .iter()
        .filter(open)
        .min_by_key(|finding| (multiline(finding), finding.code))?
        .code;
    let mut chosen: Vec<&Diagnostic> = Vec::new();
    for finding in findings.iter().filter(open).filter(|f| f.code == rule) {
        let taken = |other: &&Diagnostic| {
            let mut pairs = other
                .fix
                .iter()
                .flat_map(|a| finding.fix.iter().map(move |b| (a, b)));
            pairs.any(|(a, b)| overlap(a, b))
        };
        if !chosen.iter().any(taken) {
            chosen.push(finding);
        }
    }
    Some((rule, chosen))
}

/// What texts are judged with.
struct Bench<'a> {
    request: &'a Request,
    resolver: Substitutes<'a>,
    opened: Opened,
    vertices: Vertices<'a>,
}

impl Bench<'_> {
    fn parse(&self, text: &str) -> Option<(Sources, SourceFile, Dockerfile, Vec<Diagnostic>)> {
        let mut sources = Sources::default();
        let file = sources
            .map
            .add(self.opened.file.name().to_owned(), text.into())
            .ok()?;
        let parsed = dockerfile::parse(&file);
        if parsed.diagnostics.iter().any(Diagnostic::is_error) {
            return None;
        }
        Some((sources, file, parsed.dockerfile?, parsed.diagnostics))
    }

    /// What there is to say about a text that parses.
    fn examine(&mut self, text: &str) -> Result<(Checked, Sources, SourceFile), BuildError> {
        let no_longer_parses = || BuildError::Dockerfile(Vec::new());
        let (mut sources, file, dockerfile, remarks) =
            self.parse(text).ok_or_else(no_longer_parses)?;
        let checked = examine(
            self.request,
            (&self.resolver, Some(&self.resolver)),
            &self.opened,
            (&dockerfile, &remarks),
            &mut sources,
            &mut self.vertices,
        )?;
        Ok((checked, sources, file))
    }

    /// The text with the edits of some findings of a rule, if that changes nothing but the text.
    fn apply(
        &mut self,
        file: &SourceFile,
        rule: &str,
        findings: &[&Diagnostic],
        round: usize,
    ) -> Result<String, Refusal> {
        if round > MOST_ROUNDS {
            return Err(Refusal::Useless);
        }
        let edits = findings.iter().flat_map(|finding| &finding.fix);
        let text = edited(file, edits).ok_or(Refusal::Overlap)?;
        if text == file.text() {
            return Err(Refusal::Useless);
        }
        let before = self.meanings(file.text(), rule).ok_or(Refusal::Invalid)?;
        let after = self.meanings(&text, rule).ok_or(Refusal::Invalid)?;
        match before == after {
            true => Ok(text),
            false => Err(Refusal::Image),
        }
    }

    /// For each stage what would be built, or why nothing would. `None` if the text does not parse.
    fn meanings(&mut self, text: &str, rule: &str) -> Option<Vec<Result<String, String>>> {
        let (mut sources, _, dockerfile, _) = self.parse(text)?;
        let mut meanings = Vec::new();
        for stage in 0..dockerfile.stages.len() {
            let mut request = self.request.clone();
            // Names of stages begin with a letter, so a number is a position.
            request.plan.target = Some(stage.to_string());
            let planned = crate::build::platforms::plan_all(
                &request,
                &self.resolver,
                (&dockerfile, &self.opened),
                &mut sources,
                &mut self.vertices,
            );
            meanings.push(match planned {
                Ok((plan, _)) => Ok(meaning(plan, rule)),
                Err(error) => Err(error.to_string()),
            });
        }
        Some(meanings)
    }
}

/// All of a plan but how it is told to people, and but that which the rule is there to change.
fn meaning(mut plan: Plan, rule: &str) -> String {
    for step in &mut plan.steps {
        step.label.clear();
    }
    plan.observations.clear();
    for image in &mut plan.images {
        leave_out(image, rule);
    }
    plan::dump(&plan)
}

/// Takes out of an image what a rule is there to change.
fn leave_out(image: &mut PlannedImage, rule: &str) {
    let config = &mut image.config;
    match rule {
        // The author of the image becomes a label.
        "MaintainerDeprecated" => {
            config.set("Labels", labels_without_author(config));
            image.history.retain(|entry| {
                !entry.created_by.starts_with("MAINTAINER ")
                    && !entry
                        .created_by
                        .starts_with("LABEL org.opencontainers.image.authors=")
            });
        }
        // The shell goes, its words stay.
        "JSONArgsRecommended" => {
            let entrypoint = config.get::<Vec<String>>("Entrypoint").unwrap_or_default();
            let command = config.get::<Vec<String>>("Cmd").unwrap_or_default();
            let command = match shell_text(&entrypoint) {
                None if entrypoint.is_empty() => words(&command),
                // The entry point gets the command as it is, its shell included.
                None => json!(command),
                // An entry point in a shell never sees the command; without the shell it would.
                Some(_) => json!([]),
            };
            config.set("Entrypoint", Some(words(&entrypoint)));
            config.set("Cmd", Some(command));
            image.history.retain(|entry| {
                !entry.created_by.starts_with("CMD ")
                    && !entry.created_by.starts_with("ENTRYPOINT ")
            });
        }
        _ => {}
    }
}

/// The labels but for that of the image's authors.
fn labels_without_author(config: &Config) -> Option<Value> {
    let mut labels = config.get::<BTreeMap<String, String>>("Labels")?;
    labels.remove("org.opencontainers.image.authors");
    (!labels.is_empty()).then(|| json!(labels))
}

/// The text that a shell is started with.
fn shell_text(argv: &[String]) -> Option<&str> {
    match argv {
        [shell, flag, text] if shell == "/bin/sh" && flag == "-c" => Some(text),
        _ => None,
    }
}

/// The words of a command, which a shell splits at white space if there is nothing else in the text for it to do.
fn words(argv: &[String]) -> Value {
    match shell_text(argv) {
        Some(text) => json!(text.split_ascii_whitespace().collect::<Vec<_>>()),
        None => json!(argv),
    }
}

#[cfg(test)]
mod tests;
