//! What a step may use of the machine, as plain data: the wish, in the terms of command lines. How a kernel is told is in `cgroup`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of all processes of a step together; what is `None` is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Memory and swap together. Unless it is said, as much swap as memory.
    pub memory_swap: Option<SwapLimit>,
    /// Processor time.
    pub cpu: CpuLimits,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Block devices.
    pub io: IoLimits,
    /// Path of the cgroup, from the root of its hierarchy, in which that of the step is made; it has to be there.
    pub cgroup_parent: Option<String>,
}

/// How much memory and swap a step may use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwapLimit {
    /// As much swap as there is.
    Unlimited,
    /// Bytes, memory and swap together.
    Total(u64),
}

/// Limits on processor time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLimits {
    /// Weight beside others, 2 to 262144; 1024 is usual.
    pub shares: Option<u64>,
    /// Length of a period.
    pub period: Option<Duration>,
    /// Processor time in a period.
    pub quota: Option<Duration>,
    /// Processors, as a list of numbers and ranges.
    pub processors: Option<String>,
    /// Memory nodes, as a list of numbers and ranges.
    pub memory_nodes: Option<String>,
}

/// Limits on block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimits {
    /// Weight beside others, 10 to 1000.
    pub weight: Option<u64>,
    /// The same on one device.
    pub device_weights: Vec<DeviceLimit>,
    /// Bytes that may be read in a second.
    pub read_bytes: Vec<DeviceLimit>,
    /// Bytes that may be written in a second.
    pub written_bytes: Vec<DeviceLimit>,
    /// Reads in a second.
    pub reads: Vec<DeviceLimit>,
    /// Writes in a second.
    pub writes: Vec<DeviceLimit>,
}

/// A limit that holds for one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimit {
    /// The machine's file of it: `/dev/sda`.
    pub device: PathBuf,
    /// The weight, or what it may do in a second.
    pub value: u64,
}

impl Limits {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Memory and swap together, with what holds unless it is said.
    pub(super) fn swap_in_force(&self) -> Option<SwapLimit> {
        let as_much = |memory: u64| SwapLimit::Total(memory.saturating_mul(2));
        self.memory_swap.or_else(|| self.memory.map(as_much))
    }
}
