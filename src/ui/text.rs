//! Makes foreign text fit for a terminal: no control sequences but colours, and no wider than there is room.
//!
//! What a `RUN` writes, and names that come from a Dockerfile or a registry, may hold anything. Shown as it is, it
//! could move the cursor, retitle the window, answer questions on the user's behalf or hide lines.

use std::iter::Peekable;
use std::str::Chars;

use unicode_width::UnicodeWidthChar as _;

use super::style::RESET;

const ESCAPE: char = '\u{1b}';
/// The one-character form of `ESC [`.
const CONTROL_SEQUENCE: char = '\u{9b}';
/// The one-character form of `ESC \`, which ends a string sequence; so does BEL.
const STRING_END: char = '\u{9c}';
const BELL: char = '\u{7}';
const TAB_STOP: usize = 8;

/// One line of foreign output as text that is safe to show. Bytes that are not UTF-8 become replacement characters,
/// control sequences disappear; colours stay where they are wanted, and end with the line.
pub(super) fn neutralise(line: &[u8], colours: bool) -> String {
    let text = String::from_utf8_lossy(line);
    let mut rest = text.chars().peekable();
    let mut clean = Clean {
        text: String::with_capacity(text.len()),
        colours,
        painted: false,
        erasable: 0,
    };
    while let Some(c) = rest.next() {
        match c {
            ESCAPE => escape(&mut rest, &mut clean),
            CONTROL_SEQUENCE => control_sequence(&mut rest, &mut clean),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut rest),
            '\u{8}' => clean.erase(),
            '\t' => clean.push('\t'),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    if clean.painted {
        clean.text.push_str(RESET);
    }
    clean.text
}

/// Foreign text that belongs on one line: as [`neutralise`], without colours, line breaks as spaces.
pub(super) fn one_line(text: &str) -> String {
    let spaced: String = text
        .trim_end()
        .chars()
        .map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c })
        .collect();
    neutralise(spaced.as_bytes(), false)
}

/// The part of a line that is fit to show.
struct Clean {
    text: String,
    colours: bool,
    /// Whether a colour is on.
    painted: bool,
    /// Characters at the end that a backspace may take away.
    erasable: usize,
}

impl Clean {
    fn push(&mut self, c: char) {
        self.text.push(c);
        self.erasable += 1;
    }

    fn erase(&mut self) {
        if self.erasable > 0 {
            self.text.pop();
            self.erasable -= 1;
        }
    }

    fn colour(&mut self, parameters: &str) {
        if self.colours {
            self.text.push_str("\u{1b}[");
            self.text.push_str(parameters);
            self.text.push('m');
            self.painted = !matches!(parameters, "" | "0");
            self.erasable = 0;
        }
    }
}

/// Reads what follows an escape character.
fn escape(rest: &mut Peekable<Chars<'_>>, clean: &mut Clean) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            control_sequence(rest, clean);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            rest.next();
            skip_string(rest);
        }
        Some(_) => {
            while rest.next_if(|c| matches!(c, ' '..='/')).is_some() {}
            rest.next_if(|c| matches!(c, '0'..='~'));
        }
        None => {}
    }
}

/// Reads parameters, intermediates and the final character; only "select graphic rendition" has an effect.
fn control_sequence(rest: &mut Peekable<Chars<'_>>, clean: &mut Clean) {
    let mut parameters = String::new();
    while let Some(c) = rest.next_if(|c| matches!(c, ' '..='?')) {
        parameters.push(c);
    }
    let is_colour = parameters
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ';' | ':'));
    if let Some('m') = rest.next_if(|c| matches!(c, '@'..='~'))
        && is_colour
    {
        clean.colour(&parameters);
    }
}

/// Skips a title, a clipboard or whatever else a terminal would take in; one that does not end takes the line.
fn skip_string(rest: &mut Peekable<Chars<'_>>) {
    while let Some(c) = rest.next() {
        match c {
            BELL | STRING_END => return,
            ESCAPE if rest.next_if_eq(&'\\').is_some() => return,
            _ => {}
        }
    }
}

/// Any text as one line of so many columns that is safe to print.
#[must_use]
pub fn excerpt(text: &str, columns: usize) -> String {
    fit(&one_line(text), columns)
}

