//! `builder config`

use std::time::Duration;

use serde_json::{Value, json};

use super::super::args::ConfigArgs;
use super::super::failure::Failure;
use super::super::preferences::{Preferences, Setting};
use super::super::settings::Environment;
use crate::solve::Snapshotter;
use crate::ui::{Align, Console, Table};

/// A setting as it is shown.
struct Row {
    name: String,
    value: Value,
    from: String,
}

/// Prints every setting, its value and where that comes from.
pub(in crate::cli) fn run(
    args: &ConfigArgs,
    preferences: &Preferences,
    environment: &Environment,
) -> Result<(), Failure> {
    let rows = rows(preferences);
    let text = match args.json {
        true => as_json(&rows, preferences),
        false => as_table(&rows, preferences),
    };
    Console::process(environment.colours)
        .write(text)
        .map_err(Failure::environment)
}

fn rows(preferences: &Preferences) -> Vec<Row> {
    fn row<T>(name: impl Into<String>, setting: &Setting<T>, value: impl Into<Value>) -> Row {
        Row {
            name: name.into(),
            value: value.into(),
            from: setting.origin.to_string(),
        }
    }
    let Preferences {
        root,
        cache_max,
        jobs,
        tag_age,
        offline,
        memory,
        pids_limit,
        timeout,
        snapshotter,
        registries,
        files: _,
    } = preferences;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let limit = or_none(cache_max.value.map(size));
    let mut rows = vec![
        row("root", root, root.value.display().to_string()),
        row("cache-max", cache_max, limit),
        row("jobs", jobs, jobs.value.get()),
        row("tag-age", tag_age, age(tag_age.value)),
        row("offline", offline, offline.value),
        row("memory", memory, or_none(memory.value.map(size))),
        row(
            "pids-limit",
            pids_limit,
            or_none(pids_limit.value.map(|most| most.to_string())),
        ),
        row("timeout", timeout, or_none(timeout.value.map(age))),
        row(
            "snapshotter",
            snapshotter,
            snapshotter.value.map_or("auto", Snapshotter::word),
        ),
    ];
    for (name, registry) in registries {
        let key = |key: &str| format!("registry.\"{name}\".{key}");
        let mirrors = registry.mirrors.iter();
        rows.extend(mirrors.map(|mirrors| row(key("mirrors"), mirrors, mirrors.value.clone())));
        let insecure = registry.insecure.iter();
        rows.extend(insecure.map(|insecure| row(key("insecure"), insecure, insecure.value)));
    }
    rows
}

/// A size as a file would have it.
fn size(bytes: u64) -> String {
    let units = [
        (1 << 40, "T"),
        (1 << 30, "G"),
        (1 << 20, "M"),
        (1 << 10, "K"),
    ];
    let unit = units
        .into_iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, letter)) => format!("{}{letter}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// A duration as a file would have it.
fn age(age: Duration) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = age.as_secs();
    let mut text = String::new();
    for (seconds, letter) in units {
        if rest >= seconds {
            text.push_str(&format!("{}{letter}", rest / seconds));
            rest %= seconds;
        }
    }
    if text.is_empty() {
        "0".to_owned()
    } else {
        text
    }
}

fn as_table(rows: &[Row], preferences: &Preferences) -> String {
    let mut table = Table::new(&[
        ("SETTING", Align::Left),
        ("VALUE", Align::Left),
        ("FROM", Align::Left),
    ]);
    for row in rows {
        let value = match &row.value {
            Value::String(text) => text.clone(),
            Value::Array(texts) => {
                let texts = texts.iter().filter_map(Value::as_str);
                texts.collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        table.row([&row.name, &value, &row.from]);
    }
    let mut text = table.render();
    text.push('\n');
    for (path, there) in &preferences.files {
        let state = if *there { "read" } else { "not there" };
        text.push_str(&format!("{}: {state}\n", path.display()));
    }
    text
}

fn as_json(rows: &[Row], preferences: &Preferences) -> String {
    let settings = rows
        .iter()
        .map(|row| json!({"name": row.name, "value": row.value, "from": row.from}));
    let files = preferences
        .files
        .iter()
        .map(|(path, there)| json!({"path": path.display().to_string(), "read": there}));
    let settings: Vec<Value> = settings.collect();
    let files: Vec<Value> = files.collect();
    format!("{}\n", json!({"settings": settings, "files": files}))
}

#[cfg(test)]
mod tests {
    use super::super::super::values;
    use super::*;

    #[test]
    fn what_is_shown_can_be_written() {
        for bytes in [0, 1, 1024, 1536, 20 << 30, (20 << 30) + 1, 1 << 40] {
            assert_eq!(values::size(&size(bytes)), Ok(bytes));
        }
        for seconds in [0, 1, 60, 3600, 5400, 86_400, 90_061] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(values::duration(&age(duration)), Ok(duration));
        }
    }
}
