//! Fields to a typed mount: their values are expanded, read and checked, from left to right.

use super::super::ast::Word;
use super::super::keyword::did_you_mean;
use super::super::word::ExpandError;
use super::{CacheMount, Mount, MountError, MountField, MountSpec, Sharing};
use crate::source::{Span, boolean};

/// All keys.
pub(super) const KEYS: [&str; 19] = [
    "destination",
    "dst",
    "env",
    "from",
    "gid",
    "id",
    "mode",
    "readonly",
    "readwrite",
    "required",
    "ro",
    "rw",
    "sharing",
    "size",
    "source",
    "src",
    "target",
    "type",
    "uid",
];

/// The keys that may stand alone.
pub(super) const KEYS_WITHOUT_VALUE: [&str; 5] = ["readonly", "readwrite", "required", "ro", "rw"];

const TYPES: [&str; 5] = ["bind", "cache", "secret", "ssh", "tmpfs"];

/// What the fields seen so far say.
#[derive(Debug, Default)]
struct Settings {
    kind: Kind,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    id: Option<String>,
    env: Option<String>,
    sharing: Option<Sharing>,
    required: bool,
    size: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Secret,
    Ssh,
    Tmpfs,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// Makes a typed mount of a spec. `expand` expands one value in the environment of the instruction.
///
/// A target is as written: it is for the caller to join it with the working directory and to refuse `/`.
///
/// # Errors
/// A value that cannot be expanded, or fields that do not make a mount.
pub fn resolve(
    spec: &MountSpec,
    expand: &mut dyn FnMut(&Word) -> Result<String, ExpandError>,
) -> Result<Mount, MountError> {
    let mut settings = Settings::default();
    for field in &spec.fields {
        let value = match &field.value {
            Some(word) if field.key.value == "from" => Some(word.text.clone()),
            Some(word) => Some(expand(word)?),
            None => None,
        };
        let invalid = |message| MountError::Invalid {
            message,
            span: place(field),
        };
        settings
            .set(&field.key.value, value.as_deref())
            .map_err(invalid)?;
    }
    settings
        .into_mount()
        .map_err(|message| MountError::Invalid {
            message,
            span: spec.span,
        })
}

fn place(field: &MountField) -> Span {
    let key = field.key.span;
    field.value.as_ref().map_or(key, |value| key.to(value.span))
}

impl Settings {
    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let text = value.unwrap_or_default();
        let some = || Some(text.to_owned()).filter(|text| !text.is_empty());
        // A key that may stand alone is true then.
        let truth = || match value {
            None => Ok(true),
            Some(text) => boolean(text).ok_or_else(|| format!("invalid value for {key}: {text}")),
        };
        // A sign is no part of a number here.
        let number = |radix| {
            Some(text)
                .filter(|text| !text.starts_with('+'))
                .and_then(|text| u32::from_str_radix(text, radix).ok())
                .ok_or_else(|| format!("invalid value {text} for {key}"))
        };
        match key {
            "type" => self.kind = kind(text)?,
            "from" => self.from = some(),
            "source" | "src" => self.source = some(),
            "target" | "dst" | "destination" => self.target = some(),
            "readonly" | "ro" => self.read_only = Some(truth()?),
            "readwrite" | "rw" => self.read_only = Some(!truth()?),
            "required" if matches!(self.kind, Kind::Secret | Kind::Ssh) => self.required = truth()?,
            "size" if self.kind == Kind::Tmpfs => {
                let size = size(text).ok_or_else(|| format!("invalid value for size: {text}"))?;
                self.size = Some(size).filter(|&size| size > 0);
            }
            "env" if self.kind == Kind::Secret => self.env = some(),
            "required" | "size" | "env" => {
                return Err(format!(
                    "unexpected key '{key}' for mount type '{}'",
                    self.kind.name()
                ));
            }
            "id" => self.id = some(),
            "sharing" => self.sharing = Some(sharing(text)?),
            "mode" => self.mode = Some(number(8)?),
            "uid" => self.uid = Some(number(10)?),
            "gid" => self.gid = Some(number(10)?),
            _ => return Err(format!("unexpected key '{key}'")),
        }
        Ok(())
    }

