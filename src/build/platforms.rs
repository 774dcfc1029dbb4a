//! Planning for every platform that was asked for: a plan each, put together to one graph.

use super::error::BuildError;
use super::request::Request;
use super::resolve::{ImageResolver, resolve_all};
use super::source::Opened;
use super::{Sources, Vertices};
use crate::dockerfile::Dockerfile;
use crate::plan::{self, BaseRequest, Lowered, Plan, PlanOptions, ResolvedBases};
use crate::source::Span;

/// Plans and resolves in turns until nothing is missing for any platform.
pub(super) fn plan_all(
    request: &Request,
    resolver: &dyn ImageResolver,
    (dockerfile, opened): (&Dockerfile, &Opened),
    sources: &mut Sources,
    vertices: &mut Vertices<'_>,
) -> Result<(Plan, ResolvedBases), BuildError> {
    let options = options(request, opened);
    let mut resolved = opened.resolved.clone();
    loop {
        let planned = round(dockerfile, &options, &resolved, sources);
        let going_on = match planned {
            Ok(Round::Plan(plan)) => return Ok((*plan, resolved)),
            Ok(Round::Missing(missing)) => {
                resolve_all(dockerfile, resolver, &missing, &mut resolved, vertices)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = going_on {
            sources.noticed = plan::observe(dockerfile, &mut sources.map, &options[0], &resolved);
            return Err(error);
        }
    }
}

/// What comes of planning with what is resolved so far.
enum Round {
    Plan(Box<Plan>),
    Missing(Vec<(BaseRequest, Span)>),
}

fn round(
    dockerfile: &Dockerfile,
    options: &[PlanOptions],
    resolved: &ResolvedBases,
    sources: &mut Sources,
) -> Result<Round, BuildError> {
    let mut plans = Vec::with_capacity(options.len());
    let mut missing: Vec<(BaseRequest, Span)> = Vec::new();
    for options in options {
        match plan::lower(dockerfile, &mut sources.map, options, resolved)
            .map_err(BuildError::Dockerfile)?
        {
            Lowered::Plan(plan) => plans.push(*plan),
            Lowered::Needs(needs) => {
                for need in needs {
                    // Platforms share what is for the build platform.
                    if !missing.iter().any(|(request, _)| *request == need.0) {
                        missing.push(need);
                    }
                }
            }
        }
    }
    Ok(match missing.is_empty() {
        true => Round::Plan(Box::new(plan::merge(plans))),
        false => Round::Missing(missing),
    })
}

/// The options of each platform; of one plan where nobody asked for any.
fn options(request: &Request, opened: &Opened) -> Vec<PlanOptions> {
    let options = super::plan_options(request, opened);
    let platforms = &request.plan.platforms;
    if platforms.is_empty() {
        return vec![options];
    }
    let for_platform = |platform: &crate::oci::Platform| PlanOptions {
        platform: Some(platform.clone()),
        ..options.clone()
    };
    platforms.iter().map(for_platform).collect()
}
