//! What the words mean: flags and environment to a request. The environment is read once, here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use super::args::BuildArgs;
use super::failure::Failure;
use super::preferences::Preferences;
use super::{caches, contexts, permissions, run_settings, values};

use crate::build::{
    ContextSource, DockerfileSource, PlanRequest, Request, RequireCached, SourceRequest,
};
use crate::cache::{self, Defaults};
use crate::export::{Destination, OutputKind, OutputSpec};
use crate::oci::{Platform, Reference};
use crate::plan::{NetworkMode, NoCache};
use crate::registry::{self, Credentials, Secret};
use crate::source::boolean;
use crate::ui;

/// What `--print` has that `--call` has not.
const PLAN: &str = "plan";

/// The environment as the builder sees it.
#[derive(Debug)]
pub(super) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// Whether the program was started as root; later it may be root of a namespace only.
    is_root: bool,
    /// Whether messages may have colours.
    pub(super) colours: bool,
    /// Whether standard error is a terminal.
    pub(super) terminal: bool,
    /// Whether the user wants to hear more (`--debug`).
    pub(super) debug: bool,
}

/// For tests of what a failing disk costs: see [`crate::fsio::fault`].
#[cfg(debug_assertions)]
fn arm_faults(variables: &BTreeMap<OsString, OsString>) {
    let get = |name: &str| variables.get(&OsString::from(name));
    let fault = get("BUILDER_FAULT").and_then(|text| text.to_str()?.parse().ok());
    let log = get("BUILDER_FAULT_LOG").and_then(|path| crate::fsio::create(path).ok());
    if fault.is_some() || log.is_some() {
        crate::fsio::fault::arm(fault, log);
    }
}

