//! The filter of system calls: which calls a step may make, as a program that the kernel runs before each of them.
//!
//! Pure: the program is computed here and installed by the child. `profile` is the judgement (what is refused, and why),
//! `architectures` the numbers of the calls, `assembler` the program. A refused call fails with `EPERM`; one that nobody knew when
//! the table was written fails with `ENOSYS`, so that a C library falls back to an older one.

mod architectures;
mod assembler;
mod profile;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// One instruction of the kernel's packet filter machine (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Instruction {
    /// What to do.
    pub(super) code: u16,
    /// How many instructions to skip if a comparison holds.
    pub(super) if_true: u8,
    /// How many to skip if it does not.
    pub(super) if_false: u8,
    /// The operand.
    pub(super) operand: u32,
}

/// A program; empty for one that lets everything pass.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Filter(pub(super) Vec<Instruction>);

impl fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<{} instructions>", self.0.len())
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is made.
    Allow,
    /// `EPERM`: known, and not for a step.
    Refuse,
    /// `ENOSYS`: unknown, or better done another way.
    Unknown,
    /// It depends on the first argument.
    Depends(Condition),
}

/// A condition on the lower half of the first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Allowed if none of these bits is set.
    NoneOf(u32),
    /// Allowed if it is one of these.
    OneOf(&'static [u32]),
    /// Allowed if it is not this.
    Not(u32),
}

/// The calls of one architecture that the processor runs: its number in the kernel's audit interface, and a verdict for each number
/// from 0 on, in ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    architecture: u32,
    /// First number of each range, ascending from 0, and what holds for the range.
    ranges: Vec<(u32, Verdict)>,
}

impl Filter {
    /// The program for steps that are confined; empty for processors whose calls are not known here.
    pub(super) fn confined() -> Self {
        static PROGRAM: LazyLock<Filter> =
            LazyLock::new(|| Filter(assembler::assemble(&architectures::of_this_processor())));
        PROGRAM.clone()
    }
}

/// The same judgement in the words of the OCI runtime specification (`config-linux.md`, seccomp), for runtimes that make filters
/// themselves. What they do not know by name is allowed.
pub(super) fn as_rules() -> serde_json::Value {
    use serde_json::json;
    let refused: Vec<&str> = profile::REFUSED
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    let mut rules = vec![
        json!({ "names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }),
        json!({
            "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
            "args": [{ "index": 0, "value": profile::AF_VSOCK, "op": "SCMP_CMP_EQ" }],
        }),
    ];
    let flags = (0..u32::BITS).map(|bit| 1_u32 << bit);
    for flag in flags.filter(|flag| profile::NEW_NAMESPACES & flag != 0) {
        rules.push(json!({
            "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
            "args": [{ "index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ" }],
        }));
    }
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": rules,
    })
}
