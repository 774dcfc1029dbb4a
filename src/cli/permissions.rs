//! What a Dockerfile may ask for beyond a confined step: the meaning of `--allow`, and of the flags that go with it.

use std::path::PathBuf;

use super::args::BuildArgs;
use super::failure::Failure;
use crate::build::DeviceSettings;
use crate::cdi;
use crate::plan::{Entitlements, NetworkMode};

/// What `--allow` permits to planning; `device` is for [`devices`].
pub(super) fn entitlements(args: &BuildArgs) -> Result<Entitlements, Failure> {
    let mut entitlements = Entitlements {
        // Who runs all steps on the machine's network lets those that ask for it have it.
        network_host: args.graph.network == Some(NetworkMode::Host),
        security_insecure: false,
    };
    for text in &args.graph.allow {
        match text.split_once('=').unwrap_or((text, "")) {
            ("network.host", "") => entitlements.network_host = true,
            ("security.insecure", "") => entitlements.security_insecure = true,
            ("device", _) => {}
            _ => {
                let known = "network.host, security.insecure, device or device=NAME";
                return Err(Failure::usage(format!(
                    "unknown entitlement `{text}` for --allow, expected {known}"
                )));
            }
        }
    }
    Ok(entitlements)
}

/// `--cdi-spec-dir`, and what `--allow` says of devices.
pub(super) fn devices(args: &BuildArgs) -> DeviceSettings {
    let named = args
        .graph
        .allow
        .iter()
        .filter_map(|text| text.strip_prefix("device="));
    DeviceSettings {
        spec_folders: match args.graph.cdi_spec_dir.as_slice() {
            [] => cdi::FOLDERS.map(PathBuf::from).to_vec(),
            folders => folders.to_vec(),
        },
        all_allowed: args.graph.allow.iter().any(|text| text == "device"),
        allowed: named.map(str::to_owned).collect(),
    }
}
