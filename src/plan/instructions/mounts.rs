//! The mounts of a RUN: fields expanded and resolved, targets made absolute, sources found.

use std::sync::Arc;

use super::super::lower::{Lowering, Place};
use super::super::stage::StageState;
use super::super::step::{RunMount, Sharing, TreeSource};
use super::super::{Failure, fail, paths};
use super::tree;
use crate::dockerfile::ast;
use crate::dockerfile::mount::{self, CacheMount, Mount, MountError, MountSpec};
use crate::dockerfile::word::{self, Mode};

/// Where the socket of an agent is seen, with a number that counts the SSH mounts of the step.
const AGENT_SOCKET: &str = "/run/buildkit/ssh_agent.";

/// The variable that SSH clients find an agent by.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// The mounts of one RUN, in the order written.
pub(super) fn lower(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    specs: &[MountSpec],
    place: Place,
) -> Result<Vec<RunMount>, Failure> {
    let mut mounts = Vec::new();
    for spec in specs {
        let ssh_mounts_before = ssh_targets(&mounts).count();
        mounts.push(lower_mount(
            lowering,
            state,
            spec,
            place,
            ssh_mounts_before,
        )?);
    }
    Ok(mounts)
}

/// The variables that a command finds its mounts by, where the environment says nothing else.
pub(super) fn add_variables(env: &mut Arc<Vec<(String, String)>>, mounts: &[RunMount]) {
    if let Some(socket) = ssh_targets(mounts).next()
        && !env.iter().any(|(name, _)| name == AGENT_VARIABLE)
    {
        Arc::make_mut(env).push((AGENT_VARIABLE.to_owned(), socket.to_owned()));
    }
}

/// Where the sockets of SSH agents are seen.
fn ssh_targets(mounts: &[RunMount]) -> impl Iterator<Item = &str> {
    mounts.iter().filter_map(|mount| match mount {
        RunMount::Ssh { target, .. } => Some(target.as_str()),
        _ => None,
    })
}

fn lower_mount(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    spec: &MountSpec,
    place: Place,
    ssh_mounts_before: usize,
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
        Mount::Cache(mount) => cache(lowering, state, mount, spec, place)?,
        Mount::Tmpfs {
            target,
            size,
            read_only,
        } => RunMount::Tmpfs {
            target: target_of(&target)?,
            size,
            read_only,
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
        Mount::Ssh {
            id,
            target,
            required,
            mode,
            uid,
            gid,
        } => RunMount::Ssh {
            id: id.unwrap_or_else(|| "default".to_owned()),
            target: match target {
                Some(target) => target_of(&target)?,
                None => format!("{AGENT_SOCKET}{ssh_mounts_before}"),
            },
            required,
            mode: mode.unwrap_or(0o600),
            uid: uid.unwrap_or(0),
            gid: gid.unwrap_or(0),
        },
    })
}

fn cache(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    mount: CacheMount,
    spec: &MountSpec,
    place: Place,
) -> Result<RunMount, Failure> {
    let namespace = lowering.globals.build_arg("BUILDKIT_CACHE_MOUNT_NS");
    let ownership = (mount.mode, mount.uid, mount.gid);
    let custom = ownership != (None, None, None);
    let id = mount.id.as_ref().unwrap_or(&mount.target);
    let id = cache_identity(namespace, id, custom.then_some(ownership));
    let target = mount_target(state, spec, &mount.target)?;
    let from = source_tree(lowering, state, mount.from.as_deref(), &target, spec, place)?;
    let source = mount.source.unwrap_or_default();
    Ok(RunMount::Cache {
        id,
        target,
        sharing: cache_sharing(mount.sharing),
        source: match &from {
            Some(_) => paths::absolute("/", &source),
            None => source,
        },
        from,
        mode: mount.mode.unwrap_or(0o755),
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
        read_only: mount.read_only,
    })
}

pub(in crate::plan) fn resolve_mount(
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
