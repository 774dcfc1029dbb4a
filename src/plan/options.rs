//! What planning depends on besides the Dockerfile: plain values, read by others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::step::{BaseRequest, BaseSource, NetworkMode};
use crate::oci::{BaseImage, Platform, Reference};

/// The wishes of the user that shape the graph.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Stage to build; the last one if absent.
    pub target: Option<String>,
    /// Without a target, plan every stage and not only those that the last one needs: for checking a whole file.
    pub all_stages: bool,
    /// Values of `ARG`s.
    pub build_args: BTreeMap<String, String>,
    /// Labels put on the image after everything else.
    pub labels: Vec<(String, String)>,
    /// The platform asked for; the build platform if absent.
    pub platform: Option<Platform>,
    /// The platform of the machine that builds.
    pub build_platform: Platform,
    /// What COPY takes files from that says nothing else.
    pub context: MainContext,
    /// Named contexts, by normalised name ([`context_name`]). `NAME::PLATFORM` is for one platform only, and goes first.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Network of RUN steps that do not say.
    pub network: NetworkMode,
    /// Steps that the cache must not answer.
    pub no_cache: NoCache,
    /// What a Dockerfile may ask for.
    pub entitlements: Entitlements,
}

impl PlanOptions {
    /// No wishes at all.
    #[must_use]
    pub fn new(build_platform: Platform) -> Self {
        Self {
            target: None,
            all_stages: false,
            build_args: BTreeMap::new(),
            labels: Vec::new(),
            platform: None,
            build_platform,
            context: MainContext::default(),
            contexts: BTreeMap::new(),
            network: NetworkMode::Default,
            no_cache: NoCache::Never,
            entitlements: Entitlements::default(),
        }
    }
}

/// The main build context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MainContext {
    /// A folder on the local disk.
    #[default]
    Directory,
    /// No files at all: only a Dockerfile was given.
    Empty,
    /// An image or tree.
    Base(BaseSource),
}

/// What `--build-context NAME=` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A folder on the local disk.
    Directory,
    /// Nothing at all.
    Scratch,
    /// An image or tree.
    Image(BaseSource),
    /// Another stage of the same file, by lower-case name: it stands in for an image or a stage.
    Stage(String),
}

/// Which steps the cache must not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoCache {
    /// None.
    #[default]
    Never,
    /// All.
    Always,
    /// Those of some stages, by lower-case name; `stage-N` for one without.
    Stages(BTreeSet<String>),
}

/// Privileges that are refused unless the user grants them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entitlements {
    /// `RUN --network=host`
    pub network_host: bool,
    /// `RUN --security=insecure`
    pub security_insecure: bool,
}

/// The images that planning asked for, once somebody found them.
pub type ResolvedBases = BTreeMap<BaseRequest, Arc<BaseImage>>;

/// A context's name as it is compared: `docker.io/library/` and `:latest` do not matter. A platform behind `::` is kept,
/// normalised.
#[must_use]
pub fn context_name(name: &str) -> String {
    if let Some((name, platform)) = name.split_once("::") {
        let platform = match platform.parse::<Platform>() {
            Ok(platform) => platform.to_string(),
            Err(_) => platform.to_lowercase(),
        };
        return format!("{}::{platform}", context_name(name));
    }
    match name.parse::<Reference>() {
        Ok(reference) => {
            let familiar = reference.familiar();
            familiar
                .strip_suffix(":latest")
                .unwrap_or(&familiar)
                .to_owned()
        }
        Err(_) => name.to_lowercase(),
    }
}
