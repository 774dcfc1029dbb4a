//! Devices of the machine by name, as the Container Device Interface describes them: which there are, and what a step needs to
//! use one.
//!
//! Vendors put *specs* into folders; a spec has devices of one kind, `vendor.com/class`, and for each of them *edits*:
//! variables, device files, mounts, groups. Nothing here knows a step or a sandbox. What a spec wants beyond that is
//! refused, never left out.

mod edits;
mod error;
mod names;
mod spec;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use edits::{Edits, HostMount, Node, NodeKind};
pub use error::CdiError;

use spec::{DeviceEntry, SpecFile};

/// Where specs are on a machine, in the order of their weight, the last one counts most.
pub const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// A device with this annotation needs nobody's permission.
const ALLOWED: &str = "org.mobyproject.buildkit.device.autoallow";

/// Devices with this annotation are also found by its value.
const CLASS: &str = "org.mobyproject.buildkit.device.class";

/// The devices that the specs of some folders describe, by qualified name: `vendor.com/class=name`.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    devices: BTreeMap<String, Place>,
    problems: Vec<Arc<CdiError>>,
}

/// Where a device is described.
#[derive(Clone, Debug)]
struct Place {
    spec: Arc<Spec>,
    index: usize,
    /// Of the folder.
    weight: usize,
}

#[derive(Debug)]
struct Spec {
    path: PathBuf,
    file: SpecFile,
}

impl Registry {
    /// Reads the specs of `folders`: files that end in `.json` or `.yaml`. Devices of a later folder replace those of an
    /// earlier one. A folder that is not there has no devices; a spec that cannot be used is a problem.
    #[must_use]
    pub fn read(folders: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        let mut unclear = BTreeSet::new();
        for (weight, folder) in folders.iter().enumerate() {
            let paths = match spec::files(folder) {
                Ok(paths) => paths,
                Err(error) => {
                    registry.problems.push(Arc::new(error));
                    continue;
                }
            };
            for path in paths {
                match spec::read(&path) {
                    Ok(file) => registry.add(&Arc::new(Spec { path, file }), weight, &mut unclear),
                    Err(error) => registry.problems.push(Arc::new(error)),
                }
            }
        }
        registry.devices.retain(|name, _| !unclear.contains(name));
        registry
    }

    /// Takes in the devices of a spec. Names that several specs of one folder describe become `unclear`.
    fn add(&mut self, spec: &Arc<Spec>, weight: usize, unclear: &mut BTreeSet<String>) {
        for (index, device) in spec.file.devices.iter().enumerate() {
            let name = format!("{}={}", spec.file.kind, device.name);
            let place = Place {
                spec: Arc::clone(spec),
                index,
                weight,
            };
            let Some(before) = self.devices.insert(name.clone(), place) else {
                continue;
            };
            if before.weight == weight {
                // Which of them is meant nobody can tell, unless a folder of more weight says it.
                unclear.insert(name.clone());
                let paths = (before.spec.path.clone(), spec.path.clone());
                self.problems
                    .push(Arc::new(CdiError::Twice { name, paths }));
            } else {
                unclear.remove(&name);
            }
        }
    }

    /// What is wrong with specs. Devices of others are not affected.
    #[must_use]
    pub fn problems(&self) -> &[Arc<CdiError>] {
        &self.problems
    }

    /// The qualified names of the devices that a name asks for: `vendor.com/class=name`, a class annotation in the place of
    /// the name, `vendor.com/class` for the first device of a kind, `vendor.com/class=*` for all. None if there are none.
    ///
    /// # Errors
    /// A name that cannot be one.
    pub fn find(&self, wanted: &str) -> Result<Vec<String>, CdiError> {
        let (kind, name) = match wanted.split_once('=') {
            Some((kind, name)) => (kind, name),
            None => (wanted, ""),
        };
        if !names::is_kind(kind) {
            return Err(CdiError::Name(wanted.to_owned()));
        }
        let of_kind = || {
            let with_equals = format!("{kind}=");
            let names = self.devices.iter();
            names.filter(move |(name, _)| name.starts_with(&with_equals))
        };
        let names: Vec<&String> = match name {
            "" => of_kind().map(|(name, _)| name).take(1).collect(),
            "*" => of_kind().map(|(name, _)| name).collect(),
            _ => match self.devices.get_key_value(wanted) {
                Some((name, _)) => vec![name],
                None => {
                    let of_class = |place: &Place| place.annotation(CLASS).as_deref() == Some(name);
                    let found = of_kind().filter(|(_, place)| of_class(place));
                    found.map(|(name, _)| name).collect()
                }
            },
        };
        Ok(names.into_iter().cloned().collect())
    }

    /// Whether the machine's owner lets every build use a device.
    #[must_use]
    pub fn is_allowed_to_all(&self, name: &str) -> bool {
        let value = self.devices.get(name);
        let value = value.and_then(|place| place.annotation(ALLOWED));
        matches!(
            value.as_deref(),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True")
        )
    }

    /// What a step needs to use devices, given by their qualified names: first what the spec wants for all of its
    /// devices, then what the device wants.
    ///
    /// # Errors
    /// A spec that wants what is not supported, or a device file that is not there.
    pub fn edits(&self, names: &[String]) -> Result<Edits, CdiError> {
        let mut edits = Edits::default();
        let mut seen: Vec<&Path> = Vec::new();
        for name in names {
            let Some(place) = self.devices.get(name) else {
                return Err(CdiError::Name(name.clone()));
            };
            let spec = &place.spec;
            if !seen.contains(&spec.path.as_path()) {
                seen.push(&spec.path);
                edits.add(name, &spec.file.container_edits)?;
            }
            edits.add(name, &place.device().container_edits)?;
        }
        Ok(edits)
    }
}

impl Place {
    fn device(&self) -> &DeviceEntry {
        &self.spec.file.devices[self.index]
    }

    /// The device's own annotation, else that of its spec.
    fn annotation(&self, key: &str) -> Option<String> {
        let own = self.device().annotations.get(key);
        let value = own.or_else(|| self.spec.file.annotations.get(key))?;
        Some(match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

#[cfg(test)]
mod tests;
