//! The one orchestrator: runs the phases of a build in order. Phases know nothing of each other.
//!
//! read → parse → plan, resolving bases until nothing is missing → check → solve → assemble → name → export

mod cache;
mod check;
mod devices;
mod error;
mod fix;
mod foresight;
mod hints;
mod mend;
mod mentions;
mod output;
mod platforms;
mod remembered;
mod request;
mod resolve;
mod source;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use check::{Checked, MissingBase, MissingBases, check, outline, targets};
pub use devices::DeviceSettings;
pub use error::{BuildError, Category, ResolveError};
pub use fix::{Fixed, FixedFinding, Refusal, fix};
pub use foresight::{ForeseenBase, Foresight, forecast};
pub use mentions::{Mentions, mentions};
pub use output::save;
pub use request::{
    ContextSource, DockerfileSource, PlanRequest, Request, RequireCached, SourceRequest,
};
pub use resolve::{Found, ImageResolver, Resolver};
pub use source::Reader;

use crate::cdi::Registry;
use crate::context::{IgnoreFile, LocalContext};
use crate::dockerfile::Dockerfile;
use crate::fsio;
use crate::image::{Assembly, HistoryStep, assemble};
use crate::layer::Privileges;
use crate::lint;
use crate::oci::{Digest, Platform};
use crate::plan::{
    self, NamedContext, Observation, Plan, PlanOptions, PlannedImage, ResolvedBases, RunMount,
    StepKind, TreeSource,
};
use crate::sandbox::{Cancel, Footing, Networks, Rung, StepRunner};
use crate::solve::{
    self, BuildEvent, ContextTree, Environment, EventSink, ImportedSteps, Outcome, SavedMounts,
    Solution, VertexId,
};
use crate::source::{Diagnostic, SourceMap};
use crate::store::Store;
use source::Opened;

/// What a build works with besides its request.
#[derive(Debug)]
pub struct Tools<'a> {
    /// The local store.
    pub store: Arc<Store>,
    /// Finds base images.
    pub resolver: &'a dyn ImageResolver,
    /// Talks to registries.
    pub client: crate::registry::Client,
    /// What this process stands on.
    pub footing: Footing,
    /// The networks that steps are given.
    pub networks: &'a Networks,
    /// Runs the commands.
    pub runner: &'a dyn StepRunner,
    /// The user's wish to stop.
    pub cancel: Cancel,
    /// Where a context or Dockerfile called `-` comes from.
    pub stdin: fn() -> Box<dyn std::io::Read + Send>,
    /// Where artefacts without a destination go.
    pub stdout: fn() -> Box<dyn std::io::Write + Send>,
}

impl Tools<'_> {
    /// What of it reads contexts and Dockerfiles.
    fn reader(&self) -> Reader<'_> {
        Reader {
            resolver: self.resolver,
            store: Some(&self.store),
            stdin: self.stdin,
            cancel: self.cancel.clone(),
        }
    }
}

/// What a build made.
#[derive(Clone, Debug)]
pub struct Report {
    /// Digest of the config; of the index where several platforms were built.
    pub image_id: Digest,
    /// Steps in all, and those that the cache had.
    pub steps: (usize, usize),
    /// What the cache saved and cost.
    pub account: solve::Account,
    /// What the author should know.
    pub warnings: Vec<Diagnostic>,
}

/// What is known of the source, for the report of a failure too.
#[derive(Debug, Default)]
pub struct Sources {
    /// Every text.
    pub map: SourceMap,
    /// What was noticed of a file that cannot be planned.
    pub noticed: Vec<Observation>,
    /// What the checks found, as soon as they were made.
    pub warnings: Vec<Diagnostic>,
}

/// The vertices that are no steps: numbered before and after those of the solver.
pub(crate) struct Vertices<'s> {
    sink: &'s mut dyn EventSink,
    next: u32,
}

impl<'s> Vertices<'s> {
    pub(crate) fn new(sink: &'s mut dyn EventSink) -> Self {
        Self { sink, next: 1 }
    }

    /// Does a piece of work under a name.
    pub(crate) fn work<T>(
        &mut self,
        name: String,
        work: impl FnOnce(&mut dyn EventSink, VertexId) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let id = self.begin(name);
        let started = Instant::now();
        let result = work(self.sink, id);
        self.end(id, &result, started.elapsed());
        result
    }

