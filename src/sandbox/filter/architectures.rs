//! The numbers of system calls, for each architecture that a processor of this kind runs.

use super::{Table, Verdict, profile};

#[cfg(target_arch = "x86_64")]
const AUDIT_X86_64: u32 = 0xc000_003e;
#[cfg(target_arch = "x86_64")]
const AUDIT_I386: u32 = 0x4000_0003;
#[cfg(target_arch = "aarch64")]
const AUDIT_AARCH64: u32 = 0xc000_00b7;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARM: u32 = 0x4000_0028;
#[cfg(target_arch = "riscv64")]
const AUDIT_RISCV64: u32 = 0xc000_00f3;

/// Calls that ARM keeps to itself, behind all others: cache and thread register.
#[cfg(target_arch = "aarch64")]
const PRIVATE_OF_ARM: std::ops::RangeInclusive<u32> = 0x000f_0001..=0x000f_0006;

/// The native one first.
///
/// The numbers of x32 begin at a bit that no number of x86-64 has: its calls are unknown, as they are to most kernels.
pub(super) fn of_this_processor() -> Vec<Table> {
    #[cfg(target_arch = "x86_64")]
    return vec![
        table(
            AUDIT_X86_64,
            syscalls::x86_64::Sysno::iter().map(|call| (call.id(), call.name())),
        ),
        table(
            AUDIT_I386,
            syscalls::x86::Sysno::iter().map(|call| (call.id(), call.name())),
        ),
    ];
    #[cfg(target_arch = "aarch64")]
    return vec![
        table(
            AUDIT_AARCH64,
            syscalls::aarch64::Sysno::iter().map(|call| (call.id(), call.name())),
        ),
        with_private_calls(table(
            AUDIT_ARM,
            syscalls::arm::Sysno::iter().map(|call| (call.id(), call.name())),
        )),
    ];
    #[cfg(target_arch = "riscv64")]
    return vec![table(
        AUDIT_RISCV64,
        syscalls::riscv64::Sysno::iter().map(|call| (call.id(), call.name())),
    )];
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    return Vec::new();
}

/// Numbers and names, ascending, as ranges of one verdict each. What is between them or behind them is unknown.
fn table(architecture: u32, calls: impl Iterator<Item = (i32, &'static str)>) -> Table {
    let mut ranges = vec![(0, Verdict::Unknown)];
    for (number, name) in calls {
        let Ok(number) = u32::try_from(number) else {
            continue;
        };
        set(&mut ranges, number, profile::verdict(name));
        set(&mut ranges, number + 1, Verdict::Unknown);
    }
    Table {
        architecture,
        ranges,
    }
}

/// From `number` on `verdict` holds; `number` is not below the start of the last range.
fn set(ranges: &mut Vec<(u32, Verdict)>, number: u32, verdict: Verdict) {
    if ranges.last().is_some_and(|(start, _)| *start == number) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|(_, before)| *before != verdict) {
        ranges.push((number, verdict));
    }
}

#[cfg(target_arch = "aarch64")]
fn with_private_calls(mut table: Table) -> Table {
    set(&mut table.ranges, *PRIVATE_OF_ARM.start(), Verdict::Allow);
    set(
        &mut table.ranges,
        *PRIVATE_OF_ARM.end() + 1,
        Verdict::Unknown,
    );
    table
}
