//! `UndefinedVar`: what is expanded in a stage is an `ENV` or a declared `ARG`.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;

pub(super) const RULE: Rule = Rule {
    name: "UndefinedVar",
    description: "Variables should be defined before their use",
    url: Some("https://docs.docker.com/go/dockerfile/rule/undefined-var/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for (fact, span) in subject.facts() {
        let Fact::UndefinedVariable {
            name,
            similar,
            global,
        } = fact
        else {
            continue;
        };
        let mut message = format!("Usage of undefined variable '${name}'");
        if let Some(similar) = similar {
            message.push_str(&format!(" (did you mean ${similar}?)"));
        }
        let hint = if let Some(similar) = similar {
            format!("write `${similar}`, or declare `{name}` above with `ARG` or `ENV`")
        } else if *global {
            format!(
                "declare it with `ARG {name}` in this stage, which takes the value from before the first `FROM`"
            )
        } else {
            format!("declare it with `ARG {name}` or `ENV {name}=...` above; as it is, it is empty")
        };
        found.add(found.warning(message).at(span, "").hint(hint));
    }
}