/// Cuts text that was made safe by this module to `columns`, tabs written out; a cut shows as `…`.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let mut fitted = String::with_capacity(text.len());
    let mut used = 0;
    // Where the text has to end if it turns out to be too long: the last place that leaves room for the `…`.
    let mut cut = 0;
    let mut painted = false;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == ESCAPE {
            painted = true;
            fitted.push(c);
            for c in rest.by_ref() {
                fitted.push(c);
                if c == 'm' {
                    break;
                }
            }
            continue;
        }
        let (width, piece) = match c {
            '\t' => (TAB_STOP - used % TAB_STOP, ' '),
            c => (c.width().unwrap_or(0), c),
        };
        if used + width > columns {
            fitted.truncate(cut);
            if columns > 0 {
                fitted.push('…');
            }
            if painted {
                fitted.push_str(RESET);
            }
            return fitted;
        }
        used += width;
        fitted.extend(std::iter::repeat_n(
            piece,
            if c == '\t' { width } else { 1 },
        ));
        if used < columns {
            cut = fitted.len();
        }
    }
    fitted
}

/// Columns that text without tabs takes.
pub(super) fn columns(text: &str) -> usize {
    let mut columns = 0;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == ESCAPE {
            rest.by_ref().find(|c| *c == 'm');
        } else {
            columns += c.width().unwrap_or(0);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_go_and_colours_stay() {
        let cases: &[(&[u8], &str, &str)] = &[
            (b"plain", "plain", "plain"),
            (b"a\tb", "a\tb", "a\tb"),
            (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m", "red"),
            (b"\x1b[1;38:5:9mred", "\x1b[1;38:5:9mred\x1b[0m", "red"),
            (b"\x1b[mnothing", "\x1b[mnothing", "nothing"),
            (b"\x1b[2J\x1b[Hwiped", "wiped", "wiped"),
            (b"\x1b[?1049hother screen", "other screen", "other screen"),
            (b"\x1b[>4;2mkeys", "keys", "keys"),
            (b"\x1b]0;title\x07text", "text", "text"),
            (b"\x1b]52;c;aGk=\x1b\\text", "text", "text"),
            (b"\x1bP1$q\x1b\\text", "text", "text"),
            (b"\x1b]0;never ends", "", ""),
            (b"\x1b(0text\x1bcmore", "textmore", "textmore"),
            (b"bell\x07 nul\0 del\x7f", "bell nul del", "bell nul del"),
            (b"|\x08/\x08-", "-", "-"),
            (b"\x08\x08x", "x", "x"),
            (
                b"bad \xff utf-8",
                "bad \u{fffd} utf-8",
                "bad \u{fffd} utf-8",
            ),
            (b"end \x1b", "end ", "end "),
            (b"end \x1b[", "end ", "end "),
            (b"cut \x1b[3\x1b[0mshort", "cut \x1b[0mshort", "cut short"),
            (
                "c1 \u{9b}2Jx \u{9d}0;t\u{9c}y".as_bytes(),
                "c1 x y",
                "c1 x y",
            ),
            ("\u{9b}31mred".as_bytes(), "\x1b[31mred\x1b[0m", "red"),
        ];
        for (line, coloured, plain) in cases {
            assert_eq!(neutralise(line, true), *coloured, "{line:?}");
            assert_eq!(neutralise(line, false), *plain, "{line:?}");
        }
    }

    #[test]
    fn a_backspace_does_not_eat_into_a_colour() {
        assert_eq!(neutralise(b"\x1b[0m\x08x", true), "\x1b[0mx");
    }

    #[test]
    fn several_lines_become_one() {
        assert_eq!(one_line("RUN <<E\necho\r\nE\n"), "RUN <<E echo  E");
        assert_eq!(one_line("\x1b[31mred\x1b[0m"), "red");
    }

    #[test]
    fn text_is_cut_at_the_edge() {
        let cases = [
            ("", 5, ""),
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("longer", 1, "…"),
            ("longer", 0, ""),
            ("a\tb", 9, "a       b"),
            ("a\tb", 8, "a…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("\x1b[31mred text\x1b[0m", 5, "\x1b[31mred …\x1b[0m"),
            ("\x1b[31mred\x1b[0m", 3, "\x1b[31mred\x1b[0m"),
        ];
        for (text, room, expected) in cases {
            let fitted = fit(text, room);
            assert_eq!(fitted, expected, "{text:?} in {room}");
            assert!(columns(&fitted) <= room, "{text:?} in {room}");
        }
    }
}
