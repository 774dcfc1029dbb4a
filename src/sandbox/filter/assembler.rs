//! From tables of verdicts to a program of the kernel's packet filter machine (`seccomp(2)`, `struct seccomp_data`).
//!
//! One block an architecture; in it the number is looked for by halving, so that a call costs some eight comparisons. The kernel
//! itself remembers which calls are always allowed (since Linux 5.11), and does not run the program for those at all.

use super::{Condition, Instruction, Table, Verdict};

/// Load a word of the call's data.
const LOAD: u16 = 0x20;
/// Skip so many.
const SKIP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const ANSWER: u16 = 0x06;

/// Where things are in the call's data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The lower half of the first argument; all processors that are known here put it first.
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const FAIL_WITH: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The program for these architectures; calls of any other are unknown. Empty for none.
pub(super) fn assemble(tables: &[Table]) -> Vec<Instruction> {
    if tables.is_empty() {
        return Vec::new();
    }
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    for table in tables {
        let mut block = vec![plain(LOAD, NUMBER)];
        block.extend(search(&table.ranges));
        program.extend(when(plain(IF_EQUAL, table.architecture), block));
    }
    program.extend(answer(Verdict::Unknown));
    program
}

/// The verdict of the range that the number is in; always ends with an answer.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    match ranges {
        [] => answer(Verdict::Unknown),
        [(_, verdict)] => answer(*verdict),
        ranges => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let first = high.first().map_or(u32::MAX, |(first, _)| *first);
            let mut program = when(plain(IF_AT_LEAST, first), search(high));
            program.extend(search(low));
            program
        }
    }
}

/// Runs `block` if the comparison holds, else goes on behind it. Skips in comparisons are of one byte, those of a skip are not.
fn when(comparison: Instruction, block: Vec<Instruction>) -> Vec<Instruction> {
    let mut program = Vec::with_capacity(block.len() + 2);
    match u8::try_from(block.len()) {
        Ok(length) => program.push(Instruction {
            if_false: length,
            ..comparison
        }),
        Err(_far) => {
            program.push(Instruction {
                if_true: 1,
                ..comparison
            });
            let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
            program.push(plain(SKIP, length));
        }
    }
    program.extend(block);
    program
}

fn answer(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![plain(ANSWER, ALLOW)],
        Verdict::Refuse => vec![plain(ANSWER, FAIL_WITH | EPERM)],
        Verdict::Unknown => vec![plain(ANSWER, FAIL_WITH | ENOSYS)],
        Verdict::Depends(condition) => {
            let mut program = vec![plain(LOAD, FIRST_ARGUMENT)];
            let (allow, refuse) = (answer(Verdict::Allow), answer(Verdict::Refuse));
            match condition {
                Condition::NoneOf(bits) => program.extend(when(plain(IF_ANY_BIT, bits), refuse)),
                Condition::Not(value) => program.extend(when(plain(IF_EQUAL, value), refuse)),
                Condition::OneOf(values) => {
                    for value in values {
                        program.extend(when(plain(IF_EQUAL, *value), allow.clone()));
                    }
                    program.extend(refuse);
                    return program;
                }
            }
            program.extend(allow);
            program
        }
    }
}

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction {
        code,
        if_true: 0,
        if_false: 0,
        operand,
    }
}
