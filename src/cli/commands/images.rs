//! `builder images` and `builder rmi`

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::args::{ImagesArgs, RmiArgs};
use super::super::failure::Failure;
use super::super::settings::{self, Environment};
use super::open_store;
use crate::oci::{Config, Reference};
use crate::store::{ImageRecord, Store, StoredImage};
use crate::ui::{self, Align, Console, Table};

/// Lists what is in the local store.
pub(in crate::cli) fn list(
    args: &ImagesArgs,
    root: &Path,
    environment: &Environment,
) -> Result<(), Failure> {
    let store = open_store(root, None)?;
    let mut images = store.images().map_err(Failure::environment)?;
    if let Some(name) = &args.name {
        let name = settings::name(name)?.to_string();
        images.retain(|image| image.name == name);
    }
    let mut console = Console::process(environment.colours);
    let text = if args.quiet {
        images
            .iter()
            .flat_map(|record| &record.images)
            .map(|image| format!("{}\n", image.config.digest))
            .collect()
    } else if args.json {
        let lines = images.iter().flat_map(|record| {
            let image = |image| json(&store, record, image);
            record.images.iter().map(image)
        });
        lines.collect()
    } else {
        table(&store, &images)
    };
    console.write(text).map_err(Failure::environment)
}

fn bytes(image: &StoredImage) -> u64 {
    image
        .layers
        .iter()
        .map(|layer| {
            layer
                .bytes
                .max(layer.blob.as_ref().map_or(0, |blob| blob.size))
        })
        .sum()
}

fn created(store: &Store, image: &StoredImage) -> Option<String> {
    Config::parse(&store.read_blob(image.config.digest)?)
        .ok()?
        .created()
}

fn json(store: &Store, record: &ImageRecord, image: &StoredImage) -> String {
    let value = serde_json::json!({
        "name": record.name,
        "platform": image.platform.to_string(),
        "id": image.config.digest,
        "created": created(store, image),
        "bytes": bytes(image),
        "layers": image.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>(),
    });
    format!("{value}\n")
}

fn table(store: &Store, records: &[ImageRecord]) -> String {
    let mut table = Table::new(&[
        ("REPOSITORY", Align::Left),
        ("TAG", Align::Left),
        ("IMAGE ID", Align::Left),
        ("PLATFORM", Align::Left),
        ("CREATED", Align::Left),
        ("SIZE", Align::Right),
    ]);
    let images = records
        .iter()
        .flat_map(|record| record.images.iter().map(|image| (&record.name, image)));
    for (name, image) in images {
        let reference = name.parse::<Reference>().ok();
        let tag = reference
            .as_ref()
            .and_then(Reference::tag)
            .unwrap_or("latest")
            .to_owned();
        let familiar = reference.map_or_else(|| name.clone(), |reference| reference.familiar());
        let repository = familiar
            .strip_suffix(&format!(":{tag}"))
            .unwrap_or(&familiar)
            .to_owned();
        let age = created(store, image)
            .as_deref()
            .and_then(age)
            .unwrap_or_else(|| "unknown".to_owned());
        table.row([
            repository,
            tag,
            image.config.digest.short(),
            image.platform.to_string(),
            age,
            ui::size(bytes(image)),
        ]);
    }
    table.render()
}

#[expect(
    clippy::disallowed_methods,
    reason = "an age is relative to now, and enters nothing that is built"
)]
pub(super) fn age(created: &str) -> Option<String> {
    use time::format_description::well_known::Rfc3339;
    let created = time::OffsetDateTime::parse(created, &Rfc3339).ok()?;
    let since = SystemTime::now()
        .duration_since(SystemTime::from(created))
        .unwrap_or(Duration::ZERO);
    Some(ui::age(since))
}

/// Takes names away. Layers stay as cache.
pub(in crate::cli) fn remove(
    args: &RmiArgs,
    root: &Path,
    environment: &Environment,
) -> Result<(), Failure> {
    let store = open_store(root, None)?;
    let mut console = Console::process(environment.colours);
    for text in &args.names {
        let name = settings::name(text)?;
        if !store
            .remove_image(&name.to_string())
            .map_err(Failure::environment)?
        {
            return Err(Failure::usage(format!(
                "no image `{}` in the local store",
                name.familiar()
            ))
            .hint("`builder images` lists what is there"));
        }
        console
            .line(format!("untagged {}", name.familiar()))
            .map_err(Failure::environment)?;
    }
    Ok(())
}
