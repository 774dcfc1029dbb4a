//! `--chmod`: octal numbers and symbolic modes as chmod(1) knows them, with a umask of zero.

/// A parsed `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// Exactly these bits.
    Octal(u32),
    /// Changes, applied in order.
    Symbolic(Vec<Clause>),
}

/// One `ugo+rwx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Which of user, group, others: 0o700, 0o070, 0o007.
    who: u32,
    actions: Vec<(char, Permissions)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Permissions {
    /// Bits for all three (`0o111` for x), `X`, set-id and sticky.
    Bits {
        plain: u32,
        execute_if: bool,
        set_id: bool,
        sticky: bool,
    },
    /// Those of user, group or others.
    Copy(char),
}

impl FileMode {
    /// Reads a mode; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().next()?.is_ascii_digit() {
            let bits = u32::from_str_radix(text, 8)
                .ok()
                .filter(|bits| *bits <= 0o7777);
            return bits
                .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
                .map(Self::Octal);
        }
        text.split(',')
            .map(clause)
            .collect::<Option<_>>()
            .map(Self::Symbolic)
    }

    /// The bits of a path that had `old`.
    pub fn apply(&self, old: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => clauses
                .iter()
                .fold(old, |mode, clause| clause.apply(mode, directory)),
        }
    }

    /// The bits if they do not depend on what was there.
    pub fn fixed(&self) -> Option<u32> {
        match self {
            Self::Octal(bits) => Some(*bits),
            Self::Symbolic(_) => None,
        }
    }
}

fn clause(text: &str) -> Option<Clause> {
    let end = text.find(['+', '-', '='])?;
    let who = text[..end].chars().try_fold(0, |who, c| {
        Some(
            who | match c {
                'u' => 0o700,
                'g' => 0o070,
                'o' => 0o007,
                'a' => 0o777,
                _ => return None,
            },
        )
    })?;
    let mut actions = Vec::new();
    let mut rest = &text[end..];
    while let Some(operator) = rest.chars().next() {
        let after = &rest[1..];
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        actions.push((operator, permissions(&after[..end])?));
        rest = &after[end..];
    }
    Some(Clause {
        who: if who == 0 { 0o777 } else { who },
        actions,
    })
}

fn permissions(text: &str) -> Option<Permissions> {
    if let "u" | "g" | "o" = text {
        return text.chars().next().map(Permissions::Copy);
    }
    let (mut plain, mut execute_if, mut set_id, mut sticky) = (0, false, false, false);
    for c in text.chars() {
        match c {
            'r' => plain |= 0o444,
            'w' => plain |= 0o222,
            'x' => plain |= 0o111,
            'X' => execute_if = true,
            's' => set_id = true,
            't' => sticky = true,
            _ => return None,
        }
    }
    Some(Permissions::Bits {
        plain,
        execute_if,
        set_id,
        sticky,
    })
}

impl Clause {
    fn apply(&self, mode: u32, directory: bool) -> u32 {
        self.actions
            .iter()
            .fold(mode, |mode, (operator, permissions)| {
                let bits = self.bits(permissions, mode, directory);
                match operator {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    _ => (mode & !self.all(directory)) | bits,
                }
            })
    }

    fn bits(&self, permissions: &Permissions, mode: u32, directory: bool) -> u32 {
        match permissions {
            Permissions::Copy(from) => {
                let three = match from {
                    'u' => mode >> 6,
                    'g' => mode >> 3,
                    _ => mode,
                } & 7;
                (three * 0o111) & self.who
            }
            Permissions::Bits {
                plain,
                execute_if,
                set_id,
                sticky,
            } => {
                let conditional = if *execute_if && (directory || mode & 0o111 != 0) {
                    0o111
                } else {
                    0
                };
                let set_id = if *set_id { self.set_id() } else { 0 };
                let sticky = if *sticky && (self.who == 0o777 || self.who & 0o007 != 0) {
                    0o1000
                } else {
                    0
                };
                ((plain | conditional) & self.who) | set_id | sticky
            }
        }
    }

    fn set_id(&self) -> u32 {
        let user = if self.who & 0o700 != 0 { 0o4000 } else { 0 };
        user | if self.who & 0o070 != 0 { 0o2000 } else { 0 }
    }

    /// What `=` clears; the set-id bits of a directory stay, as with chmod(1).
    fn all(&self, directory: bool) -> u32 {
        let sticky = if self.who == 0o777 { 0o1000 } else { 0 };
        self.who | sticky | if directory { 0 } else { self.set_id() }
    }
}

#[cfg(test)]
mod tests {
    use super::FileMode;

    #[test]
    fn modes_as_chmod_knows_them() {
        for (text, old, directory, expected) in [
            ("644", 0o755, false, 0o644),
            ("4755", 0o644, false, 0o4755),
            ("u=rwX,go=rX", 0o644, false, 0o644),
            ("u=rwX,go=rX", 0o744, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("a-w", 0o666, false, 0o444),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("+t", 0o777, true, 0o1777),
            ("o=", 0o777, false, 0o770),
            ("u+x-w", 0o644, false, 0o544),
        ] {
            assert_eq!(
                FileMode::parse(text).unwrap().apply(old, directory),
                expected,
                "{text}"
            );
        }
        for bad in ["", "64a", "10000", "8", "x", "u", "z+x", "u+z", "-644x"] {
            assert_eq!(FileMode::parse(bad), None, "{bad}");
        }
    }
}
