//! The errors that users of Dockerfiles know, and where a test shows that they read the same here.
//!
//! A row is a text of the reference and a file that has it: the expectation of a corpus case, or a test. What only some other
//! builder's parts can say is not here.

use std::path::Path;

use builder::fsio;

/// Text of the reference, and the file that shows it.
const TEXTS: &[(&str, &str)] = &[
    // The file.
    (
        "the Dockerfile cannot be empty",
        "testdata/parse/err/empty.diag",
    ),
    (
        "file with no instructions",
        "testdata/parse/err/only-comments.diag",
    ),
    (
        "dockerfile contains no stages to build",
        "testdata/parse/err/only-args.diag",
    ),
    (
        "no build stage in current context",
        "testdata/parse/err/no-stage.diag",
    ),
    (
        "failed to read dockerfile: ",
        "tests/suite/fetch/contexts.rs",
    ),
    // Parsing.
    (
        "dockerfile parse error on line 3: ",
        "testdata/parse/err/unknown-instruction.diag",
    ),
    (
        "unknown instruction: FOO",
        "testdata/parse/err/unknown-instruction.diag",
    ),
    (
        "unknown instruction: WRKDIR (did you mean WORKDIR?)",
        "testdata/parse/err/unknown-instruction.diag",
    ),
    (
        "unterminated heredoc",
        "testdata/parse/err/heredoc-unterminated.diag",
    ),
    (
        "only one escape parser directive can be used",
        "testdata/parse/err/directive-twice.diag",
    ),
    (
        "only one syntax parser directive can be used",
        "testdata/parse/err/directive-twice.diag",
    ),
    (
        "only one check parser directive can be used",
        "testdata/parse/err/check-twice.diag",
    ),
    (
        "invalid escape token 'ab' does not match ` or \\",
        "testdata/parse/err/escape-directive.diag",
    ),
    (
        "dockerfile line greater than max allowed size of 65535",
        "testdata/parse/err/line-too-long.diag",
    ),
    // Flags.
    (
        "unknown flag: --help",
        "testdata/parse/err/unknown-flag.diag",
    ),
    (
        "unknown flag: --form (did you mean from?)",
        "testdata/parse/err/unknown-flag.diag",
    ),
    (
        "duplicate flag specified: --chown",
        "testdata/parse/err/duplicate-flag.diag",
    ),
    (
        "missing a value on flag: --from",
        "testdata/parse/err/flag-value.diag",
    ),
    (
        "expecting boolean value for flag --link, not: maybe",
        "testdata/parse/err/flag-value.diag",
    ),
    // Arity.
    (
        "WORKDIR requires exactly one argument",
        "testdata/parse/err/one-argument.diag",
    ),
    (
        "ENV requires at least one argument",
        "testdata/parse/err/at-least-one.diag",
    ),
    (
        "ADD requires at least two arguments, but only one was provided. Destination could not be determined",
        "testdata/parse/err/copy-arity.diag",
    ),
    (
        "FROM requires either one or three arguments",
        "testdata/parse/err/from-arity.diag",
    ),
    // Names.
    (
        "ENV names can not be blank",
        "testdata/parse/err/blank-names.diag",
    ),
    (
        "ENV names can not be blank",
        "testdata/plan/env-blank/plan.txt",
    ),
    (
        "LABEL names can not be blank",
        "testdata/parse/err/blank-names.diag",
    ),
    (
        "ARG names can not be blank",
        "testdata/parse/err/blank-names.diag",
    ),
    (
        "ENV must have two arguments",
        "testdata/parse/err/env-one-word.diag",
    ),
    (
        "Syntax error - can't find = in \"c\". Must be of the form: name=value",
        "testdata/parse/err/env-missing-equals.diag",
    ),
    // JSON.
    (
        "when using JSON array syntax, arrays must be comprised of strings only",
        "testdata/parse/err/json-not-strings.diag",
    ),
    (
        "SHELL requires the arguments to be in JSON form",
        "testdata/parse/err/shell.diag",
    ),
    // FROM.
    (
        "invalid name for build stage: \"1st\", name can't start with a number or contain symbols",
        "testdata/parse/err/stage-name.diag",
    ),
    (
        "base name (${X}) should not be blank",
        "testdata/plan/from-blank/plan.txt",
    ),
    (
        "failed to parse stage name \"Busy:Box:1\": invalid reference format",
        "testdata/plan/from-not-a-reference/plan.txt",
    ),
    (
        "empty platform value from expression $TARGETPLATFROM (did you mean TARGETPLATFORM?)",
        "testdata/plan/platform-empty/plan.txt",
    ),
    (
        "failed to parse platform linux/amd64/v1/x",
        "testdata/plan/platform-invalid/plan.txt",
    ),
    (
        "circular dependency detected on stage: a",
        "testdata/plan/copy-from-itself/plan.txt",
    ),
    (
        "target stage \"biuld\" could not be found",
        "testdata/plan/target-missing/plan.txt",
    ),
    (
        "invalid stage index 7",
        "testdata/plan/copy-from-index/plan.txt",
    ),
    // Expansion.
    (
        "failed to process \"${}\": syntax error: bad substitution",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    (
        "failed to process \"${x\": syntax error: missing '}'",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    (
        "syntax error: missing '/' in ${}",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    (
        "unsupported modifier (:=) in substitution",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    (
        "x: is not allowed to be unset",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    (
        "e: is not allowed to be empty",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    (
        "x: not without x",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    (
        "unexpected end of statement while looking for matching single-quote",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    (
        "unexpected end of statement while looking for matching double-quote",
        "testdata/plan/expansion-invalid/plan.txt",
    ),
    // COPY and ADD.
    (
        "COPY cannot accept a heredoc as a destination",
        "testdata/parse/err/copy-heredoc-destination.diag",
    ),
    (
        "source can't be a URL for COPY",
        "testdata/plan/copy-url/plan.txt",
    ),
    (
        "source can't be a git ref for COPY",
        "testdata/plan/copy-git-ref/plan.txt",
    ),
    (
        "variable expansion is not supported for --from, ",
        "testdata/parse/err/copy-from-variable.diag",
    ),
    (
        "cannot copy from stage \"later\", it needs to be defined before current stage \"first\"",
        "testdata/plan/copy-later-stage/plan.txt",
    ),
    (
        "invalid chmod parameter: '0888'. it should be octal string and between 0 and 07777",
        "testdata/plan/chmod-invalid/plan.txt",
    ),
    (
        "checksum can't be specified for multiple sources",
        "testdata/plan/add-checksum-several/plan.txt",
    ),
    (
        "checksum requires HTTP(S) or Git sources",
        "testdata/plan/add-checksum-local/plan.txt",
    ),
    (
        "inconsistent keep-git-dir configuration",
        "testdata/plan/add-git-conflict/plan.txt",
    ),
    (
        "invalid checksum xyz for Git URL, expected hex commit hash",
        "testdata/plan/add-git-checksum-bad/plan.txt",
    ),
    // RUN.
    (
        "invalid network mode \"nope\"",
        "testdata/parse/err/flag-value.diag",
    ),
    (
        "security \"none\" is not valid",
        "testdata/parse/err/flag-value.diag",
    ),
    (
        "network.host is not allowed",
        "testdata/plan/network-host/plan.txt",
    ),
    (
        "security.insecure is not allowed",
        "testdata/plan/run-insecure/plan.txt",
    ),
    // Mounts.
    (
        "failed to parse csv mounts",
        "testdata/parse/err/mount-csv.diag",
    ),
    (
        "unsupported mount type \"bnd\" (did you mean bind?)",
        "testdata/parse/err/mount-type.diag",
    ),
    (
        "unsupported mount type \"cahce\" (did you mean cache?)",
        "testdata/plan/mount-expanded-invalid/plan.txt",
    ),
    (
        "unexpected key 'nope' in 'nope=1'",
        "testdata/parse/err/mount-keys.diag",
    ),
    (
        "unexpected key 'soruce' in 'soruce=y' (did you mean source?)",
        "testdata/parse/err/mount-owners.diag",
    ),
    (
        "unexpected key 'required' for mount type 'bind'",
        "testdata/parse/err/mount-keys.diag",
    ),
    (
        "invalid field 'target' must be a key=value pair",
        "testdata/parse/err/mount-keys.diag",
    ),
    (
        "invalid value for ro: x",
        "testdata/parse/err/mount-values.diag",
    ),
    (
        "invalid value 8 for mode",
        "testdata/parse/err/mount-values.diag",
    ),
    (
        "unsupported sharing value \"none\"",
        "testdata/parse/err/mount-values.diag",
    ),
    (
        "invalid cache sharing set for bind mount",
        "testdata/parse/err/mount-owners.diag",
    ),
    (
        "invalid cache sharing set for tmpfs mount",
        "testdata/parse/err/mount-owners.diag",
    ),
    (
        "mode not allowed for \"bind\" type mounts",
        "testdata/parse/err/mount-values.diag",
    ),
    (
        "uid not allowed for \"bind\" type mounts",
        "testdata/parse/err/mount-owners.diag",
    ),
    (
        "gid not allowed for \"bind\" type mounts",
        "testdata/parse/err/mount-owners.diag",
    ),
    (
        "'from' doesn't support variable expansion, define alias stage instead",
        "testdata/parse/err/mount-from.diag",
    ),
    (
        "cannot mount from stage \"later\" to \"/x\", stage needs to be defined before current command",
        "testdata/plan/mount-later-stage/plan.txt",
    ),
    (
        "invalid mount target \"/\"",
        "testdata/plan/mount-target-root/plan.txt",
    ),
    (
        "secret mount should not have a from",
        "testdata/parse/err/mount-secret.diag",
    ),
    (
        "secret mount should not define sharing",
        "testdata/parse/err/mount-owners.diag",
    ),
    (
        "invalid secret mount. one of source, target required",
        "testdata/parse/err/mount-secret.diag",
    ),
    (
        "both source and id can't be set",
        "testdata/parse/err/mount-secret.diag",
    ),
    (
        "ssh does not support source",
        "testdata/parse/err/mount-secret.diag",
    ),
    // HEALTHCHECK.
    (
        "HEALTHCHECK NONE takes no arguments",
        "testdata/parse/err/healthcheck.diag",
    ),
    (
        "Missing command after HEALTHCHECK CMD",
        "testdata/parse/err/healthcheck.diag",
    ),
    (
        "Unknown type \"FOO\" in HEALTHCHECK (try CMD)",
        "testdata/parse/err/healthcheck.diag",
    ),
    (
        "Interval \"interval\" cannot be less than 1ms",
        "testdata/parse/err/healthcheck-flags.diag",
    ),
    (
        "--retries cannot be negative (-1)",
        "testdata/parse/err/healthcheck-flags.diag",
    ),
    // EXPOSE and VOLUME.
    (
        "invalid port: \"/tcp\": no port specified",
        "testdata/plan/expose-wrong/plan.txt",
    ),
    (
        "invalid port: \"80/what\": invalid proto: what",
        "testdata/plan/expose-wrong/plan.txt",
    ),
    (
        "invalid containerPort: a",
        "testdata/plan/expose-wrong/plan.txt",
    ),
    (
        "invalid containerPort: 70000",
        "testdata/plan/expose-wrong/plan.txt",
    ),
    ("invalid hostPort: x", "testdata/plan/expose-wrong/plan.txt"),
    (
        "invalid IP address: 1.2.3",
        "testdata/plan/expose-wrong/plan.txt",
    ),
    (
        "invalid ranges specified for container and host Ports: 80-81 and 1-3",
        "testdata/plan/expose-wrong/plan.txt",
    ),
    (
        "VOLUME specified can not be an empty string",
        "testdata/parse/err/volume-empty.diag",
    ),
    (
        "VOLUME specified can not be an empty string",
        "testdata/plan/volume-blank/plan.txt",
    ),
    // ONBUILD.
    (
        "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        "testdata/parse/err/onbuild-chained.diag",
    ),
    (
        "MAINTAINER isn't allowed as an ONBUILD trigger",
        "testdata/parse/err/onbuild-not-allowed.diag",
    ),
    (
        "onbuild trigger should be a single expression",
        "src/dockerfile/parse.rs",
    ),
    // The ignore file and the checks.
    ("illegal exclusion pattern: \"!\"", "tests/suite/context.rs"),
    ("failed parsing", "tests/suite/context.rs"),
    (
        "invalid check option \"foo\"",
        "testdata/parse/err/check-directive.diag",
    ),
    // SOURCE_DATE_EPOCH.
    (
        "invalid SOURCE_DATE_EPOCH: yesterday",
        "testdata/plan/epoch-invalid/plan.txt",
    ),
    (
        "SOURCE_DATE_EPOCH stage must use FROM scratch",
        "testdata/plan/epoch-stage-base/plan.txt",
    ),
    (
        "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD",
        "testdata/plan/epoch-stage-two/plan.txt",
    ),
    (
        "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported RUN instruction",
        "testdata/plan/epoch-stage-run/plan.txt",
    ),
];

#[test]
fn errors_read_as_in_the_reference() {
    let missing: Vec<String> = TEXTS
        .iter()
        .filter(|(text, file)| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            !fsio::read_to_string(path).is_ok_and(|content| shows(&content, file, text))
        })
        .map(|(text, file)| format!("{file} does not show: {text}"))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Whether an expectation has the text, or a test has it as a literal.
fn shows(content: &str, file: &str, text: &str) -> bool {
    if file.ends_with(".rs") {
        content.contains(&text.replace('"', "\\\"")) || content.contains(text)
    } else {
        content
            .lines()
            .any(|line| line.starts_with("error: ") && line.contains(text))
    }
}