    /// Begins a piece of work that is done elsewhere.
    fn begin(&mut self, name: String) -> VertexId {
        let id = VertexId(self.next);
        self.next += 1;
        self.sink.emit(BuildEvent::Started { id, name });
        id
    }

    /// Says something about a piece of work.
    fn note(&mut self, id: VertexId, text: String) {
        self.sink.emit(BuildEvent::Noted { id, text });
    }

    /// Ends a piece of work that nobody did.
    fn cancel(&mut self, id: VertexId) {
        self.sink.emit(BuildEvent::Cancelled { id });
    }

    /// Ends a piece of work that took so long.
    fn end<T>(&mut self, id: VertexId, result: &Result<T, BuildError>, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.sink.emit(match result {
            Ok(_) => BuildEvent::Finished {
                id,
                outcome: Outcome::Done,
                millis,
            },
            Err(error) if error.category() == Category::Interrupted => BuildEvent::Cancelled { id },
            Err(error) => BuildEvent::Failed {
                id,
                message: fsio::with_causes(error),
                millis,
            },
        });
    }
}

/// Runs a whole build. Events go to `sink`; the texts that diagnostics are about to `sources`.
///
/// # Errors
/// The first phase that failed.
pub fn build(
    request: &Request,
    tools: &Tools<'_>,
    sources: &mut Sources,
    sink: &mut dyn EventSink,
) -> Result<Report, BuildError> {
    if let Some(path) = &request.image_id_file {
        fsio::remove_file_if_there(path)?;
    }
    output::check(request)?;
    let mut vertices = Vertices::new(sink);
    let opened = source::open(request, &tools.reader(), sources, &mut vertices)?;
    let (dockerfile, remarks) = source::parse(&opened.file)?;
    warn_of_filters(&dockerfile, &request.plan, vertices.sink);
    let planned = platforms::plan_all(
        request,
        tools.resolver,
        (&dockerfile, &opened),
        sources,
        &mut vertices,
    );
    warn_of_mirrors(tools, vertices.sink);
    let plan = planned.as_ref().ok().map(|(plan, _)| plan);
    let parsed = (&dockerfile, remarks.as_slice());
    let found = findings(request, &opened, parsed, plan, sources)?;
    check::report(&found.warnings, &sources.map, vertices.sink);
    sources.warnings = found.warnings;
    let (mut plan, bases) = planned?;
    if !found.violated.is_empty() {
        return Err(BuildError::Check(found.violated));
    }
    let devices = devices::resolve(&mut plan, &request.devices, vertices.sink)?;
    let (imported, importing) = cache::import(request, tools, &mut vertices);
    let mut environment = environment(request, tools, &plan, (bases, devices), &opened)?;
    let imported = imported.as_ref();
    environment.imported = imported.map(|imported| imported as &dyn ImportedSteps);
    let privileges = environment.privileges;
    let mounts = cache::mounts(request, tools, privileges);
    environment.saved_mounts = mounts.as_ref().map(|mounts| mounts as &dyn SavedMounts);
    if let Some(required) = &request.require_cached {
        foresight::require(required, &dockerfile, &plan, &environment)?;
    }
    let (solution, image_id) = mend::until_whole(tools, imported, &mut vertices, |vertices| {
        // A failure stops the steps beside it, and nothing else.
        environment.cancel = tools.cancel.child();
        solve_and_finish(request, tools, &plan, &environment, vertices)
    })?;
    let built = (&plan, &solution);
    let exporting = cache::export(request, tools, built, &mut vertices)?;
    let saving = cache::save_mounts(request, tools, built, privileges, &mut vertices)?;
    let cached = (0..plan.steps.len())
        .filter(|i| solution.step(plan::StepId(*i)).cached)
        .count();
    let steps = (plan.steps.len(), cached);
    let mut account = solution.account();
    account += solve::Account::costing(importing + exporting + saving);
    if let Some(event) = account.event() {
        vertices.sink.emit(event);
    }
    Ok(Report {
        image_id,
        steps,
        account,
        warnings: sources.warnings.clone(),
    })
}

