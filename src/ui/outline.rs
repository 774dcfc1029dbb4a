//! What a Dockerfile offers and takes, as tables and as the reference client's JSON.

use serde_json::{Value, json};

use super::findings_json::{location, pretty};
use super::table::{Align, Table};
use super::text;
use crate::oci::base64;
use crate::plan::{Outline, OutlineNeed, Target};
use crate::source::{SourceMap, Span};

/// What can be asked of a Dockerfile besides a build.
const METHODS: [(&str, &str); 4] = [
    ("outline", "Arguments, secrets and SSH agents of a target"),
    ("targets", "Stages that can be built"),
    ("lint", "Doubts about the Dockerfile"),
    ("subrequests.describe", "This list"),
];

/// The version of the form of each answer.
const VERSION: &str = "1.0.0";

/// The targets of a Dockerfile as a table.
#[must_use]
pub fn targets_text(targets: &[Target]) -> String {
    let mut table = Table::new(&[("TARGET", Align::Left), ("DESCRIPTION", Align::Left)]);
    for target in targets {
        let name = match (&target.name, target.default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            (None, false) => String::new(),
        };
        table.row([name.as_str(), target.description.as_deref().unwrap_or("")]);
    }
    table.render()
}

/// The targets of a Dockerfile for programs.
#[must_use]
pub fn targets_json(sources: &SourceMap, targets: &[Target]) -> String {
    let target = |target: &Target| {
        let mut value = json!({ "base": target.base });
        set(&mut value, "name", target.name.as_deref());
        set(&mut value, "description", target.description.as_deref());
        set(&mut value, "platform", target.platform.as_deref());
        if target.default {
            value["default"] = json!(true);
        }
        value["location"] = place(sources, target.span);
        value
    };
    let targets: Vec<Value> = targets.iter().map(target).collect();
    pretty(&json!({ "targets": targets, "sources": texts(sources) }))
}

/// What a target takes, as tables.
#[must_use]
pub fn outline_text(outline: &Outline) -> String {
    let mut parts = Vec::new();
    if outline.name.is_some() || outline.description.is_some() {
        let name = text::one_line(outline.name.as_deref().unwrap_or("(default)"));
        let head = match &outline.description {
            None => format!("TARGET: {name}\n"),
            Some(description) => {
                let description = text::one_line(description);
                format!("TARGET:      {name}\nDESCRIPTION: {description}\n")
            }
        };
        parts.push(head);
    }
    if !outline.arguments.is_empty() {
        let headings = ["BUILD ARG", "VALUE", "DESCRIPTION"].map(|heading| (heading, Align::Left));
        let mut table = Table::new(&headings);
        for argument in &outline.arguments {
            table.row([
                argument.name.as_str(),
                argument.value.as_deref().unwrap_or(""),
                argument.description.as_deref().unwrap_or(""),
            ]);
        }
        parts.push(table.render());
    }
    for (heading, needs) in [("SECRET", &outline.secrets), ("SSH", &outline.agents)] {
        if !needs.is_empty() {
            let mut table = Table::new(&[(heading, Align::Left), ("REQUIRED", Align::Left)]);
            for need in needs {
                table.row([need.id.as_str(), if need.required { "true" } else { "" }]);
            }
            parts.push(table.render());
        }
    }
    parts.join("\n")
}

/// What a target takes, for programs.
#[must_use]
pub fn outline_json(sources: &SourceMap, outline: &Outline) -> String {
    let mut value = json!({ "sources": texts(sources) });
    set(&mut value, "name", outline.name.as_deref());
    set(&mut value, "description", outline.description.as_deref());
    let arguments: Vec<Value> = outline
        .arguments
        .iter()
        .map(|argument| {
            let mut value = json!({ "name": argument.name });
            set(&mut value, "description", argument.description.as_deref());
            set(&mut value, "value", argument.value.as_deref());
            value["location"] = place(sources, argument.span);
            value
        })
        .collect();
    let needs = |needs: &[OutlineNeed]| -> Vec<Value> {
        let need = |need: &OutlineNeed| {
            let mut value = json!({ "name": need.id, "location": place(sources, need.span) });
            if need.required {
                value["required"] = json!(true);
            }
            value
        };
        needs.iter().map(need).collect()
    };
    let lists = [
        ("args", arguments),
        ("secrets", needs(&outline.secrets)),
        ("ssh", needs(&outline.agents)),
    ];
    for (key, list) in lists {
        if !list.is_empty() {
            value[key] = json!(list);
        }
    }
    pretty(&value)
}

/// What can be asked of a Dockerfile, as a table.
#[must_use]
pub fn methods_text() -> String {
    let headings = ["NAME", "VERSION", "DESCRIPTION"].map(|heading| (heading, Align::Left));
    let mut table = Table::new(&headings);
    for (name, description) in METHODS {
        table.row([name, VERSION, description]);
    }
    table.render()
}

/// What can be asked of a Dockerfile, for programs.
#[must_use]
pub fn methods_json() -> String {
    let method = |(name, description): (&str, &str)| {
        json!({
            "name": format!("frontend.{name}"),
            "version": VERSION,
            "type": "rpc",
            "description": description,
        })
    };
    pretty(&Value::from_iter(METHODS.map(method)))
}

/// Sets a field that has a value.
fn set(value: &mut Value, key: &str, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        value[key] = json!(text);
    }
}

fn place(sources: &SourceMap, span: Span) -> Value {
    location(sources, Some(span))
}

fn texts(sources: &SourceMap) -> Vec<String> {
    let text = |file: &crate::source::SourceFile| base64::encode(file.text().as_bytes());
    sources.iter().map(text).collect()
}
