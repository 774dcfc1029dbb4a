//! The patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`: `*`, `?` and escapes, no classes.

/// One character of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// `?`
    Any,
    /// This one.
    Literal(char),
}

impl Element {
    fn fits(self, character: char) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(literal) => literal == character,
        }
    }
}

/// What stands between the stars of a pattern; one more than there are stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Vec<Element>>,
}

/// Which of several possible matches is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Shortest,
    Longest,
}

/// Why there is no match at a place.
enum Miss {
    /// There may be one at a later place.
    Here,
    /// What has to follow a star does not occur, so there is none at any later place either.
    Ever,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The reason, if a backslash stands before a character that needs no escape.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let mut segments = vec![Vec::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let element = match character {
                '*' => {
                    segments.push(Vec::new());
                    continue;
                }
                '?' => Element::Any,
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Element::Literal(escaped),
                    Some(other) => {
                        return Err(format!(
                            "invalid pattern ({text}) in substitution: invalid escape '\\{other}'"
                        ));
                    }
                    None => Element::Literal('\\'),
                },
                other => Element::Literal(other),
            };
            if let Some(segment) = segments.last_mut() {
                segment.push(element);
            }
        }
        Ok(Self { segments })
    }

    /// `value` without the start that matches.
    pub(super) fn strip_prefix(&self, value: &str, extent: Extent) -> String {
        let text: Vec<char> = value.chars().collect();
        let end = self.end_of_match(&text, 0, extent).unwrap_or(0);
        text[end..].iter().collect()
    }

    /// `value` without the end that matches.
    pub(super) fn strip_suffix(&self, value: &str, extent: Extent) -> String {
        let mut mirrored = self.segments.clone();
        mirrored.reverse();
        mirrored.iter_mut().for_each(|segment| segment.reverse());
        let text: Vec<char> = value.chars().rev().collect();
        let end = Self { segments: mirrored }
            .end_of_match(&text, 0, extent)
            .unwrap_or(0);
        text[end..].iter().rev().collect()
    }

    /// `value` with the first match or all matches replaced, each as long as possible. The replacement is plain text.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let text: Vec<char> = value.chars().collect();
        let mut result = String::with_capacity(value.len());
        let (mut at, mut last_end) = (0, None);
        while at <= text.len() {
            match self.end_of_match(&text, at, Extent::Longest) {
                // Nothing, directly after a match, is no further match.
                Ok(end) if end > at || last_end != Some(at) => {
                    result.push_str(replacement);
                    last_end = Some(end);
                    if end == at {
                        result.extend(text.get(at));
                        at += 1;
                    } else {
                        at = end;
                    }
                    if !all {
                        break;
                    }
                }
                Err(Miss::Ever) => break,
                Ok(_) | Err(Miss::Here) => {
                    result.extend(text.get(at));
                    at += 1;
                }
            }
        }
        result.extend(text.get(at..).unwrap_or_default());
        result
    }

    /// Where a match that begins at `start` ends.
    fn end_of_match(&self, text: &[char], start: usize, extent: Extent) -> Result<usize, Miss> {
        let Some((first, rest)) = self.segments.split_first() else {
            return Ok(start);
        };
        if !fits(first, text, start) {
            return Err(Miss::Here);
        }
        let mut at = start + first.len();
        let Some((last, middle)) = rest.split_last() else {
            return Ok(at);
        };
        // The earliest place is as good as any other for all but the last segment.
        for segment in middle {
            at = find(segment, text, at).ok_or(Miss::Ever)? + segment.len();
        }
        let place = match extent {
            Extent::Shortest => find(last, text, at),
            Extent::Longest => (at..=text.len())
                .rev()
                .find(|&place| fits(last, text, place)),
        };
        Ok(place.ok_or(Miss::Ever)? + last.len())
    }
}

fn find(segment: &[Element], text: &[char], from: usize) -> Option<usize> {
    (from..=text.len()).find(|&place| fits(segment, text, place))
}

fn fits(segment: &[Element], text: &[char], at: usize) -> bool {
    text.get(at..).is_some_and(|rest| {
        rest.len() >= segment.len()
            && segment
                .iter()
                .zip(rest)
                .all(|(element, &character)| element.fits(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operator: &str, value: &str, pattern: &str, expected: &str) {
        let compiled = Pattern::new(pattern).unwrap();
        let result = match operator {
            "#" => compiled.strip_prefix(value, Extent::Shortest),
            "##" => compiled.strip_prefix(value, Extent::Longest),
            "%" => compiled.strip_suffix(value, Extent::Shortest),
            "%%" => compiled.strip_suffix(value, Extent::Longest),
            "/" => compiled.replace(value, "-", false),
            _ => compiled.replace(value, "-", true),
        };
        assert_eq!(result, expected, "{value:?} {operator} {pattern:?}");
    }

    #[test]
    fn prefixes_and_suffixes() {
        check("#", "a/b/c", "*/", "b/c");
        check("##", "a/b/c", "*/", "c");
        check("%", "a.tar.gz", ".*", "a.tar");
        check("%%", "a.tar.gz", ".*", "a");
        check("#", "abc", "", "abc");
        check("##", "abc", "*", "");
        check("#", "abc", "*", "abc");
        check("%%", "abc", "*", "");
        check("#", "äbc", "?", "bc");
        check("#", "abc", "????", "abc");
        check("#", "*abc", "\\*", "abc");
        check("##", "xaybxaybz", "x*a*b", "z");
        check("#", "xaybxaybz", "x*a*b", "xaybz");
        check("%", "[a]", "[a]", "");
        check("%%", "one\ntwo", "\n*", "one");
    }

    #[test]
    fn replacements() {
        check("/", "aXbXc", "X", "a-bXc");
        check("//", "aXbXc", "X", "a-b-c");
        check("//", "a.b.c", "?", "-----");
        check("//", "abcabd", "b*", "a-");
        check("//", "abab", "a*b", "-");
        check("//", "aaaa", "a*b", "aaaa");
        check("//", "ab", "*", "-");
        check("//", "ab", "", "-a-b-");
        check("/", "ab", "", "-ab");
        check("//", "", "x", "");
    }

    #[test]
    fn escapes_of_ordinary_characters_are_refused() {
        let reason = Pattern::new("a\\b").unwrap_err();
        assert_eq!(
            reason,
            "invalid pattern (a\\b) in substitution: invalid escape '\\b'"
        );
    }
}
