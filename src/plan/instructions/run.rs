//! RUN: the command line, what it sees, and its mounts.

use super::super::lower::{Lowering, Place};
use super::super::stage::StageState;
use super::super::step::{NetworkMode, RunMount, RunStep, Sharing, StepKind, TreeSource};
use super::super::{Failure, fail, not_yet, paths};
use super::tree;
use crate::dockerfile::ast::{
    self, Command, Heredoc, Instruction, RunCommand, RunInstruction, SecurityMode,
};
use crate::dockerfile::mount::{self, Mount, MountError, MountSpec};
use crate::dockerfile::word::{self, Mode};

/// Where the script of a heredoc with `#!` is seen.
const SCRIPT_FOLDER: &str = "/dev/pipes/";

pub(super) fn run(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    instruction: &Instruction,
    run: &RunInstruction,
    place: Place,
) -> Result<(), Failure> {
    if let Some(device) = run.devices.first() {
        return Err(not_yet(device.span, "RUN --device"));
    }
    let insecure = run
        .security
        .as_ref()
        .is_some_and(|mode| mode.value == SecurityMode::Insecure);
    if let Some(mode) = &run.security
        && insecure
        && !lowering.options.entitlements.security_insecure
    {
        let failure = fail("entitlement", mode.span, "security.insecure is not allowed");
        return Err(Box::new(
            failure.hint("allow it with `--allow security.insecure`"),
        ));
    }
    let network = network(lowering, run)?;
    let (argv, script) = command_line(state, &run.command);
    let mut mounts = Vec::new();
    for spec in &run.mounts {
        mounts.push(lower_mount(lowering, state, spec, place)?);
    }
    let declared_elsewhere = |name: &String| !state.declares(name);
    let proxy_env = lowering
        .globals
        .proxies()
        .into_iter()
        .filter(|(name, _)| declared_elsewhere(name))
        .collect();
    let hostname = lowering
        .globals
        .build_arg("BUILDKIT_SANDBOX_HOSTNAME")
        .cloned();
    let step = RunStep {
        argv: argv.clone(),
        env: state.env(),
        proxy_env,
        cwd: state.cwd(),
        user: state.config.user(),
        hostname: hostname.unwrap_or_else(|| crate::plan::DEFAULT_HOSTNAME.to_owned()),
        network,
        insecure,
        mounts,
        script,
    };
    let text = label(instruction, &run.command);
    let step = lowering.step(state, place, &text, StepKind::Run(step));
    let created_by = format!("RUN {}{} # buildkit", state.history_args(), argv.join(" "));
    state.record(created_by, Some(step));
    Ok(())
}

fn network(lowering: &Lowering<'_>, run: &RunInstruction) -> Result<NetworkMode, Failure> {
    let Some(mode) = &run.network else {
        return Ok(lowering.options.network);
    };
    match mode.value {
        ast::NetworkMode::Default => Ok(NetworkMode::Default),
        ast::NetworkMode::None => Ok(NetworkMode::None),
        ast::NetworkMode::Host if lowering.options.entitlements.network_host => {
            Ok(NetworkMode::Host)
        }
        ast::NetworkMode::Host => {
            let failure = fail("entitlement", mode.span, "network.host is not allowed");
            Err(Box::new(
                failure.hint("allow it with `--allow network.host`"),
            ))
        }
    }
}

fn command_line(
    state: &StageState,
    command: &RunCommand,
) -> (Vec<String>, Option<(String, String)>) {
    match command {
        RunCommand::Plain(Command::Shell(text)) => (state.in_shell(text), None),
        RunCommand::Plain(Command::Exec(argv)) => (argv.clone(), None),
        RunCommand::Script(heredoc) => (state.in_shell(&heredoc.content()), None),
        RunCommand::Executable(heredoc) => {
            let path = format!("{SCRIPT_FOLDER}{}", heredoc.name);
            (state.in_shell(&path), Some((path, heredoc.content())))
        }
        RunCommand::Reassembled { text, .. } => (state.in_shell(text), None),
    }
}

/// The text of the instruction; of a heredoc its first line.
fn label(instruction: &Instruction, command: &RunCommand) -> String {
    let first = command.heredocs().first().and_then(|heredoc: &Heredoc| {
        let body = heredoc.body.trim();
        let line = body.lines().next()?;
        Some(if body.lines().nth(1).is_some() {
            format!("{line}...")
        } else {
            line.to_owned()
        })
    });
    match first {
        Some(line) => format!("{} ({line})", instruction.text),
        None => instruction.text.clone(),
    }
}

