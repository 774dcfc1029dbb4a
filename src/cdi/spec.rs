//! Files of specs: found, read and checked.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{CdiError, names, yaml};
use crate::fsio;

/// The longest file of a spec.
const MOST_BYTES: u64 = 4 << 20;

/// A spec as written. Fields that are not known here do not matter to containers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpecFile {
    cdi_version: String,
    pub(super) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) devices: Vec<DeviceEntry>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) container_edits: ContainerEdits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceEntry {
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) container_edits: ContainerEdits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerEdits {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) env: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) device_nodes: Vec<NodeEntry>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) mounts: Vec<MountEntry>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) hooks: Vec<HookEntry>,
    #[serde(default, deserialize_with = "or_default", alias = "additionalGIDs")]
    pub(super) additional_gids: Vec<u32>,
    pub(super) intel_rdt: Option<Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) net_devices: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeEntry {
    pub(super) path: String,
    pub(super) host_path: Option<PathBuf>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) file_mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MountEntry {
    pub(super) host_path: PathBuf,
    pub(super) container_path: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HookEntry {
    pub(super) hook_name: String,
}

/// A field that is `null` is one that is not there.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A text, also where YAML sees a number in it: the name of a device is often one.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("`{other}` is no text"))),
    }
}

/// The files of specs in a folder, sorted.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, CdiError> {
    let names = match fsio::read_dir_sorted(folder) {
        Err(error) if error.is_not_found() => Vec::new(),
        names => names?,
    };
    let paths = names.iter().map(|name| folder.join(name));
    let is_spec = |path: &PathBuf| {
        path.extension()
            .is_some_and(|ending| ending == "json" || ending == "yaml")
    };
    Ok(paths.filter(is_spec).collect())
}

pub(super) fn read(path: &Path) -> Result<SpecFile, CdiError> {
    let mut text = String::new();
    let mut file = fsio::open(path)?.take(MOST_BYTES + 1);
    file.read_to_string(&mut text)
        .map_err(|source| fsio::Error::new("read", path, source))?;
    let malformed = |reason: String| CdiError::Malformed {
        path: path.to_owned(),
        reason,
    };
    if text.len() as u64 > MOST_BYTES {
        return Err(malformed("it is too large".to_owned()));
    }
    let spec: SpecFile = if path.extension().is_some_and(|ending| ending == "json") {
        serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?
    } else {
        let value = yaml::parse(&text).map_err(malformed)?;
        serde_json::from_value(value).map_err(|error| malformed(error.to_string()))?
    };
    check(&spec).map_err(malformed)?;
    Ok(spec)
}

fn check(spec: &SpecFile) -> Result<(), String> {
    let version = spec.cdi_version.trim_start_matches('v');
    if !version.starts_with("0.") && !version.starts_with("1.") {
        return Err(format!("its version `{}` is not known", spec.cdi_version));
    }
    if !names::is_kind(&spec.kind) {
        return Err(format!("its kind `{}` is not VENDOR/CLASS", spec.kind));
    }
    for device in &spec.devices {
        if !names::is_device(&device.name) {
            return Err(format!("`{}` is no name of a device", device.name));
        }
    }
    Ok(())
}
