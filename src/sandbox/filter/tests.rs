//! The filter run by an interpreter of the kernel's machine, against the judgement that it was made from.

use super::*;

/// What the kernel would answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allow,
    Errno(u32),
}

const EPERM: Answer = Answer::Errno(1);
const ENOSYS: Answer = Answer::Errno(38);

/// A call as the kernel shows it to the program.
#[derive(Clone, Copy, Debug)]
struct Call {
    architecture: u32,
    number: u32,
    first_argument: u32,
}

fn run(program: &[Instruction], call: Call) -> Answer {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let Instruction {
            code,
            if_true,
            if_false,
            operand,
        } = program[at];
        at += 1;
        let mut branch = |holds| at += usize::from(if holds { if_true } else { if_false });
        match code {
            0x20 => {
                accumulator = match operand {
                    0 => call.number,
                    4 => call.architecture,
                    16 => call.first_argument,
                    other => panic!("nothing is known at {other}"),
                }
            }
            0x05 => at += usize::try_from(operand).unwrap(),
            0x15 => branch(accumulator == operand),
            0x35 => branch(accumulator >= operand),
            0x45 => branch(accumulator & operand != 0),
            0x06 if operand == 0x7fff_0000 => return Answer::Allow,
            0x06 => {
                assert_eq!(operand & 0xffff_0000, 0x0005_0000);
                return Answer::Errno(operand & 0xffff);
            }
            other => panic!("an unknown instruction {other:#x}"),
        }
    }
}

fn tables() -> Vec<Table> {
    architectures::of_this_processor()
}

/// The verdict of a table without the program.
fn verdict(table: &Table, number: u32) -> Verdict {
    let range = table.ranges.iter().rev().find(|(from, _)| *from <= number);
    range.unwrap().1
}

#[test]
fn the_program_says_what_the_tables_say() {
    let program = Filter::confined().0;
    assert!(program.len() <= 4096, "{} instructions", program.len());
    let arguments = [
        0,
        8,
        17,
        40,
        0x10000,
        0x2_0000,
        0x4_0000,
        0x7e02_0000,
        0xffff_ffff,
    ];
    for table in tables() {
        for number in (0..1000).chain([0xf_0000, 0xf_0005, 0xf_0007, 0x4000_0001, u32::MAX]) {
            for first_argument in arguments {
                let expected = match verdict(&table, number) {
                    Verdict::Allow => Answer::Allow,
                    Verdict::Refuse => EPERM,
                    Verdict::Unknown => ENOSYS,
                    Verdict::Depends(condition) => {
                        let fine = match condition {
                            Condition::NoneOf(bits) => first_argument & bits == 0,
                            Condition::OneOf(values) => values.contains(&first_argument),
                            Condition::Not(value) => first_argument != value,
                        };
                        if fine { Answer::Allow } else { EPERM }
                    }
                };
                let call = Call {
                    architecture: table.architecture,
                    number,
                    first_argument,
                };
                assert_eq!(run(&program, call), expected, "{call:x?}");
            }
        }
    }
}

#[test]
fn calls_of_other_architectures_are_unknown() {
    let program = Filter::confined().0;
    for architecture in [0, 0x8000_0016, u32::MAX] {
        let call = Call {
            architecture,
            number: 1,
            first_argument: 0,
        };
        assert_eq!(run(&program, call), ENOSYS);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn names_get_the_verdict_they_should() {
    use syscalls::x86_64::Sysno;
    let program = Filter::confined().0;
    let ask = |call: Sysno, first_argument| {
        let number = u32::try_from(call.id()).unwrap();
        let call = Call {
            architecture: 0xc000_003e,
            number,
            first_argument,
        };
        run(&program, call)
    };
    for call in [
        Sysno::read,
        Sysno::execve,
        Sysno::chroot,
        Sysno::mknod,
        Sysno::ptrace,
    ] {
        assert_eq!(ask(call, 0), Answer::Allow, "{call}");
    }
    for call in [
        Sysno::mount,
        Sysno::bpf,
        Sysno::keyctl,
        Sysno::io_uring_setup,
    ] {
        assert_eq!(ask(call, 0), EPERM, "{call}");
    }
    assert_eq!(ask(Sysno::clone3, 0), ENOSYS);
    // What `fork` passes, and a new user namespace.
    assert_eq!(ask(Sysno::clone, 0x0120_0011), Answer::Allow);
    assert_eq!(ask(Sysno::clone, 0x1000_0011), EPERM);
    assert_eq!(ask(Sysno::socket, 2), Answer::Allow);
    assert_eq!(ask(Sysno::socket, 40), EPERM);
}

#[test]
fn every_refused_call_is_one_that_some_architecture_has() {
    let known = |name: &str| {
        syscalls::x86_64::Sysno::iter().any(|call| call.name() == name)
            || syscalls::x86::Sysno::iter().any(|call| call.name() == name)
            || syscalls::aarch64::Sysno::iter().any(|call| call.name() == name)
    };
    for (reason, names) in profile::REFUSED {
        assert!(names.is_sorted(), "{reason}");
        for name in names {
            assert!(known(name), "{name}");
        }
    }
}

/// A table with newer calls would allow them, and nobody would have judged them.
#[test]
fn the_newest_calls_are_those_that_were_judged() {
    assert_eq!(syscalls::x86_64::Sysno::last().name(), "file_setattr");
    assert_eq!(syscalls::x86::Sysno::last().name(), "file_setattr");
    assert_eq!(syscalls::aarch64::Sysno::last().name(), "file_setattr");
    assert_eq!(syscalls::arm::Sysno::last().name(), "file_setattr");
    assert_eq!(syscalls::riscv64::Sysno::last().name(), "file_setattr");
}

#[test]
fn the_documentation_has_the_same_table() {
    let page = include_str!("../../../docs/sandbox.md");
    for (reason, names) in profile::REFUSED {
        let row = format!("| {reason} | `{}` |", names.join(" "));
        assert!(page.contains(&row), "{row}");
    }
}
