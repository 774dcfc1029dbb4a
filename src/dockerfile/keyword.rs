//! The instructions of the language and their flags: the one table that parsing and suggestions use.

/// An instruction of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keyword {
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
}

/// What the value of a flag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlagKind {
    /// `true` or `false`; `true` without a value.
    Boolean,
    /// Any text.
    Text,
    /// Any text, and the flag may be repeated.
    List,
}

use FlagKind::{Boolean, List, Text};

impl Keyword {
    /// All of them, by name.
    pub(super) const ALL: [(&'static str, Self); 18] = [
        ("ADD", Self::Add),
        ("ARG", Self::Arg),
        ("CMD", Self::Cmd),
        ("COPY", Self::Copy),
        ("ENTRYPOINT", Self::Entrypoint),
        ("ENV", Self::Env),
        ("EXPOSE", Self::Expose),
        ("FROM", Self::From),
        ("HEALTHCHECK", Self::Healthcheck),
        ("LABEL", Self::Label),
        ("MAINTAINER", Self::Maintainer),
        ("ONBUILD", Self::Onbuild),
        ("RUN", Self::Run),
        ("SHELL", Self::Shell),
        ("STOPSIGNAL", Self::Stopsignal),
        ("USER", Self::User),
        ("VOLUME", Self::Volume),
        ("WORKDIR", Self::Workdir),
    ];

    /// The instruction with a name, in any casing.
    pub(super) fn find(name: &str) -> Option<Self> {
        let mut known = Self::ALL.iter();
        known
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|&(_, keyword)| keyword)
    }

    /// Its name in upper case.
    pub(super) fn name(self) -> &'static str {
        let mut known = Self::ALL.iter();
        known
            .find(|&&(_, keyword)| keyword == self)
            .map_or("", |&(name, _)| name)
    }

    /// The flags it knows.
    pub(super) const fn flags(self) -> &'static [(&'static str, FlagKind)] {
        match self {
            Self::Add => &[
                ("checksum", Text),
                ("chmod", Text),
                ("chown", Text),
                ("exclude", List),
                ("keep-git-dir", Boolean),
                ("link", Boolean),
                ("unpack", Boolean),
            ],
            Self::Copy => &[
                ("chmod", Text),
                ("chown", Text),
                ("exclude", List),
                ("from", Text),
                ("link", Boolean),
                ("parents", Boolean),
            ],
            Self::From => &[("platform", Text)],
            Self::Healthcheck => &[
                ("interval", Text),
                ("retries", Text),
                ("start-interval", Text),
                ("start-period", Text),
                ("timeout", Text),
            ],
            Self::Run => &[
                ("device", List),
                ("mount", List),
                ("network", Text),
                ("security", Text),
            ],
            _ => &[],
        }
    }

    /// Whether heredocs may follow it.
    pub(super) const fn takes_heredocs(self) -> bool {
        matches!(self, Self::Add | Self::Copy | Self::Run)
    }
}

/// ` (did you mean X?)` if one of the names is close to what was written, or nothing. Case does not count.
pub(super) fn did_you_mean<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    // Nothing that long is a slip of the finger, and the distance is expensive.
    const LONGEST: usize = 40;
    if written.len() > LONGEST {
        return String::new();
    }
    let written = written.to_lowercase();
    let limit = (written.chars().count() / 3).clamp(1, 3);
    let distances = names.into_iter().map(|name| {
        (
            strsim::damerau_levenshtein(&written, &name.to_lowercase()),
            name,
        )
    });
    match distances.min() {
        Some((distance, name)) if distance <= limit => format!(" (did you mean {name}?)"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_casing() {
        assert_eq!(Keyword::find("WorkDir"), Some(Keyword::Workdir));
        assert_eq!(Keyword::find("WORKDI"), None);
        for (name, keyword) in Keyword::ALL {
            assert_eq!(keyword.name(), name);
            assert!(
                keyword.flags().is_sorted_by_key(|(flag, _)| *flag),
                "flags of {name}"
            );
        }
    }

    #[test]
    fn slips_of_the_finger_are_recognised() {
        let suggest = |written| did_you_mean(written, Keyword::ALL.map(|(name, _)| name));
        assert_eq!(suggest("FORM"), " (did you mean FROM?)");
        assert_eq!(suggest("rnu"), " (did you mean RUN?)");
        assert_eq!(suggest("ENTRYPIONT"), " (did you mean ENTRYPOINT?)");
        assert_eq!(suggest("FOO"), "");
        assert_eq!(suggest("x"), "");
        assert_eq!(suggest(&"RUN".repeat(1000)), "");
    }
}
