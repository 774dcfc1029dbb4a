//! From limits to the files of the kernel and what is written to them, for both versions of cgroups. Pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::super::limits::{CpuLimits, DeviceLimit, IoLimits, Limits, SwapLimit};
use super::error::CgroupError;

/// The period of a quota unless it is said.
const PERIOD: Duration = Duration::from_millis(100);

/// Which cgroups a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A part of the kernel that limits something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    Cpu,
    Cpuset,
    Io,
    Memory,
    Pids,
}

impl Controller {
    pub(super) const ALL: [Self; 5] = [Self::Cpu, Self::Cpuset, Self::Io, Self::Memory, Self::Pids];

    pub(super) fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Cpu, _) => "cpu",
            (Self::Cpuset, _) => "cpuset",
            (Self::Io, Version::One) => "blkio",
            (Self::Io, Version::Two) => "io",
            (Self::Memory, _) => "memory",
            (Self::Pids, _) => "pids",
        }
    }

    /// Whether something is asked of it.
    pub(super) fn is_needed(self, limits: &Limits) -> bool {
        let CpuLimits {
            shares,
            period,
            quota,
            processors,
            memory_nodes,
        } = &limits.cpu;
        match self {
            Self::Cpu => shares.is_some() || period.is_some() || quota.is_some(),
            Self::Cpuset => processors.is_some() || memory_nodes.is_some(),
            Self::Io => limits.io != IoLimits::default(),
            Self::Memory => limits.memory.is_some() || limits.memory_swap.is_some(),
            Self::Pids => limits.pids.is_some(),
        }
    }
}

/// One value that the kernel is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Files with the value in the form of each; the first one that the kernel has is taken.
    pub(super) choices: Vec<(&'static str, String)>,
    /// Whether it does not matter that the kernel has none of them.
    pub(super) optional: bool,
}

impl Setting {
    fn new(file: &'static str, value: impl ToString) -> Self {
        Self {
            choices: vec![(file, value.to_string())],
            optional: false,
        }
    }

    fn or(mut self, file: &'static str, value: impl ToString) -> Self {
        self.choices.push((file, value.to_string()));
        self
    }
}

/// The numbers of a device as the kernel writes them, `8:0`.
pub(super) type Numbers<'n> = &'n dyn Fn(&Path) -> Result<String, CgroupError>;

/// What a controller is told, in this order.
pub(super) fn settings(
    controller: Controller,
    version: Version,
    limits: &Limits,
    numbers: Numbers<'_>,
) -> Result<Vec<Setting>, CgroupError> {
    Ok(match controller {
        Controller::Cpu => cpu(version, &limits.cpu),
        Controller::Cpuset => cpuset(&limits.cpu),
        Controller::Io => io(version, &limits.io, numbers)?,
        Controller::Memory => memory(version, limits),
        Controller::Pids => limits
            .pids
            .map(|most| Setting::new("pids.max", most))
            .into_iter()
            .collect(),
    })
}

/// Memory comes before swap: together they may not be less.
fn memory(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let (file, swap_file) = match version {
        Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        Version::Two => ("memory.max", "memory.swap.max"),
    };
    if let Some(memory) = limits.memory {
        settings.push(Setting::new(file, memory));
    }
    if let Some(swap) = limits.swap_in_force() {
        let value = match (swap, version) {
            (SwapLimit::Unlimited, Version::One) => "-1".to_owned(),
            (SwapLimit::Unlimited, Version::Two) => "max".to_owned(),
            (SwapLimit::Total(total), Version::One) => total.to_string(),
            (SwapLimit::Total(total), Version::Two) => total
                .saturating_sub(limits.memory.unwrap_or_default())
                .to_string(),
        };
        settings.push(Setting {
            // A kernel that does not count swap is none that a step without a wish about it cannot run on.
            optional: limits.memory_swap.is_none(),
            ..Setting::new(swap_file, value)
        });
    }
    settings
}

