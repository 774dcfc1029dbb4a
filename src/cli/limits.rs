//! Limits of RUN steps: the grammar of each value, and what holds where a flag, `--resource` and a setting could all say it.

use std::path::PathBuf;
use std::time::Duration;

use super::args::LimitArgs;
use super::preferences::Preferences;
use super::values;
use crate::sandbox::{CpuLimits, DeviceLimit, IoLimits, Limits, SwapLimit};

/// With less no program starts; the least that engines take.
const LEAST_MEMORY: u64 = 6 << 20;

/// The period of `--cpus`.
const PERIOD: f64 = 0.1;

/// Reads all flags; settings hold where there is none.
pub(super) fn limits(args: &LimitArgs, preferences: &Preferences) -> Result<Limits, String> {
    let args = &with_resources(args)?;
    let memory = flag("--memory", &args.memory, memory)?.unwrap_or(preferences.memory.value);
    let pids = flag("--pids-limit", &args.pids_limit, count)?;
    Ok(Limits {
        memory,
        memory_swap: flag("--memory-swap", &args.memory_swap, |text| {
            swap(text, memory)
        })?,
        cpu: cpu(args)?,
        pids: pids.unwrap_or(preferences.pids_limit.value),
        io: io(args)?,
        cgroup_parent: flag("--cgroup-parent", &args.cgroup_parent, cgroup)?,
    })
}

/// Reads `--timeout`; the setting holds where there is none.
pub(super) fn step_timeout(
    args: &LimitArgs,
    preferences: &Preferences,
) -> Result<Option<Duration>, String> {
    let given = flag("--timeout", &args.timeout, timeout)?;
    Ok(given.unwrap_or(preferences.timeout.value))
}

fn flag<T>(
    name: &str,
    text: &Option<String>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let value = text.as_deref().map(read).transpose();
    value.map_err(|why| format!("{name}: {why}"))
}

/// `--resource` is another way to write flags.
fn with_resources(args: &LimitArgs) -> Result<LimitArgs, String> {
    let mut args = args.clone();
    for text in std::mem::take(&mut args.resource) {
        let pair = text.split_once('=');
        let (name, value) =
            pair.ok_or_else(|| format!("--resource: `{text}` is not NAME=VALUE"))?;
        let place = match name {
            "memory" => &mut args.memory,
            "memory-swap" => &mut args.memory_swap,
            "cpu-shares" => &mut args.cpu_shares,
            "cpu-period" => &mut args.cpu_period,
            "cpu-quota" => &mut args.cpu_quota,
            "cpuset-cpus" => &mut args.cpuset_cpus,
            "cpuset-mems" => &mut args.cpuset_mems,
            _ => return Err(format!("--resource: unknown resource `{name}`")),
        };
        if place.replace(value.to_owned()).is_some() {
            return Err(format!("--resource: `{name}` is given twice"));
        }
    }
    Ok(args)
}

/// Reads bytes of memory, or `none`.
pub(super) fn memory(text: &str) -> Result<Option<u64>, String> {
    match values::limit(text)? {
        Some(bytes) if bytes < LEAST_MEMORY => {
            Err(format!("`{text}` is less than 6m, the least that works"))
        }
        limit => Ok(limit),
    }
}

/// Reads a number of processes, or `none`.
pub(super) fn count(text: &str) -> Result<Option<u64>, String> {
    match text.trim() {
        "none" | "unlimited" | "-1" => Ok(None),
        text => number(text, 1, u64::MAX).map(Some),
    }
}

/// Reads how long a step may take, or `none`.
pub(super) fn timeout(text: &str) -> Result<Option<Duration>, String> {
    match text.trim() {
        "none" => Ok(None),
        text => Ok(Some(values::duration(text)?).filter(|limit| !limit.is_zero())),
    }
}

/// Memory and swap together are at least the memory.
fn swap(text: &str, memory: Option<u64>) -> Result<SwapLimit, String> {
    let Some(memory) = memory else {
        return Err("takes --memory as well".to_owned());
    };
    if text == "-1" {
        return Ok(SwapLimit::Unlimited);
    }
    let total = values::size(text)?;
    match total < memory {
        true => Err(format!("`{text}` is less than --memory, which it includes")),
        false => Ok(SwapLimit::Total(total)),
    }
}