    fn into_mount(self) -> Result<Mount, String> {
        self.check()?;
        let target = self.target.clone().unwrap_or_default();
        Ok(match self.kind {
            Kind::Bind => Mount::Bind {
                from: self.from,
                source: self.source,
                target,
                read_write: self.read_only == Some(false),
            },
            Kind::Cache => Mount::Cache(CacheMount {
                id: self.id,
                target,
                sharing: self.sharing.unwrap_or_default(),
                from: self.from,
                source: self.source,
                mode: self.mode,
                uid: self.uid,
                gid: self.gid,
                read_only: self.read_only == Some(true),
            }),
            Kind::Tmpfs => Mount::Tmpfs {
                target,
                size: self.size,
                read_only: self.read_only == Some(true),
            },
            Kind::Secret => self.into_secret()?,
            Kind::Ssh => Mount::Ssh {
                id: self.id,
                target: self.target,
                required: self.required,
                mode: self.mode,
                uid: self.uid,
                gid: self.gid,
            },
        })
    }

    fn check(&self) -> Result<(), String> {
        let kind = self.kind.name();
        if matches!(self.kind, Kind::Bind | Kind::Tmpfs) {
            let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return Err(format!("{key} not allowed for {kind:?} type mounts"));
            }
        }
        match self.kind {
            Kind::Secret if self.from.is_some() => {
                Err("secret mount should not have a from".to_owned())
            }
            Kind::Secret if self.sharing.is_some() => {
                Err("secret mount should not define sharing".to_owned())
            }
            Kind::Secret if self.source.is_some() && self.id.is_some() => {
                Err("both source and id can't be set".to_owned())
            }
            Kind::Ssh if self.source.is_some() => Err("ssh does not support source".to_owned()),
            Kind::Cache => Ok(()),
            _ if self.sharing.is_some() => {
                Err(format!("invalid cache sharing set for {kind} mount"))
            }
            _ => Ok(()),
        }
    }

    fn into_secret(self) -> Result<Mount, String> {
        let named = self.id.or(self.source);
        let Some(id) = named.or_else(|| self.target.as_deref().map(base_name)) else {
            return Err("invalid secret mount. one of source, target required".to_owned());
        };
        let target = match (self.target, &self.env) {
            (None, None) => Some(format!("/run/secrets/{}", base_name(&id))),
            (target, _) => target,
        };
        Ok(Mount::Secret {
            id,
            target,
            env: self.env,
            required: self.required,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
        })
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    Ok(match text.to_lowercase().as_str() {
        "bind" => Kind::Bind,
        "cache" => Kind::Cache,
        "secret" => Kind::Secret,
        "ssh" => Kind::Ssh,
        "tmpfs" => Kind::Tmpfs,
        _ => {
            return Err(format!(
                "unsupported mount type {text:?}{}",
                did_you_mean(text, TYPES)
            ));
        }
    })
}

fn sharing(text: &str) -> Result<Sharing, String> {
    Ok(match text.to_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => {
            let suggestion = did_you_mean(text, ["shared", "private", "locked"]);
            return Err(format!("unsupported sharing value {text:?}{suggestion}"));
        }
    })
}

/// A size in bytes: a number, which may have a fraction, and `k`, `m`, `g`, `t` or `p` for powers of 1024.
fn size(text: &str) -> Option<u64> {
    let lower = text.to_lowercase();
    let number_end = lower.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, unit) = lower.split_at(number_end.unwrap_or(lower.len()));
    let unit = unit.trim_start();
    let shift = match unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(unit)
    {
        "" if unit != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction: String = fraction.chars().take(9).collect();
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u128>().ok()?.checked_shl(shift)? / scale;
    let whole = whole.parse::<u64>().ok()?;
    u64::try_from((u128::from(whole) << shift).checked_add(part)?).ok()
}

/// The last element of a path.
fn base_name(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    let name = trimmed.rsplit('/').next().unwrap_or_default();
    match (name, path) {
        ("", "") => ".".to_owned(),
        ("", _) => "/".to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
