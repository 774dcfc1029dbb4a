//! The ways to show a build, as named by `--progress`.

use std::fmt;
use std::str::FromStr;

/// How a build is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The live view if standard error is a terminal, else plain lines.
    #[default]
    Auto,
    /// One line after the other, for logs.
    Plain,
    /// A live view that rewrites itself.
    Tty,
    /// Only the image ID, on standard output.
    Quiet,
    /// The events as JSON lines.
    RawJson,
    /// Nothing.
    None,
}

/// A text that names no progress style.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown progress style `{0}`, expected one of {names}", names = Mode::names())]
pub struct ModeError(pub String);

impl Mode {
    /// Every mode, in the order in which help lists them.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Plain,
        Self::Tty,
        Self::Quiet,
        Self::RawJson,
        Self::None,
    ];

    /// The word on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Tty => "tty",
            Self::Quiet => "quiet",
            Self::RawJson => "rawjson",
            Self::None => "none",
        }
    }

    /// Decides what [`Mode::Auto`] means; the other modes stay what they are.
    #[must_use]
    pub const fn resolve(self, stderr_is_terminal: bool) -> Self {
        match (self, stderr_is_terminal) {
            (Self::Auto, true) => Self::Tty,
            (Self::Auto, false) => Self::Plain,
            (mode, _) => mode,
        }
    }

    fn names() -> String {
        Self::ALL.map(|mode| format!("`{mode}`")).join(", ")
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| ModeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_read_from_its_own_name() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        assert_eq!(
            "fancy".parse::<Mode>().unwrap_err().to_string(),
            "unknown progress style `fancy`, expected one of `auto`, `plain`, `tty`, `quiet`, `rawjson`, `none`"
        );
    }

    #[test]
    fn only_auto_depends_on_the_terminal() {
        assert_eq!(Mode::Auto.resolve(true), Mode::Tty);
        assert_eq!(Mode::Auto.resolve(false), Mode::Plain);
        assert_eq!(Mode::Plain.resolve(true), Mode::Plain);
        assert_eq!(Mode::Tty.resolve(false), Mode::Tty);
    }
}
