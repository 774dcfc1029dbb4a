//! The devices of a RUN: what their specs want, turned into what the sandbox shows.

use super::super::error::StepError;
use crate::cdi::{Edits, NodeKind, Registry};
use crate::plan::RunStep;
use crate::sandbox::{Attributes, Device, DeviceKind, Mount, MountKind, SandboxSpec};

/// Adds the devices of a step to what it sees: their variables, device files, mounts and groups.
pub(super) fn add(
    spec: &mut SandboxSpec,
    run: &RunStep,
    registry: &Registry,
) -> Result<(), StepError> {
    let names: Vec<String> = run
        .devices
        .iter()
        .map(|device| device.name.clone())
        .collect();
    let Edits {
        env,
        nodes,
        mounts,
        groups,
    } = registry.edits(&names)?;
    for (name, value) in env {
        match spec.env.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => spec.env.0.push((name, value)),
        }
    }
    for node in nodes {
        spec.devices.push(Device {
            path: node.path,
            source: node.source,
            kind: match node.kind {
                NodeKind::Character => DeviceKind::Character,
                NodeKind::Block => DeviceKind::Block,
                NodeKind::Pipe => DeviceKind::Pipe,
            },
            major: node.major,
            minor: node.minor,
            mode: node.mode,
            uid: node.uid.unwrap_or(spec.user.uid),
            gid: node.gid.unwrap_or(spec.user.gid),
        });
    }
    for mount in mounts {
        let attributes = Attributes {
            read_only: mount.read_only,
            no_suid: mount.no_suid,
            no_devices: mount.no_devices,
            no_execution: mount.no_execution,
        };
        spec.mounts.push(Mount {
            target: mount.target,
            kind: MountKind::Host {
                source: mount.source,
                attributes,
            },
        });
    }
    for group in groups {
        if !spec.user.groups.contains(&group) {
            spec.user.groups.push(group);
        }
    }
    Ok(())
}
