//! How a step ended, what it used, and which limits it met.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a step that ran ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOutcome {
    /// How the command ended.
    pub exit: Exit,
    /// What the command and its descendants used.
    pub resources: Resources,
    /// Which limits they met.
    pub met: MetLimits,
    /// From the start of the sandbox until everything in it was gone.
    pub wall_time: Duration,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It returned.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
}

impl Exit {
    /// Whether the command said that all went well.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The one number that shells give for either ending: 128 + n for signal n.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

/// What a command and its descendants used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processor time in the programs.
    pub user_time: Duration,
    /// Processor time in the kernel for them.
    pub system_time: Duration,
    /// Resident memory of the largest process at its peak. Not below what the sandbox's own start takes (a few MiB).
    pub max_rss_bytes: u64,
    /// Memory of all together at its peak, caches included; known of a step with a cgroup that counts memory.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes that were read from block devices.
    pub read_bytes: u64,
    /// Bytes that were written to block devices, or are to be.
    pub written_bytes: u64,
}

/// The limits that a step met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetLimits {
    /// The kernel killed a process of the step for want of memory.
    pub out_of_memory: Option<OutOfMemory>,
    /// No more processes could be started than these.
    pub refused_processes: Option<u64>,
    /// Periods in which the quota of processor time was used up.
    pub throttled_periods: u64,
}

/// Who had no more memory when the kernel killed a process for want of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfMemory {
    /// The step, at its limit.
    AtLimit {
        /// The most that it had, where that is known.
        peak: Option<u64>,
        /// The limit.
        limit: u64,
    },
    /// The machine, or a cgroup in which that of the step is.
    Above {
        /// The most that the step had, where that is known.
        peak: Option<u64>,
    },
    /// Somebody on the machine, while a process of a step was killed that nobody counted for.
    Perhaps,
}

impl MetLimits {
    /// Whether there is something that explains a failure.
    #[must_use]
    pub fn explain(&self) -> bool {
        self.out_of_memory.is_some() || self.refused_processes.is_some()
    }
}

impl fmt::Display for MetLimits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processes = self
            .refused_processes
            .map(|limit| format!("no process could be started: limit {limit} (--pids-limit)"));
        let memory = self.out_of_memory.map(|memory| memory.to_string());
        let all: Vec<String> = memory.into_iter().chain(processes).collect();
        formatter.write_str(&all.join("; "))
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peak = |peak: &Option<u64>| {
            let peak = peak.map(|peak| format!("peak {}, ", mebibytes(peak)));
            peak.unwrap_or_default()
        };
        match self {
            Self::AtLimit { peak: most, limit } => write!(
                formatter,
                "killed: out of memory: {}limit {} (--memory)",
                peak(most),
                mebibytes(*limit)
            ),
            Self::Above { peak: most } => write!(
                formatter,
                "killed: out of memory: {}the machine or a cgroup above the step has no more",
                peak(most)
            ),
            Self::Perhaps => formatter.write_str(
                "perhaps killed for want of memory, as others on this machine were meanwhile",
            ),
        }
    }
}

/// As limits are given.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1 << 20);
    match tenths % 10 {
        0 => format!("{} MiB", tenths / 10),
        tenth => format!("{}.{tenth} MiB", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_who_ran_out_of_memory_is_named() {
        let at_limit = OutOfMemory::AtLimit {
            peak: Some(255 << 20 | 512 << 10),
            limit: 256 << 20,
        };
        let met = MetLimits {
            out_of_memory: Some(at_limit),
            refused_processes: Some(64),
            throttled_periods: 0,
        };
        assert_eq!(
            met.to_string(),
            "killed: out of memory: peak 255.5 MiB, limit 256 MiB (--memory); \
             no process could be started: limit 64 (--pids-limit)"
        );
        let above = OutOfMemory::Above { peak: None };
        assert_eq!(
            above.to_string(),
            "killed: out of memory: the machine or a cgroup above the step has no more"
        );
        assert!(met.explain() && !MetLimits::default().explain());
    }
}
