//! `HeredocWithoutErrexit`: a script of several commands stops where one of them fails.

use crate::dockerfile::ast::{Heredoc, RunCommand};
use crate::lint::rule::{Found, Rule};
use crate::lint::runs::{Run, interpreter, is_shell, runs};
use crate::lint::shell::{self, Separator, SimpleCommand, is_assignment};
use crate::lint::subject::Subject;

pub(super) const RULE: Rule = Rule {
    name: "HeredocWithoutErrexit",
    description: "A shell script in a heredoc should stop at the first command that fails",
    url: None,
    experimental: false,
    ours: true,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for run in runs(subject) {
        let Some((shell, heredoc)) = script(&run) else {
            continue;
        };
        let commands = shell::commands(&heredoc.content());
        if shell_stops(&shell) || !goes_on_after_failure(&commands) {
            continue;
        }
        let message =
            "Commands of this heredoc may fail without failing the build: only the last one counts";
        let finding = found.warning(message).at(heredoc.marker, "");
        found.add(finding.hint("begin the script with `set -e`"));
    }
}

/// The words that start the shell, and the script that it reads.
fn script<'a>(run: &Run<'a>) -> Option<(Vec<String>, &'a Heredoc)> {
    match run.written {
        RunCommand::Plain(_) => None,
        RunCommand::Script(heredoc) => {
            let (_, shell) = run.run.argv.split_last()?;
            is_shell(shell.first()?).then(|| (shell.to_vec(), heredoc))
        }
        RunCommand::Executable(heredoc) => {
            let words = interpreter(&heredoc.body)?;
            let start = words.iter().position(|word| is_shell(word))?;
            Some((words[start..].to_vec(), heredoc))
        }
        // `RUN bash -x <<EOF`: nothing but a shell that reads its input.
        RunCommand::Reassembled { line, heredocs, .. } => {
            let [heredoc] = heredocs.as_slice() else {
                return None;
            };
            let [command] = <[SimpleCommand; 1]>::try_from(shell::commands(line)).ok()?;
            let argv = command.argv();
            let reads_input = argv.iter().skip(1).all(|word| word.starts_with('-'));
            (is_shell(argv.first()?) && reads_input).then(|| (argv.to_vec(), heredoc))
        }
    }
}

/// Whether the options of a shell make it stop.
fn shell_stops(words: &[String]) -> bool {
    let options = words.get(1..).unwrap_or_default();
    let short =
        |word: &String| word.starts_with('-') && !word.starts_with("--") && word.contains('e');
    options.iter().any(|word| short(word) || word == "errexit")
}

/// Whether a script has a command whose failure nobody notices: one that others follow, before any `set -e`.
fn goes_on_after_failure(commands: &[SimpleCommand]) -> bool {
    let Some((last, others)) = commands.split_last() else {
        return false;
    };
    if commands
        .iter()
        .any(|command| command.program() == "set" && shell_stops(command.argv()))
    {
        return false;
    }
    // The parts of `a && b || exit 1` are one matter.
    let mut ends = others
        .iter()
        .filter(|command| command.after == Separator::End);
    let harmless = |command: &SimpleCommand| {
        command.words.iter().all(|word| is_assignment(word))
            || matches!(
                command.program(),
                "set" | "export" | "readonly" | ":" | "true" | "echo" | "exit" | "return"
            )
    };
    !last.words.is_empty() && ends.any(|command| !harmless(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_commands_need_errexit() {
        for (script, expected) in [
            ("", false),
            ("make", false),
            ("make && make install\n", false),
            ("make\nmake install\n", true),
            ("make; make install\n", true),
            ("make || exit 1\nmake install\n", false),
            ("A=1\nexport B=2\nmake\n", false),
            ("set -e\nmake\nmake install\n", false),
            ("set -o errexit\nmake\nmake install\n", false),
            ("set -euxo pipefail\nmake\nmake install\n", false),
            ("set -x\nmake\nmake install\n", true),
            ("if a; then b; fi\n", true),
            ("# comment\n\nmake # again\n", false),
        ] {
            assert_eq!(
                goes_on_after_failure(&shell::commands(script)),
                expected,
                "{script:?}"
            );
        }
        for (shell, expected) in [
            ("/bin/sh -c", false),
            ("/bin/bash -ec", true),
            ("/bin/bash -o pipefail -o errexit -c", true),
            ("bash --rcfile x", false),
        ] {
            let words: Vec<String> = shell.split(' ').map(str::to_owned).collect();
            assert_eq!(shell_stops(&words), expected, "{shell}");
        }
    }
}