/// Runs the steps, and brings the image where it should be.
fn solve_and_finish(
    request: &Request,
    tools: &Tools<'_>,
    plan: &Plan,
    environment: &Environment<'_>,
    vertices: &mut Vertices<'_>,
) -> Result<(Solution, Digest), BuildError> {
    let first = vertices.next;
    vertices.next += u32::try_from(plan.steps.len()).unwrap_or(u32::MAX - first);
    let solution = solve::solve(plan, environment, vertices.sink, first);
    warn_of_mirrors(tools, vertices.sink);
    let solution = solution?;
    let image_id = output::finish(request, tools, plan, environment, &solution, vertices);
    warn_of_mirrors(tools, vertices.sink);
    Ok((solution, image_id?))
}

/// A filter that no stage has does nothing, which is hardly what was meant.
fn warn_of_filters(dockerfile: &Dockerfile, wishes: &PlanRequest, sink: &mut dyn EventSink) {
    for (name, similar) in plan::unknown_stages(dockerfile, &wishes.no_cache) {
        let similar = similar.map_or_else(String::new, |hint| format!(" ({hint})"));
        sink.emit(BuildEvent::Warning {
            message: format!("--no-cache-filter: there is no stage `{name}`{similar}"),
        });
    }
}

/// A mirror that failed is no failure, but somebody may want to mend it.
fn warn_of_mirrors(tools: &Tools<'_>, sink: &mut dyn EventSink) {
    for message in tools.client.take_remarks() {
        sink.emit(BuildEvent::Warning { message });
    }
}

/// Applies the build checks, as far as planning came.
fn findings(
    request: &Request,
    opened: &Opened,
    (dockerfile, remarks): (&Dockerfile, &[Diagnostic]),
    plan: Option<&Plan>,
    sources: &Sources,
) -> Result<lint::Findings, BuildError> {
    let control = lint::control(dockerfile, &request.plan.build_args)?;
    let context = match &opened.folder {
        Some(folder) if plan.is_some_and(|plan| contexts_used(plan).0) => {
            let ignore = IgnoreFile::read(folder, opened.path.as_deref())?;
            Some(LocalContext::open(folder, ignore)?)
        }
        _ => None,
    };
    let subject = lint::Subject {
        dockerfile,
        sources: &sources.map,
        remarks,
        observations: plan.map_or(&sources.noticed, |plan| &plan.observations),
        plan,
        context: context.as_ref(),
    };
    Ok(lint::check(&subject, &control))
}

/// Only plans: for `--print plan`.
///
/// # Errors
/// As [`build`].
pub fn plan_only(
    request: &Request,
    tools: &Tools<'_>,
    sources: &mut Sources,
    sink: &mut dyn EventSink,
) -> Result<Plan, BuildError> {
    let mut vertices = Vertices::new(sink);
    let opened = source::open(request, &tools.reader(), sources, &mut vertices)?;
    let (dockerfile, _) = source::parse(&opened.file)?;
    let parsed = (&dockerfile, &opened);
    Ok(platforms::plan_all(request, tools.resolver, parsed, sources, &mut vertices)?.0)
}

fn plan_options(request: &Request, opened: &Opened) -> PlanOptions {
    let context = |source: &ContextSource| match source {
        ContextSource::Directory(_) => NamedContext::Directory,
        ContextSource::Stage(name) => NamedContext::Stage(name.clone()),
        // Standard input is the main context's alone.
        other => other
            .base()
            .map_or(NamedContext::Scratch, NamedContext::Image),
    };
    let wishes = &request.plan;
    PlanOptions {
        target: wishes.target.clone(),
        all_stages: wishes.all_stages,
        build_args: wishes.build_args.clone(),
        labels: wishes.labels.clone(),
        platform: wishes.platforms.first().cloned(),
        build_platform: Platform::host(),
        context: opened.context.clone(),
        contexts: request
            .source
            .named_contexts
            .iter()
            .map(|(name, source)| (name.clone(), context(source)))
            .collect(),
        network: wishes.network.clone(),
        no_cache: wishes.no_cache.clone(),
        entitlements: wishes.entitlements,
    }
}

