//! What is in a build context, for people and for programs.

use serde_json::{Value, json};

use super::table::{Align, Table};
use super::text::one_line;
use super::units::size;
use crate::context::{ContextReport, Listed};

/// One context and what is known of it.
#[derive(Debug)]
pub struct ContextView<'a> {
    /// Its name; nothing for the main one.
    pub name: Option<&'a str>,
    /// Its folder as the user wrote it.
    pub folder: String,
    /// The ignore file that holds for it.
    pub ignore_file: Option<String>,
    /// Whether the Dockerfile takes files from it; `None` where nobody knows.
    pub used: Option<bool>,
    /// What is in it.
    pub report: &'a ContextReport,
}

impl ContextView<'_> {
    /// As text of several lines; what the report lists, it shows.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = match self.name {
            Some(name) => format!("Context `{}`: {}\n", one_line(name), one_line(&self.folder)),
            None => format!("Context: {}\n", one_line(&self.folder)),
        };
        match &self.ignore_file {
            Some(file) => text.push_str(&format!("Ignore file: {}\n", one_line(file))),
            None => text.push_str("Ignore file: none\n"),
        }
        let report = self.report;
        let (files, directories) = (report.files, report.directories);
        text.push_str(&format!(
            "In: {} in {} and {}\n",
            size(report.bytes),
            count(files, "file", "files"),
            count(directories, "folder", "folders")
        ));
        let out: (u64, u64) = (report.rules.iter())
            .fold((0, 0), |sum, rule| (sum.0 + rule.files, sum.1 + rule.bytes));
        text.push_str(&format!(
            "Out: {} in {}\n",
            size(out.1),
            count(out.0, "file", "files")
        ));
        if self.used == Some(false) {
            text.push_str("Nothing in the Dockerfile takes files from it.\n");
        }
        self.rules(&mut text);
        if report.entries.is_empty() {
            self.largest(&mut text);
            self.excluded(&mut text);
        } else {
            self.entries(&mut text);
        }
        text
    }

    fn rules(&self, text: &mut String) {
        let report = self.report;
        if !report.rules.is_empty() {
            let mut table = Table::new(&[
                ("LINE", Align::Right),
                ("RULE", Align::Left),
                ("FILES OUT", Align::Right),
                ("SIZE", Align::Right),
            ]);
            for total in &report.rules {
                let rule = &total.rule;
                table.row([
                    rule.line.to_string(),
                    rule.pattern.clone(),
                    total.files.to_string(),
                    size(total.bytes),
                ]);
            }
            text.push_str(&format!("\n{}", table.render()));
        }
        if !report.idle_rules.is_empty() {
            text.push_str("\nRules that decide about nothing:\n");
            for rule in &report.idle_rules {
                let pattern = one_line(&rule.pattern);
                text.push_str(&format!("  line {}: {pattern}\n", rule.line));
            }
        }
    }

    fn largest(&self, text: &mut String) {
        if self.report.largest.is_empty() {
            return;
        }
        let mut table = Table::new(&[("SIZE", Align::Right), ("LARGEST FILES", Align::Left)]);
        for (path, bytes) in &self.report.largest {
            table.row([size(*bytes), path.display().to_string()]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }

    fn excluded(&self, text: &mut String) {
        let report = self.report;
        if report.excluded.is_empty() {
            return;
        }
        let mut table = Table::new(&[
            ("SIZE", Align::Right),
            ("FILES", Align::Right),
            ("STAYS OUT", Align::Left),
            ("BY", Align::Left),
        ]);
        for excluded in &report.excluded {
            table.row([
                size(excluded.bytes),
                excluded.files.to_string(),
                excluded.path.display().to_string(),
                excluded.rule.place(),
            ]);
        }
        text.push_str(&format!("\n{}", table.render()));
        if report.more_excluded > 0 {
            text.push_str(&format!(
                "and {} more; `--all` lists them\n",
                report.more_excluded
            ));
        }
    }

    fn entries(&self, text: &mut String) {
        let mut table = Table::new(&[
            ("SIZE", Align::Right),
            ("", Align::Left),
            ("PATH", Align::Left),
            ("BY", Align::Left),
        ]);
        for entry in &self.report.entries {
            let slash = if entry.directory { "/" } else { "" };
            table.row([
                if entry.directory {
                    String::new()
                } else {
                    size(entry.bytes)
                },
                if entry.excluded { "out" } else { "in" }.to_owned(),
                format!("{}{slash}", entry.path.display()),
                entry
                    .rule
                    .as_ref()
                    .map_or_else(String::new, |rule| rule.place()),
            ]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }

    /// As one JSON object on a line.
    #[must_use]
    pub fn json(&self) -> String {
        let report = self.report;
        let rule = |rule: &crate::context::RuleMatch| json!({"file": rule.file, "line": rule.line, "pattern": rule.pattern});
        let rules: Vec<Value> = (report.rules.iter())
            .map(|total| json!({"rule": rule(&total.rule), "files": total.files, "bytes": total.bytes}))
            .collect();
        let largest: Vec<Value> = (report.largest.iter())
            .map(|(path, bytes)| json!({"path": path.display().to_string(), "bytes": bytes}))
            .collect();
        let excluded: Vec<Value> = (report.excluded.iter())
            .map(|out| {
                let path = out.path.display().to_string();
                json!({"path": path, "rule": rule(&out.rule), "files": out.files, "bytes": out.bytes})
            })
            .collect();
        let entry = |entry: &Listed| {
            let kind = if entry.directory { "directory" } else { "file" };
            let path = entry.path.display().to_string();
            json!({"path": path, "kind": kind, "bytes": entry.bytes, "excluded": entry.excluded, "rule": entry.rule.as_ref().map(rule)})
        };
        let mut value = json!({
            "name": self.name,
            "folder": self.folder,
            "ignoreFile": self.ignore_file,
            "used": self.used,
            "files": report.files,
            "directories": report.directories,
            "bytes": report.bytes,
            "rules": rules,
            "idleRules": report.idle_rules.iter().map(rule).collect::<Vec<_>>(),
            "largest": largest,
            "excluded": excluded,
            "moreExcluded": report.more_excluded,
        });
        if !report.entries.is_empty() {
            value["entries"] = report.entries.iter().map(entry).collect();
        }
        format!("{value}\n")
    }
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
