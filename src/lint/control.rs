//! Which rules apply: `# check=` at the start of the file, the build argument that replaces it, and comments above
//! instructions.

use std::collections::BTreeMap;

use super::rule::Rule;
use crate::dockerfile::Dockerfile;
use crate::dockerfile::directive::{CheckOptions, CheckOptionsError, RuleSelection};
use crate::source::Spanned;

/// The build argument that replaces the directive.
const BUILD_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the author, or else who builds, asks of the checks for a whole file.
///
/// # Errors
/// The build argument cannot be read. The directive was read when the file was parsed.
pub fn control(
    dockerfile: &Dockerfile,
    build_args: &BTreeMap<String, String>,
) -> Result<CheckOptions, CheckOptionsError> {
    match build_args.get(BUILD_ARGUMENT) {
        Some(text) if text.trim().is_empty() => Ok(CheckOptions::default()),
        Some(text) => CheckOptions::parse(text),
        None => {
            let directive = dockerfile.directives.check.as_ref();
            Ok(directive.map_or_else(CheckOptions::default, |check| check.value.clone()))
        }
    }
}

/// Whether a rule applies to an instruction with these comments.
pub(super) fn applies(rule: &Rule, file: &CheckOptions, comments: &[Spanned<String>]) -> bool {
    let above = of_comments(comments).unwrap_or_default();
    let listed = |what: fn(&CheckOptions) -> &RuleSelection| {
        [file, &above]
            .iter()
            .any(|options| what(options).contains(rule.name))
    };
    if rule.experimental {
        listed(|options| &options.experimental)
    } else {
        !listed(|options| &options.skip)
    }
}

/// Whether a violation fails the build.
pub(super) fn is_error(rule: &Rule, file: &CheckOptions) -> bool {
    let by_name = match &file.experimental {
        RuleSelection::All => false,
        named => named.contains(rule.name),
    };
    file.error && (!rule.ours || by_name)
}

/// The options in the comments above an instruction. The first comment that is a `check=` decides; what follows its first
/// space is a remark. One that cannot be read says nothing.
fn of_comments(comments: &[Spanned<String>]) -> Option<CheckOptions> {
    let value = comments
        .iter()
        .find_map(|comment| options_of(&comment.value))?;
    let value = value.split(' ').next().unwrap_or_default();
    CheckOptions::parse(value).ok()
}

/// The value of a comment `check = VALUE`.
pub(super) fn options_of(comment: &str) -> Option<&str> {
    let (key, value) = comment.split_once('=')?;
    key.trim_end()
        .eq_ignore_ascii_case("check")
        .then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::rule;
    use crate::source::Span;

    fn applies_under(name: &str, file: &str, above: &[&str]) -> bool {
        let file = match file {
            "" => CheckOptions::default(),
            text => CheckOptions::parse(text).unwrap(),
        };
        let comments: Vec<Spanned<String>> = above
            .iter()
            .map(|text| Spanned::new((*text).to_owned(), Span::default()))
            .collect();
        applies(rule(name).unwrap(), &file, &comments)
    }

    #[test]
    fn comments_add_to_what_the_file_says() {
        let cases: &[(&str, &[&str], bool)] = &[
            ("", &[], true),
            ("skip=UndefinedVar", &[], false),
            ("skip=all", &[], false),
            ("skip=UndefinedVariable,undefinedvar", &[], true),
            ("", &["check=skip=UndefinedVar"], false),
            ("", &["Check = skip=UndefinedVar because of this"], false),
            ("", &["a word first", "check=skip=all"], false),
            (
                "",
                &["check=skip=DuplicateStageName", "check=skip=all"],
                true,
            ),
            ("", &["check=skip=DuplicateStageName, UndefinedVar"], true),
            ("", &["check=skip"], true),
            ("", &["check=skip=UndefinedVar;nonsense=1"], true),
            ("", &["checks=skip=UndefinedVar"], true),
            ("skip=all", &["check=skip=StageNameCasing"], false),
        ];
        for (file, above, expected) in cases {
            let found = applies_under("UndefinedVar", file, above);
            assert_eq!(found, *expected, "{file:?} {above:?}");
        }
    }

    #[test]
    fn experimental_rules_have_to_be_listed_and_are_not_skipped() {
        let name = "InvalidDefinitionDescription";
        let cases: &[(&str, &[&str], bool)] = &[
            ("", &[], false),
            ("experimental=all", &[], true),
            (
                "skip=all;experimental=InvalidDefinitionDescription",
                &[],
                true,
            ),
            ("experimental=UndefinedVar", &[], false),
            (
                "",
                &["check=experimental=InvalidDefinitionDescription"],
                true,
            ),
            ("experimental=all", &["check=skip=all"], true),
        ];
        for (file, above, expected) in cases {
            assert_eq!(
                applies_under(name, file, above),
                *expected,
                "{file:?} {above:?}"
            );
        }
    }

    #[test]
    fn our_rules_fail_a_build_only_by_name() {
        let cases = [
            ("UndefinedVar", "error=true", true),
            ("UndefinedVar", "error=false", false),
            ("UndefinedVar", "skip=StageNameCasing", false),
            ("PackageCacheInLayer", "error=true", false),
            ("PackageCacheInLayer", "error=true;experimental=all", false),
            (
                "PackageCacheInLayer",
                "error=true;experimental=PackageCacheInLayer",
                true,
            ),
        ];
        for (name, file, expected) in cases {
            let file = CheckOptions::parse(file).unwrap();
            assert_eq!(
                is_error(rule(name).unwrap(), &file),
                expected,
                "{name} {file:?}"
            );
        }
    }
}