fn environment<'a>(
    request: &Request,
    tools: &'a Tools<'_>,
    plan: &Plan,
    (bases, devices): (ResolvedBases, Registry),
    opened: &Opened,
) -> Result<Environment<'a>, BuildError> {
    let now = (request.clock)();
    let open = |path: &Path,
                dockerfile: Option<&Path>,
                store: &Store|
     -> Result<ContextTree, BuildError> {
        let ignore = IgnoreFile::read(path, dockerfile)?;
        let cancel = tools.cancel.clone();
        let context = LocalContext::open(path, ignore)?;
        let context = context.stopped_by(move || cancel.is_cancelled());
        Ok(ContextTree::new(context, store, now))
    };
    let (main, named) = contexts_used(plan);
    let context = match &opened.folder {
        Some(folder) if main => Some(open(folder, opened.path.as_deref(), &tools.store)?),
        _ => None,
    };
    let mut named_contexts = BTreeMap::new();
    for (name, source) in &request.source.named_contexts {
        if let ContextSource::Directory(path) = source
            && named.contains(name)
        {
            let opened = open(path, None, &tools.store);
            let opened = opened.map_err(|source| BuildError::NamedContext {
                name: name.clone(),
                source: Box::new(source),
            })?;
            named_contexts.insert(name.clone(), opened);
        }
    }
    let target = request.plan.target.clone().unwrap_or_default();
    Ok(Environment {
        store: &tools.store,
        imported: None,
        saved_mounts: None,
        runner: tools.runner,
        context,
        named_contexts,
        bases: plan
            .bases
            .iter()
            .filter_map(|base| bases.get(base).cloned())
            .collect(),
        run: request.run.clone(),
        devices,
        clock: request.clock,
        epoch: plan.epoch,
        footing: tools.footing,
        networks: tools.networks,
        privileges: privileges(tools.footing),
        jobs: request.jobs,
        subject: solve::Subject {
            dockerfile: opened.place.clone(),
            target,
            folder: opened.folder.as_deref().and_then(real_path),
        },
        cancel: tools.cancel.clone(),
    })
}

/// A folder by its real path.
fn real_path(folder: &Path) -> Option<String> {
    let path = fsio::canonicalize(folder).ok()?;
    Some(path.display().to_string())
}

/// Which contexts a plan reads: nothing else is opened.
fn contexts_used(plan: &Plan) -> (bool, std::collections::BTreeSet<String>) {
    let mut main = false;
    let mut named = std::collections::BTreeSet::new();
    let mut see = |source: &TreeSource| match source {
        TreeSource::Context => main = true,
        TreeSource::NamedContext(name) => _ = named.insert(name.clone()),
        TreeSource::State(_) => {}
    };
    for step in &plan.steps {
        match &step.kind {
            StepKind::Copy(copy) => see(&copy.from),
            StepKind::Run(run) => run.mounts.iter().for_each(|mount| {
                if let RunMount::Bind { from, .. }
                | RunMount::Cache {
                    from: Some(from), ..
                } = mount
                {
                    see(from);
                }
            }),
            StepKind::Workdir(_) => {}
        }
    }
    (main, named)
}

/// The history of one of a finished plan's images, with the layers that its steps made.
fn assembly(
    plan: &Plan,
    image: &PlannedImage,
    environment: &Environment<'_>,
    solution: &Solution,
) -> Assembly {
    let (base, _) = plan.chain(image.state);
    let base_layers = base.map(|base| {
        environment.bases[base.0]
            .layers
            .iter()
            .map(|layer| layer.diff_id)
            .collect()
    });
    let step = |entry: &plan::PlannedHistory| HistoryStep {
        created_by: entry.created_by.clone(),
        layer: entry.step.map(|id| {
            let result = solution.step(id);
            (result.layer.diff_id, result.created.clone())
        }),
    };
    Assembly {
        config: image.config.clone(),
        base_layers: base_layers.unwrap_or_default(),
        base_history: image.base_history.clone(),
        steps: image.history.iter().map(step).collect(),
        epoch: environment.epoch.map(solve::rfc3339_seconds),
    }
}

/// A finished image of a solution.
fn assembled(
    plan: &Plan,
    image: &PlannedImage,
    environment: &Environment<'_>,
    solution: &Solution,
) -> crate::image::AssembledImage {
    assemble(assembly(plan, image, environment, solution))
}

/// What may be done to files on a footing.
#[must_use]
pub fn privileges(footing: Footing) -> Privileges {
    if footing.rung() == Ok(Rung::Chroot) {
        // Root that may neither set attributes of the kernel's nor, perhaps, make devices.
        return Privileges::UserNamespace;
    }
    match (footing.has_one_id(), footing.in_user_namespace()) {
        (true, _) => Privileges::OneId,
        (false, true) => Privileges::UserNamespace,
        (false, false) => Privileges::Full,
    }
}