impl Environment {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub(super) fn read() -> Self {
        let variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        #[cfg(debug_assertions)]
        arm_faults(&variables);
        let terminal = ui::stderr_is_terminal();
        let plain = variables
            .get(&OsString::from("NO_COLOR"))
            .is_some_and(|value| !value.is_empty());
        Self {
            variables,
            colours: terminal && !plain,
            terminal,
            debug: false,
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// With these variables and no terminal.
    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter();
        Self {
            variables: variables
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            colours: false,
            terminal: false,
            debug: false,
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// The folder of the store where nobody chose one: the system's for root and the user's for others.
    pub(super) fn data_folder(&self) -> PathBuf {
        if self.is_root {
            return PathBuf::from("/var/lib/builder");
        }
        let home = || {
            self.path("HOME")
                .unwrap_or_else(|| PathBuf::from("/"))
                .join(".local/share")
        };
        self.path("XDG_DATA_HOME")
            .unwrap_or_else(home)
            .join("builder")
    }

    /// A variable that is set, not empty and UTF-8.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(&OsString::from(name))?
            .to_str()
            .filter(|value| !value.is_empty())
    }

    /// What `git` may know of the environment: where programs are, how to reach the network, who asks over SSH.
    pub(super) fn for_git(&self) -> Vec<(OsString, OsString)> {
        const NAMES: [&str; 11] = [
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "TMPDIR",
            "SSH_AUTH_SOCK",
            "GIT_SSH",
            "GIT_SSH_COMMAND",
            "GIT_SSL_CAINFO",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ];
        let is_proxy = |name: &str| {
            let upper = name.to_ascii_uppercase();
            upper == "NO_PROXY"
                || upper
                    .strip_suffix("_PROXY")
                    .is_some_and(|p| matches!(p, "HTTP" | "HTTPS" | "ALL"))
        };
        let passed = |name: &OsString| {
            let name = name.to_str().unwrap_or_default();
            NAMES.contains(&name) || is_proxy(name)
        };
        let variables = self.variables.iter();
        variables
            .filter(|(name, _)| passed(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// The folders that programs are looked for in.
    pub(super) fn program_folders(&self) -> Vec<PathBuf> {
        let path = self.variable("PATH");
        let folders = path.map(std::env::split_paths).into_iter().flatten();
        folders.filter(|folder| folder.is_absolute()).collect()
    }

    /// A variable as it is, even if it is empty.
    pub(super) fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(&OsString::from(name))
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables
            .get(&OsString::from(name))
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }
}

/// How registries are spoken to.
pub(super) fn registry(
    insecure: &[String],
    preferences: &Preferences,
    environment: &Environment,
) -> Result<registry::Settings, Failure> {
    let docker = environment
        .path("DOCKER_CONFIG")
        .or_else(|| Some(environment.path("HOME")?.join(".docker")));
    let podman = environment
        .path("XDG_RUNTIME_DIR")
        .map(|folder| folder.join("containers/auth.json"));
    let files: Vec<PathBuf> = docker
        .map(|folder| folder.join("config.json"))
        .into_iter()
        .chain(podman)
        .collect();
    let credentials = Credentials::from_files(&files).unwrap_or_else(|error| {
        // Most builds need no login; one that does will say so.
        ui::Console::process(environment.colours)
            .warning(&format!("registry logins are not used: {error}"));
        Credentials::default()
    });
    let certificate_folders = vec![
        PathBuf::from("/etc/docker/certs.d"),
        PathBuf::from("/etc/containers/certs.d"),
    ];
    let registries = &preferences.registries;
    let marked = registries
        .iter()
        .filter(|(_, registry)| registry.insecure.as_ref().is_some_and(|i| i.value));
    let mirrors = registries.iter().filter_map(|(name, registry)| {
        let mirrors = registry.mirrors.as_ref()?;
        Some((name.clone(), mirrors.value.clone()))
    });
    Ok(registry::Settings {
        insecure: insecure
            .iter()
            .chain(marked.map(|(name, _)| name))
            .cloned()
            .collect(),
        mirrors: mirrors.collect(),
        offline: preferences.offline.value,
        credentials,
        certificate_folders,
        ..Default::default()
    })
}

/// A build as asked for.
pub(super) fn build(
    args: &BuildArgs,
    preferences: &Preferences,
    environment: &Environment,
) -> Result<Request, Failure> {
    let preferences = with_flags(args, preferences);
    let names = names(&args.tag)?;
    let outputs = outputs(&args.output, args.push, &names)?;
    refuse_pushes(&outputs, &preferences)?;
    let plan = plan(args, environment)?;
    let mut source = source(args)?;
    if switch(&plan, "BUILDKIT_CONTEXT_KEEP_GIT_DIR")? {
        contexts::keep_git_dir(&mut source.context).map_err(Failure::usage)?;
    }
    let inline = switch(&plan, "BUILDKIT_INLINE_CACHE")?;
    let cache = args.caches.request(&s3(environment), inline)?;
    refuse_caches(&cache, &preferences)?;
    let mut registry = registry(&args.input.insecure_registry, &preferences, environment)?;
    registry
        .insecure
        .extend(caches::insecure_registries(&cache));
    Ok(Request {
        source,
        cache,
        index: switch(&plan, "BUILDKIT_MULTI_PLATFORM")?,
        plan,
        run: run_settings::run(args, &preferences, environment)?,
        devices: permissions::devices(args),
        outputs,
        names,
        registry,
        root: preferences.root.value,
        pull: args.graph.pull,
        tag_age: preferences.tag_age.value,
        cache_max: preferences.cache_max.value,
        require_cached: args
            .require_cached
            .as_ref()
            .map(|stage| match stage.as_str() {
                "" => RequireCached::All,
                stage => RequireCached::Stage(stage.to_owned()),
            }),
        image_id_file: args.iidfile.clone(),
        jobs: preferences.jobs.value.get(),
        clock: clock(),
    })
}

/// What the environment says of S3.
fn s3(environment: &Environment) -> Defaults {
    let text = |name: &str| environment.get(name).map(str::to_owned);
    let secret = |name: &str| environment.get(name).map(Secret::new);
    Defaults {
        bucket: text("AWS_BUCKET"),
        region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")),
        endpoint: text("AWS_ENDPOINT_URL_S3").or_else(|| text("AWS_ENDPOINT_URL")),
        access_key_id: text("AWS_ACCESS_KEY_ID"),
        secret_access_key: secret("AWS_SECRET_ACCESS_KEY"),
        session_token: secret("AWS_SESSION_TOKEN"),
    }
}

/// The preferences with the flags of a build on top.
fn with_flags(args: &BuildArgs, preferences: &Preferences) -> Preferences {
    let preferences = preferences.clone();
    Preferences {
        cache_max: preferences.cache_max.or_flag(args.cache_max, "--cache-max"),
        jobs: preferences.jobs.or_flag(args.jobs, "--jobs"),
        tag_age: preferences.tag_age.or_flag(args.input.tag_age, "--tag-age"),
        offline: preferences.offline.or_flag(args.input.offline, "--offline"),
        snapshotter: preferences
            .snapshotter
            .or_flag(args.snapshotter, "--snapshotter"),
        ..preferences
    }
}

/// What cannot be done without a network is refused before anything is done.
pub(super) fn refuse_pushes(
    outputs: &[OutputSpec],
    preferences: &Preferences,
) -> Result<(), Failure> {
    match preferences.offline.value && outputs.iter().any(|output| output.push) {
        true => Err(Failure::usage(format!(
            "an image cannot be pushed without the network, which is off ({})",
            preferences.offline.origin
        ))
        .hint("push later with `builder save --push NAME`")),
        false => Ok(()),
    }
}

/// The same for caches, though they fail no build: that they are never looked at is hardly what was meant.
fn refuse_caches(caches: &cache::Request, preferences: &Preferences) -> Result<(), Failure> {
    match caches::remote(caches).filter(|_| preferences.offline.value) {
        Some(flag) => Err(Failure::usage(format!(
            "{flag} needs the network, which is off ({})",
            preferences.offline.origin
        ))
        .hint("leave it out, or use a folder (`type=local`)")),
        None => Ok(()),
    }
}

/// What to do instead of building, if anything.
pub(super) fn call(args: &BuildArgs) -> Result<Option<values::Call>, Failure> {
    match args.print.as_deref() {
        None if args.check => values::call("check").map_err(Failure::usage),
        None => values::call(&args.call).map_err(Failure::usage),
        Some(PLAN) => Ok(None),
        // What `--call` was called before.
        Some(method) => values::call(method).map_err(|error| {
            Failure::usage(error).hint("`--print plan` shows the instruction graph")
        }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that hands out the machine's clock"
)]
pub(super) fn clock() -> fn() -> SystemTime {
    SystemTime::now
}

pub(super) fn name(text: &str) -> Result<Reference, Failure> {
    text.parse::<Reference>()
        .map_err(|error| Failure::usage(format!("invalid tag \"{text}\": {error}")))
}

fn names(tags: &[String]) -> Result<Vec<Reference>, Failure> {
    let mut names = Vec::new();
    for tag in tags {
        let name = name(tag)?;
        if name.digest().is_some() {
            return Err(Failure::usage(format!(
                "invalid tag \"{tag}\": a name for a new image has no digest"
            )));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// `--output` and `--push`, checked together.
pub(super) fn outputs(
    texts: &[String],
    push: bool,
    names: &[Reference],
) -> Result<Vec<OutputSpec>, Failure> {
    use crate::export::OutputSpecError;
    let parsed = texts
        .iter()
        .map(|text| OutputSpec::parse(text))
        .collect::<Result<Vec<_>, _>>();
    let mut outputs = parsed.map_err(Failure::usage)?;
    if push {
        match outputs
            .iter_mut()
            .find(|output| output.kind == OutputKind::Image)
        {
            Some(image) => image.push = true,
            None => outputs.push(OutputSpec {
                push: true,
                ..OutputSpec::new(OutputKind::Image)
            }),
        }
    }
    let mut stdout = 0;
    for output in &outputs {
        for text in &output.names {
            name(text)?;
        }
        if output.push && output.names.is_empty() && names.is_empty() {
            let hint = "name the image with `--tag REGISTRY/NAME`";
            return Err(Failure::usage(OutputSpecError::NoTag).hint(hint));
        }
        let archive = matches!(output.kind, OutputKind::Oci | OutputKind::Docker);
        if archive && matches!(output.destination, None | Some(Destination::Stdout)) {
            stdout += 1;
            if ui::stdout_is_terminal() {
                return Err(Failure::usage(OutputSpecError::Console(output.kind.word())));
            }
        }
    }
    if stdout > 1 {
        return Err(Failure::usage(OutputSpecError::TwoStdout));
    }
    Ok(outputs)
}

fn source(args: &BuildArgs) -> Result<SourceRequest, Failure> {
    let context = contexts::main_context(&args.context).map_err(Failure::usage)?;
    let dockerfile = args
        .input
        .file
        .as_deref()
        .map(contexts::dockerfile)
        .transpose()
        .map_err(Failure::usage)?;
    if context == ContextSource::Stdin && dockerfile == Some(DockerfileSource::Stdin) {
        return Err(Failure::usage(
            "invalid argument: can't use stdin for both build context and dockerfile",
        ));
    }
    let mut named_contexts = BTreeMap::new();
    for text in &args.input.build_context {
        let (name, source) = contexts::named(text).map_err(Failure::usage)?;
        named_contexts.insert(name, source);
    }
    Ok(SourceRequest {
        context,
        dockerfile,
        named_contexts,
    })
}

fn plan(args: &BuildArgs, environment: &Environment) -> Result<PlanRequest, Failure> {
    let mut build_args = BTreeMap::new();
    if let Some(epoch) = environment.get("SOURCE_DATE_EPOCH") {
        build_args.insert("SOURCE_DATE_EPOCH".to_owned(), epoch.to_owned());
    }
    for text in &args.input.build_arg {
        match text.split_once('=') {
            Some((name, value)) => {
                build_args.insert(name.to_owned(), value.to_owned());
            }
            None => {
                let value = environment
                    .variables
                    .get(&OsString::from(text))
                    .and_then(|value| value.to_str());
                value.map(|value| build_args.insert(text.clone(), value.to_owned()));
            }
        }
    }
    let mut labels = Vec::new();
    for text in &args.label {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() {
            return Err(Failure::usage(format!(
                "invalid label \"{text}\": empty name"
            )));
        }
        labels.push((key.to_owned(), value.to_owned()));
    }
    let mut platforms = Vec::new();
    for text in args.input.platform.iter().filter(|text| !text.is_empty()) {
        let platform = match text.trim() {
            "local" => Platform::host(),
            text => text.parse().map_err(Failure::usage)?,
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(PlanRequest {
        target: args.input.target.clone(),
        all_stages: false,
        build_args,
        labels,
        platforms,
        network: args.graph.network.clone().unwrap_or(NetworkMode::Default),
        no_cache: no_cache(args)?,
        entitlements: permissions::entitlements(args)?,
    })
}

fn no_cache(args: &BuildArgs) -> Result<NoCache, Failure> {
    let stages = args
        .graph
        .no_cache_filter
        .iter()
        .filter(|name| !name.is_empty());
    let stages: BTreeSet<String> = stages.map(|name| name.trim().to_lowercase()).collect();
    match (args.graph.no_cache, stages.is_empty()) {
        (true, false) => Err(Failure::usage(
            "--no-cache and --no-cache-filter cannot currently be used together",
        )),
        (true, true) => Ok(NoCache::Always),
        (false, true) => Ok(NoCache::Never),
        (false, false) => Ok(NoCache::Stages(stages)),
    }
}

/// A build argument that turns something on.
fn switch(plan: &PlanRequest, name: &str) -> Result<bool, Failure> {
    match plan.build_args.get(name).map(String::as_str) {
        None | Some("") => Ok(false),
        Some(text) => boolean(text)
            .ok_or_else(|| Failure::usage(format!("invalid boolean value for {name}: {text}"))),
    }
}
