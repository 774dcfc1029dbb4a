//! `builder du` and `builder prune`

use std::path::Path;
use std::time::SystemTime;

use super::super::args::{DuArgs, PruneArgs};
use super::super::failure::Failure;
use super::super::settings::{self, Environment};
use super::super::values;
use crate::store::{ObjectKind, PruneRequest, Store, StoredObject, Usage};
use crate::ui::{self, Align, Console, Table};

/// Shows what the store takes.
pub(in crate::cli) fn du(
    args: &DuArgs,
    root: &Path,
    environment: &Environment,
) -> Result<(), Failure> {
    let usage = match existing(root)? {
        Some(store) => store.usage().map_err(Failure::environment)?,
        None => Usage::default(),
    };
    let mut console = Console::process(environment.colours);
    let text = match args.json {
        true => format!("{}\n", usage_json(&usage, args.verbose)),
        false => {
            let objects = match args.verbose {
                true => objects_table(&usage.objects) + "\n",
                false => String::new(),
            };
            objects + &kinds_table(&usage)
        }
    };
    console.write(text).map_err(Failure::environment)
}

/// Removes cache.
pub(in crate::cli) fn prune(
    args: &PruneArgs,
    root: &Path,
    environment: &Environment,
) -> Result<(), Failure> {
    let request = request(args)?;
    let mut console = Console::process(environment.colours);
    let Some(store) = existing(root)? else {
        return console
            .line("there is no store yet: nothing to remove")
            .map_err(Failure::environment);
    };
    let now = settings::clock()();
    let pruned = store.prune(&request, now).map_err(Failure::environment)?;
    if args.verbose || args.dry_run {
        let table = objects_table(&pruned.removed);
        console.write(table).map_err(Failure::environment)?;
    }
    let verb = match args.dry_run {
        true => "would remove",
        false => "removed",
    };
    let line = format!(
        "{verb} {} objects, {}; the store takes {}",
        pruned.removed.len(),
        ui::size(pruned.bytes()),
        ui::size(pruned.left)
    );
    console.line(line).map_err(Failure::environment)
}

/// The store, if there is one: what takes no space is not made to be measured.
pub(super) fn existing(root: &Path) -> Result<Option<Store>, Failure> {
    Store::open_existing(root)
        .map_err(|error| Failure::environment(format!("cannot open the store: {error}")))
}

fn request(args: &PruneArgs) -> Result<PruneRequest, Failure> {
    let size = |text: &Option<String>| {
        let size = text.as_deref().map(values::size);
        size.transpose().map_err(Failure::usage)
    };
    let mut request = PruneRequest {
        keep: size(&args.keep)?,
        max: size(&args.max)?,
        dry_run: args.dry_run,
        ..PruneRequest::default()
    };
    for text in &args.filter {
        let wrong = |problem: &str| {
            Failure::usage(format!("--filter {text}: {problem}"))
                .hint("`builder prune --help` lists the filters")
        };
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| wrong("expected NAME=VALUE"))?;
        match name {
            "until" | "unused-for" => {
                let limit = values::duration(value).map_err(|error| wrong(&error))?;
                request.unused_for = Some(request.unused_for.map_or(limit, |old| old.max(limit)));
            }
            "type" => {
                let mut kinds = ObjectKind::ALL.into_iter();
                let kind = kinds.find(|kind| kind.word() == value);
                request
                    .kinds
                    .push(kind.ok_or_else(|| wrong("there is no such kind"))?);
            }
            "id" => request.ids.push(value.to_owned()),
            "description" => request.about.push(value.to_owned()),
            _ => return Err(wrong("there is no such filter")),
        }
    }
    Ok(request)
}

/// What is said of a kind: heading, and what is in it.
fn heading(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Layer => "layers",
        ObjectKind::Blob => "blobs",
        ObjectKind::CacheMount => "cache mounts",
        ObjectKind::Record => "records",
        ObjectKind::Scratch => "work in progress",
        ObjectKind::Fixed => "fixed",
    }
}

/// Number, bytes, and bytes that could be had back.
fn sums(usage: &Usage, kind: ObjectKind) -> (usize, u64, u64) {
    let of_kind = || usage.objects.iter().filter(|object| object.kind == kind);
    let free = of_kind().filter(|object| object.is_reclaimable());
    (
        of_kind().count(),
        of_kind().map(|object| object.bytes).sum(),
        free.map(|object| object.bytes).sum(),
    )
}

fn kinds_table(usage: &Usage) -> String {
    let mut table = Table::new(&[
        ("KIND", Align::Left),
        ("COUNT", Align::Right),
        ("SIZE", Align::Right),
        ("RECLAIMABLE", Align::Right),
    ]);
    for kind in ObjectKind::ALL {
        let (count, bytes, free) = sums(usage, kind);
        let count = match kind {
            ObjectKind::Scratch | ObjectKind::Fixed => String::new(),
            _ => count.to_string(),
        };
        table.row([
            heading(kind).to_owned(),
            count,
            ui::size(bytes),
            ui::size(free),
        ]);
    }
    table.row([
        "total".to_owned(),
        String::new(),
        ui::size(usage.total()),
        ui::size(usage.reclaimable()),
    ]);
    table.render()
}

fn objects_table(objects: &[StoredObject]) -> String {
    let mut table = Table::new(&[
        ("KIND", Align::Left),
        ("ID", Align::Left),
        ("SIZE", Align::Right),
        ("USED", Align::Left),
        ("STATE", Align::Left),
        ("DESCRIPTION", Align::Left),
    ]);
    let mut sorted: Vec<&StoredObject> = objects.iter().collect();
    sorted.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.id.cmp(&b.id)));
    for object in sorted {
        let is_digest = matches!(object.kind, ObjectKind::Layer | ObjectKind::Blob);
        let id = match is_digest {
            true => object.id.chars().take(12).collect(),
            false => object.id.clone(),
        };
        table.row([
            object.kind.word().to_owned(),
            id,
            ui::size(object.bytes),
            object.used.map(since).unwrap_or_default(),
            state(object).to_owned(),
            ui::excerpt(&object.about, 60),
        ]);
    }
    table.render()
}

fn state(object: &StoredObject) -> &'static str {
    match (object.named, object.in_use) {
        (_, true) => "in use",
        (true, _) => "image",
        _ if object.is_reclaimable() => "reclaimable",
        _ => "",
    }
}

fn since(used: SystemTime) -> String {
    let now = settings::clock()();
    ui::age(now.duration_since(used).unwrap_or_default())
}

fn usage_json(usage: &Usage, verbose: bool) -> serde_json::Value {
    let kind = |kind: &ObjectKind| {
        let (count, bytes, free) = sums(usage, *kind);
        serde_json::json!({ "kind": kind.word(), "count": count, "bytes": bytes, "reclaimable": free })
    };
    let mut value = serde_json::json!({
        "bytes": usage.total(),
        "reclaimable": usage.reclaimable(),
        "kinds": ObjectKind::ALL.iter().map(kind).collect::<Vec<_>>(),
    });
    if verbose {
        let object = |object: &StoredObject| {
            let seconds = object.used.and_then(|used| {
                let since = used.duration_since(SystemTime::UNIX_EPOCH).ok()?;
                Some(since.as_secs())
            });
            serde_json::json!({
                "kind": object.kind.word(),
                "id": object.id,
                "bytes": object.bytes,
                "used": seconds,
                "image": object.named,
                "in_use": object.in_use,
                "reclaimable": object.is_reclaimable(),
                "description": object.about,
            })
        };
        value["objects"] = usage.objects.iter().map(object).collect();
    }
    value
}
