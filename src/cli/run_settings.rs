//! What every RUN gets, as flags say: secrets, agents, hosts, limits, certificates.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::args::BuildArgs;
use super::failure::Failure;
use super::preferences::Preferences;
use super::settings::Environment;
use super::{limits, values};
use crate::agent::{AgentSource, Agents};
use crate::sandbox::Emulators;
use crate::sandbox::files::Resolver;
use crate::solve::{RunSettings, SecretSource};

/// This machine's CA bundle, where distributions keep it.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads the flags that are about steps.
pub(super) fn run(
    args: &BuildArgs,
    preferences: &Preferences,
    environment: &Environment,
) -> Result<RunSettings, Failure> {
    let usage = |text: String| Failure::usage(text);
    let mut secrets = BTreeMap::new();
    for text in &args.graph.secret {
        let spec = values::secret(text).map_err(usage)?;
        secrets.insert(spec.id.clone(), secret_source(spec, environment)?);
    }
    Ok(RunSettings {
        secrets,
        emulators: Emulators::in_folders(environment.program_folders()),
        agents: agents(&args.graph.ssh, environment)?,
        hosts: args
            .add_host
            .iter()
            .map(|text| values::host(text))
            .collect::<Result<_, _>>()
            .map_err(usage)?,
        resolver: Resolver {
            servers: args.dns.clone(),
            options: args.dns_option.clone(),
            search: args.dns_search.clone(),
        },
        ca_bundle: args.ca_certs.as_deref().map(ca_bundle).transpose()?,
        offline: preferences.offline.value,
        snapshotter: preferences.snapshotter.value,
        ulimits: args
            .ulimit
            .iter()
            .map(|text| values::ulimit(text))
            .collect::<Result<_, _>>()
            .map_err(usage)?,
        limits: limits::limits(&args.limits, preferences).map_err(usage)?,
        timeout: limits::step_timeout(&args.limits, preferences).map_err(usage)?,
        shm_size: args
            .shm_size
            .as_deref()
            .map(values::size)
            .transpose()
            .map_err(usage)?,
    })
}

/// `--ssh`: where no path is given, the agent that the user's own SSH clients find.
fn agents(texts: &[String], environment: &Environment) -> Result<Agents, Failure> {
    let mut agents = Agents::default();
    for text in texts {
        let (id, mut paths) = values::ssh(text);
        if paths.is_empty() {
            paths.extend(environment.path("SSH_AUTH_SOCK"));
        }
        let source = AgentSource::open(&paths).map_err(|error| {
            let failure = Failure::usage(format!("--ssh {id}: {error}"));
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        agents.offer(id, source);
    }
    Ok(agents)
}

/// Without `src` or `env`: the variable of that name if it is set, else the file of that name.
fn secret_source(
    spec: values::SecretSpec,
    environment: &Environment,
) -> Result<SecretSource, Failure> {
    use std::os::unix::ffi::OsStrExt as _;
    let variable = |name: &str| {
        let value = environment.variable(name);
        value.map(|value| SecretSource::Value(value.as_bytes().to_vec()))
    };
    let file = match (spec.file, spec.env) {
        (Some(file), _) => file,
        (None, Some(name)) => {
            let missing = || {
                Failure::usage(format!(
                    "secret {}: the variable `{name}` is not set",
                    spec.id
                ))
            };
            return variable(&name).ok_or_else(missing);
        }
        (None, None) => match variable(&spec.id) {
            Some(value) => return Ok(value),
            None => PathBuf::from(&spec.id),
        },
    };
    match crate::fsio::metadata(&file) {
        Ok(_) => Ok(SecretSource::File(file)),
        Err(error) => Err(Failure::usage(format!(
            "secret {}: failed to stat: {error}",
            spec.id
        ))),
    }
}

fn ca_bundle(text: &str) -> Result<PathBuf, Failure> {
    if text == "system" {
        let found = SYSTEM_BUNDLES
            .iter()
            .find(|path| crate::fsio::metadata(path).is_ok_and(|there| there.is_file()));
        let missing = || {
            Failure::environment("this machine has no CA bundle where one is expected")
                .hint("install `ca-certificates`, or name a file with `--ca-certs FILE`")
        };
        return found.map(PathBuf::from).ok_or_else(missing);
    }
    match crate::fsio::metadata(text) {
        Ok(there) if there.is_file() => {
            crate::fsio::canonicalize(text).map_err(Failure::environment)
        }
        Ok(_) => Err(Failure::usage(format!(
            "--ca-certs: `{text}` is not a file"
        ))),
        Err(error) => Err(Failure::usage(format!("--ca-certs: {error}"))),
    }
}
