//! The grammar of `--cache-mounts`: the keys of a place, and which folders go which way.

use super::super::place::{Defaults, Place};
use super::super::spec::{CacheSpecError, find, pairs, place};

/// Where the folders of cache mounts come from and go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountsSpec {
    /// Where they are kept.
    pub place: Place,
    /// Only these cache mounts; all if empty.
    pub ids: Vec<String>,
    /// Bytes of content that a folder may have when it is saved; what is above is left out.
    pub max: Option<u64>,
    /// Whether folders that are empty here are filled before they are used.
    pub restore: bool,
    /// Whether the folders that a build used are saved after it.
    pub save: bool,
}

impl MountsSpec {
    /// Reads one value of `--cache-mounts`.
    ///
    /// # Errors
    /// A text that is none.
    pub fn parse(text: &str, defaults: &Defaults) -> Result<Self, CacheSpecError> {
        let pairs = pairs(text)?;
        let (kind, place) = place(&pairs, defaults, "local, registry or s3")?;
        let mode = find(&pairs, "mode").unwrap_or("both");
        if !matches!(mode, "restore" | "save" | "both") {
            let expected = "restore, save or both";
            return Err(CacheSpecError::value("mode", mode, expected));
        }
        let mut spec = Self {
            place,
            ids: Vec::new(),
            max: None,
            restore: mode != "save",
            save: mode != "restore",
        };
        for (key, value) in &pairs {
            match key.as_str() {
                "type" | "mode" => {}
                "id" => spec.ids.push(value.clone()),
                "max" => {
                    let bad = || CacheSpecError::value(key, value, "a size, as `2G`");
                    spec.max = Some(size(value).ok_or_else(bad)?);
                }
                _ if spec.place.set(key, value)? => {}
                _ => {
                    return Err(CacheSpecError::Key {
                        key: key.clone(),
                        kind,
                    });
                }
            }
        }
        spec.place = spec.place.checked("dest")?;
        Ok(spec)
    }

    /// Whether this is about a cache mount.
    #[must_use]
    pub fn is_about(&self, id: &str) -> bool {
        self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id)
    }
}

/// `500M`, `2G`: binary units, as for `--shm-size`.
fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_refusals() {
        let parse = |text: &str| MountsSpec::parse(text, &Defaults::default());
        let spec = parse("type=local,dest=/c,max=2G,id=a,id=b,mode=save").unwrap();
        assert_eq!(
            (spec.max, spec.restore, spec.save),
            (Some(2 << 30), false, true)
        );
        assert!(spec.is_about("a") && !spec.is_about("c"));
        let bare = parse("localhost:5000/mounts").unwrap();
        assert!(bare.restore && bare.save && bare.is_about("anything"));
        for (text, expected) in [
            ("type=inline", "unknown cache type `inline`"),
            ("type=local,dest=x,max=lots", "a size"),
            ("type=local,dest=x,mode=max", "restore, save or both"),
            ("type=local", "needs `dest=`"),
            ("type=local,dest=x,colour=red", "unknown key `colour`"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
