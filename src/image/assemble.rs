//! From a planned config and finished layers to the documents of an image.
//!
//! Times: a step's entry carries the time its layer was made, so that a rebuild from the cache gives the same bytes. An
//! entry without a layer takes the time of the layer before it, or of the first new layer where there is none before. An
//! image that has no layer at all has no time, as nothing says when it was made.

use crate::oci::{Config, Descriptor, Digest, HistoryEntry, Manifest, media_type};

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Assembly {
    /// The config without layers, history and times of this build.
    pub config: Config,
    /// Diff IDs of the base image's layers, bottom first.
    pub base_layers: Vec<Digest>,
    /// History of the base image.
    pub base_history: Vec<HistoryEntry>,
    /// What this build did, in order.
    pub steps: Vec<HistoryStep>,
    /// RFC 3339 time that bounds all times of this build (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<String>,
}

/// One instruction of this build.
#[derive(Clone, Debug)]
pub struct HistoryStep {
    /// Text of the history entry.
    pub created_by: String,
    /// The layer it made and when, RFC 3339.
    pub layer: Option<(Digest, String)>,
}

/// An image's config with its layers known.
#[derive(Clone, Debug)]
pub struct AssembledImage {
    /// The finished config.
    pub config: Config,
    /// Its layers, bottom first.
    pub diff_ids: Vec<Digest>,
}

/// Puts the config of an image together (config.md: history entries with a layer match the layers one to one).
#[must_use]
pub fn assemble(assembly: Assembly) -> AssembledImage {
    let Assembly {
        mut config,
        base_layers,
        base_history,
        steps,
        epoch,
    } = assembly;
    let base_time = config.created();
    let first_new = steps
        .iter()
        .find_map(|step| step.layer.as_ref().map(|(_, time)| time.clone()));
    let mut last = first_new.or(base_time);
    let mut history = fitted(base_history, base_layers.len());
    let mut diff_ids = base_layers;
    for step in steps {
        if let Some((diff_id, time)) = &step.layer {
            diff_ids.push(*diff_id);
            last = Some(time.clone());
        }
        history.push(HistoryEntry {
            created: bounded(last.as_deref(), epoch.as_deref()),
            created_by: Some(step.created_by),
            author: None,
            comment: Some("buildkit.dockerfile.v0".to_owned()),
            empty_layer: step.layer.is_none(),
        });
    }
    config.set_top(
        "created",
        bounded(last.as_deref(), epoch.as_deref()).map(serde_json::Value::from),
    );
    config.set_diff_ids(&diff_ids);
    config.set_history(&history);
    AssembledImage { config, diff_ids }
}

/// Times are all UTC in one format, so that text order is time order.
fn bounded(time: Option<&str>, epoch: Option<&str>) -> Option<String> {
    let bound = match (time, epoch) {
        (Some(time), Some(epoch)) => Some(time.min(epoch)),
        (time, epoch) => time.or(epoch),
    };
    bound.map(str::to_owned)
}

/// A base whose history does not match its layers (many tools write none) is padded or marked, so that the sum holds.
fn fitted(mut history: Vec<HistoryEntry>, layers: usize) -> Vec<HistoryEntry> {
    let mut named = 0;
    for entry in history.iter_mut().filter(|entry| !entry.empty_layer) {
        named += 1;
        entry.empty_layer = named > layers;
    }
    for _ in named..layers {
        let comment = Some("buildkit.exporter.image.v0".to_owned());
        history.push(HistoryEntry {
            comment,
            ..HistoryEntry::default()
        });
    }
    history
}

impl AssembledImage {
    /// The manifest over compressed layers, given in the order of `diff_ids`.
    #[must_use]
    pub fn manifest(&self, layers: Vec<Descriptor>) -> Manifest {
        let config = Descriptor::of(media_type::OCI_CONFIG, &self.config.to_bytes());
        Manifest {
            config,
            layers,
            annotations: std::collections::BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Platform;

    fn step(text: &str, layer: Option<(&str, &str)>) -> HistoryStep {
        let layer = layer.map(|(content, time)| (Digest::of(content), time.to_owned()));
        HistoryStep {
            created_by: text.to_owned(),
            layer,
        }
    }

    fn image(steps: Vec<HistoryStep>, base: usize, epoch: Option<&str>) -> Config {
        assemble(Assembly {
            config: Config::scratch(&Platform::new("linux", "amd64", "")),
            base_layers: (0..base).map(|n| Digest::of(n.to_string())).collect(),
            base_history: vec![],
            steps,
            epoch: epoch.map(str::to_owned),
        })
        .config
    }

    #[test]
    fn entries_match_layers_and_times_come_from_layers() {
        let steps = vec![
            step("ENV a=b", None),
            step("RUN x", Some(("x", "2024-01-02T00:00:00Z"))),
            step("CMD y", None),
        ];
        let config = image(steps.clone(), 2, None);
        let history = config.history();
        assert_eq!(
            history.iter().filter(|h| !h.empty_layer).count(),
            config.diff_ids().len()
        );
        let times: Vec<_> = history[2..]
            .iter()
            .map(|h| h.created.clone().unwrap())
            .collect();
        assert_eq!(times, ["2024-01-02T00:00:00Z"; 3]);
        assert_eq!(config.created().unwrap(), "2024-01-02T00:00:00Z");
        assert_eq!(
            image(steps, 0, Some("1970-01-01T00:00:01Z"))
                .created()
                .unwrap(),
            "1970-01-01T00:00:01Z"
        );
    }

    #[test]
    fn an_image_without_layers_has_the_epoch_or_no_time() {
        let steps = vec![step("LABEL a=b", None)];
        assert_eq!(image(steps.clone(), 0, None).created(), None);
        assert_eq!(image(steps.clone(), 0, None).history()[0].created, None);
        let epoch = "1970-01-01T00:00:01Z";
        assert_eq!(image(steps, 0, Some(epoch)).created().unwrap(), epoch);
    }
}
