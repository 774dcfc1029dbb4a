//! `# syntax=`: which language the file asks for. Nothing is ever downloaded.

use super::Failure;
use super::options::PlanOptions;
use crate::dockerfile::Dockerfile;
use crate::source::Diagnostic;

/// `# syntax=` is a version gate and never a download: the language of the reference frontend is what is built in.
pub(super) fn check(dockerfile: &Dockerfile, options: &PlanOptions) -> Result<(), Failure> {
    let directive = dockerfile.directives.syntax.as_ref();
    let given = options
        .build_args
        .get("BUILDKIT_SYNTAX")
        .map(String::as_str);
    let Some(text) = given.or(directive.map(|syntax| syntax.value.as_str())) else {
        return Ok(());
    };
    let image = text.split_whitespace().next().unwrap_or_default();
    let repository = image.split(['@']).next().unwrap_or_default();
    let repository = repository
        .rsplit_once(':')
        .map_or(repository, |(name, _)| name);
    // At whichever registry: a mirror's copy is the same language.
    let repository = match repository.split_once('/') {
        Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => rest,
        _ => repository,
    };
    if matches!(
        repository,
        "" | "docker/dockerfile" | "docker/dockerfile-upstream" | "dockerfile.v0"
    ) {
        return Ok(());
    }
    let span = directive
        .filter(|_| given.is_none())
        .map(|syntax| syntax.span);
    let message =
        format!("unknown frontend `{image}`: only the language of `docker/dockerfile` is built in");
    let failure = Diagnostic::error("frontend", message)
        .hint("frontends are never downloaded; remove the `# syntax=` line if the file needs none");
    Err(Box::new(match span {
        Some(span) => failure.at(span, ""),
        None => failure,
    }))
}