fn cpu(version: Version, cpu: &CpuLimits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(shares) = cpu.shares {
        settings.push(match version {
            Version::One => Setting::new("cpu.shares", shares),
            Version::Two => Setting::new("cpu.weight", weight_of_shares(shares)),
        });
    }
    let period = cpu.period.map(|period| period.as_micros());
    let quota = cpu.quota.map(|quota| quota.as_micros());
    match version {
        Version::One => {
            settings.extend(period.map(|period| Setting::new("cpu.cfs_period_us", period)));
            settings.extend(quota.map(|quota| Setting::new("cpu.cfs_quota_us", quota)));
        }
        Version::Two if period.is_some() || quota.is_some() => {
            let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
            let period = period.unwrap_or(PERIOD.as_micros());
            settings.push(Setting::new("cpu.max", format!("{quota} {period}")));
        }
        Version::Two => {}
    }
    settings
}

fn cpuset(cpu: &CpuLimits) -> Vec<Setting> {
    let setting = |file, value: &Option<String>| {
        let value = value.as_ref();
        value.map(|value| Setting::new(file, value))
    };
    [
        setting("cpuset.cpus", &cpu.processors),
        setting("cpuset.mems", &cpu.memory_nodes),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn io(version: Version, io: &IoLimits, numbers: Numbers<'_>) -> Result<Vec<Setting>, CgroupError> {
    let mut settings = Vec::new();
    if let Some(weight) = io.weight {
        settings.push(match version {
            Version::One => Setting::new("blkio.weight", weight).or("blkio.bfq.weight", weight),
            Version::Two => Setting::new("io.bfq.weight", weight)
                .or("io.weight", format!("default {}", weight_of_blkio(weight))),
        });
    }
    for DeviceLimit { device, value } in &io.device_weights {
        let device = numbers(device)?;
        let line = format!("{device} {value}");
        settings.push(match version {
            Version::One => {
                Setting::new("blkio.weight_device", &line).or("blkio.bfq.weight_device", &line)
            }
            Version::Two => Setting::new("io.bfq.weight", &line)
                .or("io.weight", format!("{device} {}", weight_of_blkio(*value))),
        });
    }
    // Kind, file of version 1, key of version 2.
    let rates = [
        (&io.read_bytes, "blkio.throttle.read_bps_device", "rbps"),
        (&io.written_bytes, "blkio.throttle.write_bps_device", "wbps"),
        (&io.reads, "blkio.throttle.read_iops_device", "riops"),
        (&io.writes, "blkio.throttle.write_iops_device", "wiops"),
    ];
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    for (limits, file, key) in rates {
        for DeviceLimit { device, value } in limits {
            let device = numbers(device)?;
            match version {
                Version::One => settings.push(Setting::new(file, format!("{device} {value}"))),
                Version::Two => {
                    let line = lines.entry(device).or_default();
                    line.push_str(&format!(" {key}={value}"));
                }
            }
        }
    }
    let lines = lines
        .into_iter()
        .map(|(device, rates)| Setting::new("io.max", format!("{device}{rates}")));
    settings.extend(lines);
    Ok(settings)
}

/// Shares go from 2 to 262144, weights from 1 to 10000; the line that container runtimes draw between them.
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// Weights of version 1 go from 10 to 1000.
fn weight_of_blkio(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(limits: &Limits, version: Version) -> Vec<String> {
        let numbers = |path: &Path| match path.to_str() {
            Some("/dev/a") => Ok("8:0".to_owned()),
            Some("/dev/b") => Ok("8:16".to_owned()),
            _ => Err(CgroupError::NoDevice {
                path: path.display().to_string(),
            }),
        };
        let of = |controller: Controller| {
            let settings = settings(controller, version, limits, &numbers).unwrap();
            assert_eq!(settings.is_empty(), !controller.is_needed(limits));
            settings.into_iter().map(|setting| {
                let choices = setting.choices.into_iter();
                let choices = choices.map(|(file, value)| format!("{file}={value}"));
                let optional = if setting.optional { "?" } else { "" };
                choices.collect::<Vec<_>>().join(" | ") + optional
            })
        };
        Controller::ALL.into_iter().flat_map(of).collect()
    }

    fn device(path: &str, value: u64) -> DeviceLimit {
        DeviceLimit {
            device: path.into(),
            value,
        }
    }

    fn everything() -> Limits {
        Limits {
            memory: Some(64 << 20),
            memory_swap: Some(SwapLimit::Total(96 << 20)),
            pids: Some(32),
            cpu: CpuLimits {
                shares: Some(1024),
                period: Some(Duration::from_micros(50_000)),
                quota: Some(Duration::from_micros(25_000)),
                processors: Some("0-1".into()),
                memory_nodes: Some("0".into()),
            },
            io: IoLimits {
                weight: Some(500),
                device_weights: vec![device("/dev/a", 10)],
                read_bytes: vec![device("/dev/a", 1), device("/dev/b", 2)],
                written_bytes: vec![device("/dev/a", 3)],
                reads: vec![device("/dev/b", 4)],
                writes: vec![device("/dev/a", 5)],
            },
            cgroup_parent: None,
        }
    }

    #[test]
    fn version_two() {
        let expected = [
            "cpu.weight=39",
            "cpu.max=25000 50000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "io.bfq.weight=500 | io.weight=default 4950",
            "io.bfq.weight=8:0 10 | io.weight=8:0 1",
            "io.max=8:0 rbps=1 wbps=3 wiops=5",
            "io.max=8:16 rbps=2 riops=4",
            "memory.max=67108864",
            "memory.swap.max=33554432",
            "pids.max=32",
        ];
        assert_eq!(written(&everything(), Version::Two), expected);
    }

    #[test]
    fn version_one() {
        let expected = [
            "cpu.shares=1024",
            "cpu.cfs_period_us=50000",
            "cpu.cfs_quota_us=25000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "blkio.weight=500 | blkio.bfq.weight=500",
            "blkio.weight_device=8:0 10 | blkio.bfq.weight_device=8:0 10",
            "blkio.throttle.read_bps_device=8:0 1",
            "blkio.throttle.read_bps_device=8:16 2",
            "blkio.throttle.write_bps_device=8:0 3",
            "blkio.throttle.read_iops_device=8:16 4",
            "blkio.throttle.write_iops_device=8:0 5",
            "memory.limit_in_bytes=67108864",
            "memory.memsw.limit_in_bytes=100663296",
            "pids.max=32",
        ];
        assert_eq!(written(&everything(), Version::One), expected);
    }

    #[test]
    fn what_is_not_said_has_a_meaning() {
        let of = |limits: Limits| written(&limits, Version::Two);
        let memory = Limits {
            memory: Some(10 << 20),
            ..Limits::default()
        };
        assert_eq!(
            of(memory.clone()),
            ["memory.max=10485760", "memory.swap.max=10485760?"]
        );
        let unlimited = Limits {
            memory_swap: Some(SwapLimit::Unlimited),
            ..memory
        };
        assert_eq!(of(unlimited.clone())[1], "memory.swap.max=max");
        assert_eq!(
            written(&unlimited, Version::One)[1],
            "memory.memsw.limit_in_bytes=-1"
        );
        let cpu = |cpu: CpuLimits| Limits {
            cpu,
            ..Limits::default()
        };
        let quota = Some(Duration::from_millis(150));
        let quota = CpuLimits {
            quota,
            ..CpuLimits::default()
        };
        assert_eq!(of(cpu(quota)), ["cpu.max=150000 100000"]);
        let period = Some(Duration::from_millis(50));
        let period = CpuLimits {
            period,
            ..CpuLimits::default()
        };
        assert_eq!(of(cpu(period)), ["cpu.max=max 50000"]);
        assert_eq!(of(Limits::default()), [""; 0]);
    }

    #[test]
    fn the_ends_of_the_scales_meet() {
        let shares = [2, 1024, 262_144].map(weight_of_shares);
        assert_eq!(shares, [1, 39, 10_000]);
        assert_eq!([10, 1000].map(weight_of_blkio), [1, 10_000]);
    }
}
