//! `UndefinedArgInFrom`: a `FROM` line uses arguments that are declared before the first `FROM`.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;

pub(super) const RULE: Rule = Rule {
    name: "UndefinedArgInFrom",
    description: "Arguments in a `FROM` line should be declared before the first `FROM`",
    url: Some("https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for (fact, span) in subject.facts() {
        let Fact::UndeclaredFromArgument { name, similar } = fact else {
            continue;
        };
        let mut message = format!("FROM argument '{name}' is not declared");
        if let Some(similar) = similar {
            message.push_str(&format!(" (did you mean {similar}?)"));
        }
        let declare = format!("declare it with `ARG {name}` before the first `FROM`");
        let hint = match similar {
            Some(similar) => format!("write `{similar}`, or {declare}"),
            None => declare,
        };
        found.add(found.warning(message).at(span, "").hint(hint));
    }
}