fn lower_mount(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    spec: &MountSpec,
    place: Place,
) -> Result<RunMount, Failure> {
    let target_of = |target: &str| mount_target(state, spec, target);
    Ok(match resolve_mount(lowering, state, spec, place)? {
        Mount::Bind {
            from,
            source,
            target,
            read_write,
        } => {
            let target = target_of(&target)?;
            let from = source_tree(lowering, state, from.as_deref(), &target, spec, place)?;
            let source = paths::absolute("/", &source.unwrap_or_default());
            RunMount::Bind {
                from: match from {
                    Some(from) => from,
                    None => lowering.main_context(&state.platform, spec.span),
                },
                source,
                target,
                writable: read_write,
            }
        }
        Mount::Cache {
            id,
            target,
            sharing,
            from,
            source,
            mode,
            uid,
            gid,
            read_only,
        } => {
            let namespace = lowering.globals.build_arg("BUILDKIT_CACHE_MOUNT_NS");
            let id = id.unwrap_or_else(|| target.clone());
            let custom = mode.is_some() || uid.is_some() || gid.is_some();
            let id = cache_identity(namespace, &id, custom.then_some((mode, uid, gid)));
            let target = target_of(&target)?;
            let from = source_tree(lowering, state, from.as_deref(), &target, spec, place)?;
            RunMount::Cache {
                id,
                target,
                sharing: cache_sharing(sharing),
                source: match &from {
                    Some(_) => paths::absolute("/", &source.unwrap_or_default()),
                    None => source.unwrap_or_default(),
                },
                from,
                mode: mode.unwrap_or(0o755),
                uid: uid.unwrap_or(0),
                gid: gid.unwrap_or(0),
                read_only,
            }
        }
        Mount::Tmpfs { target, size, .. } => RunMount::Tmpfs {
            target: target_of(&target)?,
            size,
        },
        Mount::Secret {
            id,
            target,
            env,
            required,
            mode,
            uid,
            gid,
        } => RunMount::Secret {
            id,
            target: target.map(|target| target_of(&target)).transpose()?,
            env,
            required,
            mode: mode.unwrap_or(0o400),
            uid: uid.unwrap_or(0),
            gid: gid.unwrap_or(0),
        },
        Mount::Ssh { .. } => return Err(not_yet(spec.span, "an SSH mount")),
    })
}

fn resolve_mount(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    spec: &MountSpec,
    place: Place,
) -> Result<Mount, Failure> {
    let lookup = |name: &str| state.variable(name);
    let mut expand_value = |word: &ast::Word| {
        let expansion = word::expand(word, place.escape, &lookup, Mode::Argument)?;
        lowering.notice_undefined(state, expansion.unset, word.span);
        Ok(expansion.value)
    };
    mount::resolve(spec, &mut expand_value).map_err(|error| match error {
        MountError::Invalid { message, span } => fail("mount", span, message),
        MountError::Expand(error) => super::super::expand_failure(error),
    })
}

/// The absolute path of a mount's target, which may be anything but the root.
fn mount_target(state: &StageState, spec: &MountSpec, target: &str) -> Result<String, Failure> {
    let path = paths::absolute(&state.cwd(), target);
    if path == "/" {
        let message = format!("invalid mount target \"{target}\"");
        return Err(fail("mount", spec.span, message));
    }
    Ok(path)
}

fn cache_sharing(sharing: mount::Sharing) -> Sharing {
    match sharing {
        mount::Sharing::Shared => Sharing::Shared,
        mount::Sharing::Private => Sharing::Private,
        mount::Sharing::Locked => Sharing::Locked,
    }
}

type Ownership = (Option<u32>, Option<u32>, Option<u32>);

/// A cache with an owner or mode of its own is another cache than one without.
fn cache_identity(namespace: Option<&String>, id: &str, ownership: Option<Ownership>) -> String {
    let mut identity =
        namespace.map(|ns| format!("{ns}/")).unwrap_or_default() + &paths::absolute("/", id)[1..];
    if let Some((mode, uid, gid)) = ownership {
        let text = |number: Option<u32>| number.map(|n| n.to_string()).unwrap_or_default();
        identity.push_str(&format!(":{}:{}:{}", text(mode), text(uid), text(gid)));
    }
    identity
}

fn source_tree(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    from: Option<&str>,
    target: &str,
    spec: &MountSpec,
    place: Place,
) -> Result<Option<TreeSource>, Failure> {
    from.map(|name| tree(lowering, state, name, Some(target), place, spec.span))
        .transpose()
}
