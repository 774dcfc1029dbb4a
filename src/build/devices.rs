//! Devices that steps ask for: which of the machine's they are, and whether the user lets the build have them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::BuildError;
use crate::cdi::{CdiError, Registry};
use crate::plan::{DeviceRequest, Plan, StepKind};
use crate::solve::{BuildEvent, EventSink};
use crate::source::Diagnostic;

/// The devices that a build may give to its steps.
#[derive(Clone, Debug, Default)]
pub struct DeviceSettings {
    /// Folders of specs.
    pub spec_folders: Vec<PathBuf>,
    /// Every device is allowed.
    pub all_allowed: bool,
    /// Names of devices that are allowed, as they are written for a step.
    pub allowed: BTreeSet<String>,
}

/// Puts the qualified names of devices in the place of what the steps of a plan ask for, and answers with what describes
/// them. Specs are read only if a step asks for a device.
///
/// A device that is not there and not required is left out: the step is the same as one that never asked.
pub(super) fn resolve(
    plan: &mut Plan,
    settings: &DeviceSettings,
    sink: &mut dyn EventSink,
) -> Result<Registry, BuildError> {
    let mut requests: Vec<_> = plan
        .steps
        .iter_mut()
        .filter_map(|step| match &mut step.kind {
            StepKind::Run(run) if !run.devices.is_empty() => Some(&mut run.devices),
            _ => None,
        })
        .collect();
    if requests.is_empty() {
        return Ok(Registry::default());
    }
    let registry = Registry::read(&settings.spec_folders);
    for problem in registry.problems() {
        let message = problem.to_string();
        sink.emit(BuildEvent::Warning { message });
    }
    let mut mistakes = Vec::new();
    for devices in &mut requests {
        let mut found: Vec<DeviceRequest> = Vec::new();
        for request in devices.iter() {
            match one(&registry, settings, request) {
                Ok(names) => {
                    for name in names {
                        if !found.iter().any(|device| device.name == name) {
                            found.push(DeviceRequest {
                                name,
                                ..request.clone()
                            });
                        }
                    }
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
        **devices = found;
    }
    if mistakes.is_empty() {
        Ok(registry)
    } else {
        Err(BuildError::Dockerfile(mistakes))
    }
}

/// The devices that one request comes to.
fn one(
    registry: &Registry,
    settings: &DeviceSettings,
    request: &DeviceRequest,
) -> Result<Vec<String>, Diagnostic> {
    let mistake = |code, message: String| Diagnostic::error(code, message).at(request.span, "");
    let invalid = |error: CdiError| mistake("device", error.to_string());
    let names = registry.find(&request.name).map_err(invalid)?;
    if names.is_empty() && request.required {
        let message = format!("required device \"{}\" is not registered", request.name);
        let folders: Vec<_> = settings
            .spec_folders
            .iter()
            .map(|folder| format!("`{}`", folder.display()))
            .collect();
        return Err(mistake("device", message).hint(format!(
            "its spec is looked for in {}; name another folder with `--cdi-spec-dir DIR`",
            folders.join(" and ")
        )));
    }
    if settings.all_allowed {
        return Ok(names);
    }
    let mut allowed = BTreeSet::new();
    for name in &settings.allowed {
        allowed.extend(registry.find(name).map_err(invalid)?);
    }
    let forbidden: Vec<_> = names
        .iter()
        .filter(|name| !allowed.contains(*name) && !registry.is_allowed_to_all(name))
        .collect();
    let message = match forbidden.as_slice() {
        [] => return Ok(names),
        [name] => format!("device {name} is requested by the build but not allowed"),
        several => {
            let several: Vec<_> = several.iter().map(|name| name.as_str()).collect();
            let several = several.join(", ");
            format!("devices {several} are requested by the build but not allowed")
        }
    };
    Err(mistake("entitlement", message).hint(format!(
        "allow it with `--allow device={}`, or every device with `--allow device`",
        forbidden[0]
    )))
}