fn cpu(args: &LimitArgs) -> Result<CpuLimits, String> {
    let micros =
        |least, most| move |text: &str| number(text, least, most).map(Duration::from_micros);
    let mut cpu = CpuLimits {
        shares: flag("--cpu-shares", &args.cpu_shares, |text| {
            number(text, 2, 262_144)
        })?,
        period: flag("--cpu-period", &args.cpu_period, micros(1000, 1_000_000))?,
        quota: flag("--cpu-quota", &args.cpu_quota, micros(1000, u64::MAX))?,
        processors: flag("--cpuset-cpus", &args.cpuset_cpus, numbers)?,
        memory_nodes: flag("--cpuset-mems", &args.cpuset_mems, numbers)?,
    };
    if let Some(quota) = flag("--cpus", &args.cpus, cpus)? {
        if cpu.quota.or(cpu.period).is_some() {
            return Err("--cpus: says the same as --cpu-quota and --cpu-period".to_owned());
        }
        cpu.quota = Some(quota);
    }
    Ok(cpu)
}

/// Processor time in a period that is this many processors.
fn cpus(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a number of processors from 0.01 on");
    let cpus: f64 = text.parse().map_err(|_| bad())?;
    let quota = Duration::try_from_secs_f64(cpus * PERIOD).map_err(|_| bad())?;
    match quota < Duration::from_millis(1) {
        true => Err(bad()),
        false => Ok(quota),
    }
}

fn io(args: &LimitArgs) -> Result<IoLimits, String> {
    let weight = |text: &str| number(text, 10, 1000);
    let per_second = |text: &str| number(text, 1, u64::MAX);
    let rate = |text: &str| match values::size(text)? {
        0 => Err(format!("`{text}` is not more than nothing")),
        bytes => Ok(bytes),
    };
    Ok(IoLimits {
        weight: flag("--blkio-weight", &args.blkio_weight, weight)?,
        device_weights: devices("--blkio-weight-device", &args.blkio_weight_device, weight)?,
        read_bytes: devices("--device-read-bps", &args.device_read_bps, rate)?,
        written_bytes: devices("--device-write-bps", &args.device_write_bps, rate)?,
        reads: devices("--device-read-iops", &args.device_read_iops, per_second)?,
        writes: devices("--device-write-iops", &args.device_write_iops, per_second)?,
    })
}

fn devices(
    name: &str,
    texts: &[String],
    read: impl Fn(&str) -> Result<u64, String>,
) -> Result<Vec<DeviceLimit>, String> {
    let device = |text: &String| {
        let parts = text.rsplit_once(':');
        let (device, value) = parts
            .filter(|(device, _)| device.starts_with('/'))
            .ok_or_else(|| format!("{name}: `{text}` is not /PATH/OF/DEVICE:VALUE"))?;
        Ok(DeviceLimit {
            device: PathBuf::from(device),
            value: read(value).map_err(|why| format!("{name}: {why}"))?,
        })
    };
    texts.iter().map(device).collect()
}

/// A path of cgroups does not climb.
fn cgroup(text: &str) -> Result<String, String> {
    let climbs = text.split('/').any(|part| part == "..");
    match text.trim_matches('/').is_empty() || climbs {
        true => Err(format!("`{text}` is not the path of a cgroup")),
        false => Ok(text.to_owned()),
    }
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| match most {
            u64::MAX => format!("`{text}` is not a number from {least} on"),
            _ => format!("`{text}` is not a number from {least} to {most}"),
        })
}

