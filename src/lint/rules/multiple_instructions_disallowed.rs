//! `MultipleInstructionsDisallowed`: of some instructions only the last one of a stage counts.

use crate::dockerfile::ast::{Instruction, InstructionKind, Stage};
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;

pub(super) const RULE: Rule = Rule {
    name: "MultipleInstructionsDisallowed",
    description: "An instruction of which only the last one counts should not be given twice in a stage",
    url: Some("https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for stage in subject.built_stages() {
        once(stage, found, |kind| matches!(kind, InstructionKind::Cmd(_)));
        once(stage, found, |kind| {
            matches!(kind, InstructionKind::Entrypoint(_))
        });
        once(stage, found, |kind| {
            matches!(kind, InstructionKind::Healthcheck(_))
        });
    }
}

/// Of each two in a row the earlier one is in vain.
fn once(stage: &Stage, found: &mut Found, is_it: fn(&InstructionKind) -> bool) {
    let all = stage.instructions.iter();
    let same: Vec<&Instruction> = all.filter(|instruction| is_it(&instruction.kind)).collect();
    for pair in same.windows(2) {
        let [earlier, later] = pair else {
            continue;
        };
        let message = format!(
            "Multiple {} instructions should not be used in the same stage because only the last one will be used",
            later.keyword.value
        );
        let finding = found
            .warning(message)
            .at(earlier.span, "this has no effect");
        let finding = finding.at(later.span, "because of this");
        found.add(finding.hint("remove the one that is not meant"));
    }
}
