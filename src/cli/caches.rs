//! Caches outside this machine, as flags: `--cache-from`, `--cache-to`, `--cache-mounts`.

use clap::Args;

use super::failure::Failure;
use crate::cache::mounts::MountsSpec;
use crate::cache::{CacheSpecError, Defaults, ExportSpec, ExportTo, ImportSpec, Place, Request};

/// Flags for caches outside this machine.
#[derive(Debug, Default, Args)]
pub(super) struct CacheArgs {
    /// A cache to look in for what the local store does not have, repeatable: REF, type=registry,ref=REF,
    /// type=local,src=DIR, type=s3,bucket=NAME,region=REGION
    #[arg(long, value_name = "SPEC")]
    pub(super) cache_from: Vec<String>,

    /// Where to write the cache of this build, repeatable: as --cache-from (type=local has dest=DIR), or type=inline;
    /// with mode=max all steps, not only those of the image
    #[arg(long, value_name = "SPEC")]
    pub(super) cache_to: Vec<String>,

    /// Where folders of RUN --mount=type=cache are restored from and saved to, repeatable: as --cache-to;
    /// with id=ID only that one, max=SIZE, mode=restore|save|both
    #[arg(long, value_name = "SPEC")]
    pub(super) cache_mounts: Vec<String>,
}

impl CacheArgs {
    /// What they mean. `inline` adds a cache inside the image.
    pub(super) fn request(&self, defaults: &Defaults, inline: bool) -> Result<Request, Failure> {
        let from = all("--cache-from", &self.cache_from, |text| {
            ImportSpec::parse(text, defaults)
        })?;
        let mut to = all("--cache-to", &self.cache_to, |text| {
            ExportSpec::parse(text, defaults)
        })?;
        if inline && to.iter().all(|spec| spec.to != ExportTo::Inline) {
            to.push(ExportSpec::new(ExportTo::Inline));
        }
        let mounts = all("--cache-mounts", &self.cache_mounts, |text| {
            MountsSpec::parse(text, defaults)
        })?;
        Ok(Request { from, to, mounts })
    }
}

fn all<T>(
    flag: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, CacheSpecError>,
) -> Result<Vec<T>, Failure> {
    let parsed = texts.iter().map(|text| parse(text));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::usage(format!("{flag}: {error}")))
}

/// Where all the caches are, with the flags that say so.
fn places(request: &Request) -> impl Iterator<Item = (&'static str, &Place)> {
    let from = request
        .from
        .iter()
        .map(|spec| ("--cache-from", &spec.place));
    let to = request.to.iter().filter_map(|spec| match &spec.to {
        ExportTo::Place(place) => Some(("--cache-to", place)),
        ExportTo::Inline => None,
    });
    let mounts = request.mounts.iter();
    from.chain(to)
        .chain(mounts.map(|spec| ("--cache-mounts", &spec.place)))
}

/// The flag of a cache that is not on this machine.
pub(super) fn remote(request: &Request) -> Option<&'static str> {
    let mut places = places(request);
    places.find_map(|(flag, place)| match place {
        Place::Folder(_) => None,
        Place::Registry { .. } | Place::S3(_) => Some(flag),
    })
}

/// Registries of caches that may be spoken to without TLS.
pub(super) fn insecure_registries(request: &Request) -> Vec<String> {
    places(request)
        .filter_map(|(_, place)| match place {
            Place::Registry {
                reference,
                insecure: true,
            } => Some(reference.registry().to_owned()),
            _ => None,
        })
        .collect()
}