/// A list of numbers and ranges as the kernel takes it: `0-3,5`.
fn numbers(text: &str) -> Result<String, String> {
    let bad = || format!("`{text}` is not a list like 0-3,5");
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
        if number(first)? > number(last)? {
            return Err(bad());
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::settings::Environment;
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn preferences(variables: &[(&str, &str)]) -> Preferences {
        Preferences::read(None, &Environment::of(variables)).unwrap()
    }

    fn read(words: &str) -> Result<Limits, String> {
        let words = std::iter::once("builder").chain(words.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        limits(&line.limits, &preferences(&[]))
    }

    #[test]
    fn flags_are_limits() {
        assert!(read("").unwrap().is_empty());
        let found = read("-m 64m --memory-swap 96m -c 512 --cpus 1.5 --pids-limit 9").unwrap();
        assert_eq!(found.memory, Some(64 << 20));
        assert_eq!(found.memory_swap, Some(SwapLimit::Total(96 << 20)));
        assert_eq!(found.cpu.shares, Some(512));
        assert_eq!(found.cpu.quota, Some(Duration::from_millis(150)));
        assert_eq!(found.pids, Some(9));
        let found = read("-m 64m --memory-swap -1 --pids-limit -1 --cpuset-cpus 0-3,5").unwrap();
        assert_eq!(
            (found.memory_swap, found.pids),
            (Some(SwapLimit::Unlimited), None)
        );
        assert_eq!(found.cpu.processors.as_deref(), Some("0-3,5"));
        let found = read("--device-read-bps /dev/a:1m --blkio-weight 10").unwrap();
        assert_eq!(found.io.read_bytes[0].value, 1 << 20);
        assert_eq!(
            read("--resource memory=64m --resource cpu-quota=5000").unwrap(),
            read("-m 64m --cpu-quota 5000").unwrap()
        );
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let cases = [
            ("-m 5m", "--memory: `5m` is less than 6m"),
            ("-m much", "--memory: invalid size `much`"),
            ("--memory-swap 96m", "--memory-swap: takes --memory"),
            ("-m 64m --memory-swap 32m", "`32m` is less than --memory"),
            ("--cpus 0", "`0` is not a number of processors"),
            ("--cpus nan", "`nan` is not a number of processors"),
            ("--cpus 1 --resource cpu-quota=5000", "says the same"),
            ("-c 1", "from 2 to 262144"),
            ("--cpu-period 10", "from 1000 to 1000000"),
            ("--cpu-quota 0", "from 1000 on"),
            ("--cpuset-cpus 3-1", "--cpuset-cpus: `3-1` is not a list"),
            ("--cpuset-mems 0,,1", "is not a list"),
            (
                "--pids-limit 0",
                "--pids-limit: `0` is not a number from 1 on",
            ),
            ("--blkio-weight 5", "from 10 to 1000"),
            ("--device-read-bps sda:1m", "is not /PATH/OF/DEVICE:VALUE"),
            ("--device-write-iops /dev/a:x", "--device-write-iops: `x`"),
            ("--cgroup-parent /a/../..", "is not the path of a cgroup"),
            ("--resource swap=1", "unknown resource `swap`"),
            ("--resource memory", "is not NAME=VALUE"),
            ("-m 64m --resource memory=64m", "`memory` is given twice"),
        ];
        for (words, expected) in cases {
            let error = read(words).unwrap_err();
            assert!(error.contains(expected), "{words}: {error}");
        }
    }

    #[test]
    fn a_flag_goes_before_a_setting() {
        let set = preferences(&[("BUILDER_MEMORY", "1g"), ("BUILDER_TIMEOUT", "10m")]);
        let of = |args: &LimitArgs| {
            let timeout = step_timeout(args, &set).unwrap();
            (limits(args, &set).unwrap().memory, timeout)
        };
        let nothing = LimitArgs::default();
        assert_eq!(
            of(&nothing),
            (Some(1 << 30), Some(Duration::from_secs(600)))
        );
        let other = LimitArgs {
            memory: Some("none".into()),
            timeout: Some("5s".into()),
            ..LimitArgs::default()
        };
        assert_eq!(of(&other), (None, Some(Duration::from_secs(5))));
        let none = LimitArgs {
            timeout: Some("0".into()),
            ..LimitArgs::default()
        };
        assert_eq!(of(&none).1, None);
    }
}
