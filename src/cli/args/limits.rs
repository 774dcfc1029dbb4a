//! Flags that limit what RUN steps may use; names as container engines have them.

use clap::Args;

/// Limits of RUN steps, each step for itself. They enter no cache key.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct LimitArgs {
    /// Memory of a RUN step: 2g, or none [default: none] [env: BUILDER_MEMORY]
    #[arg(short, long, value_name = "SIZE")]
    pub(in crate::cli) memory: Option<String>,

    /// Memory and swap of a RUN step together, -1 for as much swap as there is [default: twice --memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(in crate::cli) memory_swap: Option<String>,

    /// Processors that a RUN step may keep busy: 1.5
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["cpu_period", "cpu_quota"])]
    pub(in crate::cli) cpus: Option<String>,

    /// Weight of a RUN step beside others for processor time, 1024 is usual
    #[arg(short, long, value_name = "WEIGHT")]
    pub(in crate::cli) cpu_shares: Option<String>,

    /// Microseconds of the period that --cpu-quota is of [default: 100000]
    #[arg(long, value_name = "MICROSECONDS")]
    pub(in crate::cli) cpu_period: Option<String>,

    /// Microseconds of processor time that a RUN step has in a period
    #[arg(long, value_name = "MICROSECONDS")]
    pub(in crate::cli) cpu_quota: Option<String>,

    /// Processors that RUN steps run on: 0-3,5
    #[arg(long, value_name = "LIST")]
    pub(in crate::cli) cpuset_cpus: Option<String>,

    /// Memory nodes that RUN steps use: 0,1
    #[arg(long, value_name = "LIST")]
    pub(in crate::cli) cpuset_mems: Option<String>,

    /// Processes and threads of a RUN step, or none [default: none] [env: BUILDER_PIDS_LIMIT]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(in crate::cli) pids_limit: Option<String>,

    /// Weight of a RUN step beside others for input and output, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub(in crate::cli) blkio_weight: Option<String>,

    /// The same on one device, repeatable
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    pub(in crate::cli) blkio_weight_device: Vec<String>,

    /// Bytes a second that a RUN step may read from a device, repeatable: /dev/sda:10m
    #[arg(long, value_name = "DEVICE:SIZE")]
    pub(in crate::cli) device_read_bps: Vec<String>,

    /// Bytes a second that a RUN step may write to a device, repeatable
    #[arg(long, value_name = "DEVICE:SIZE")]
    pub(in crate::cli) device_write_bps: Vec<String>,

    /// Reads a second of a RUN step from a device, repeatable
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub(in crate::cli) device_read_iops: Vec<String>,

    /// Writes a second of a RUN step to a device, repeatable
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub(in crate::cli) device_write_iops: Vec<String>,

    /// Cgroup in which those of RUN steps are made, by its path below the top of the hierarchy; it has to be there
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) cgroup_parent: Option<String>,

    /// One of these limits by its name, repeatable: memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus,
    /// cpuset-mems
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::cli) resource: Vec<String>,

    /// How long a RUN step may take: 90s, 1h30m, or none [default: none] [env: BUILDER_TIMEOUT]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) timeout: Option<String>,
}
