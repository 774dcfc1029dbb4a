//! `# syntax=`: which language the file asks for. Nothing is ever downloaded.

use super::Failure;
use super::options::PlanOptions;
use crate::dockerfile::Dockerfile;
use crate::source::Diagnostic;

/// The version of the language that is built in, with everything that was added to it so far.
const VERSION: u32 = 1;

/// The parts of a frontend's name that matter.
struct Asked<'a> {
    /// Without the registry: a mirror's copy is the same language.
    repository: &'a str,
    tag: &'a str,
}

impl<'a> Asked<'a> {
    fn read(image: &'a str) -> Self {
        let name = image.split('@').next().unwrap_or_default();
        let repository = match name.split_once('/') {
            Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => rest,
            _ => name,
        };
        let (repository, tag) = repository.split_once(':').unwrap_or((repository, ""));
        Self { repository, tag }
    }

    /// The version that a tag such as `1`, `1.7` or `1-labs` begins with; none for `latest` and the like.
    fn major(&self) -> Option<u32> {
        let digits = self.tag.split(['.', '-']).next().unwrap_or_default();
        digits.parse().ok()
    }
}

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
    let asked = Asked::read(image);
    let message = match asked.repository {
        "" | "docker/dockerfile" | "docker/dockerfile-upstream" | "dockerfile.v0" => {
            match asked.major() {
                Some(major) if major > VERSION => format!(
                    "`{image}` asks for version {major} of the language: version {VERSION} is built in"
                ),
                _ => return Ok(()),
            }
        }
        _ => format!(
            "unknown frontend `{image}`: only the language of `docker/dockerfile` is built in"
        ),
    };
    let span = directive
        .filter(|_| given.is_none())
        .map(|syntax| syntax.span);
    let failure = Diagnostic::error("frontend", message)
        .hint("frontends are never downloaded; remove the `# syntax=` line if the file needs none");
    Err(Box::new(match span {
        Some(span) => failure.at(span, ""),
        None => failure,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_frontends() {
        for (image, repository, major) in [
            ("docker/dockerfile", "docker/dockerfile", None),
            ("docker/dockerfile:1", "docker/dockerfile", Some(1)),
            ("docker/dockerfile:1.7-labs", "docker/dockerfile", Some(1)),
            ("docker/dockerfile:labs", "docker/dockerfile", None),
            (
                "docker/dockerfile:2@sha256:00",
                "docker/dockerfile",
                Some(2),
            ),
            (
                "localhost:5000/docker/dockerfile",
                "docker/dockerfile",
                None,
            ),
            ("a.io/docker/dockerfile:1", "docker/dockerfile", Some(1)),
            ("tonistiigi/dockerfile:1", "tonistiigi/dockerfile", Some(1)),
            ("dockerfile.v0", "dockerfile.v0", None),
            ("", "", None),
        ] {
            let asked = Asked::read(image);
            assert_eq!(
                (asked.repository, asked.major()),
                (repository, major),
                "{image}"
            );
        }
    }
}
