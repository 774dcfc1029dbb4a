//! A text for the shell as its simple commands: as much of the shell's language as rules about `RUN` need, and no more.
//!
//! Quotes, comments, separators, redirections and heredocs are understood; substitutions stay in the words as they are
//! written; the words of compound commands (`if`, `do`, `{`) are left out. Every text has a reading, for some it is wrong.

use std::iter::Peekable;
use std::str::Chars;

/// Words up to a separator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SimpleCommand {
    /// The words without their quotes, assignments included; never empty.
    pub(super) words: Vec<String>,
    /// What comes after it.
    pub(super) after: Separator,
}

/// What separates two commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Separator {
    /// `;`, `&`, a new line, the end of the text.
    #[default]
    End,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|`
    Pipe,
}

impl SimpleCommand {
    /// Program and arguments, without assignments and programs that only start another one.
    pub(super) fn argv(&self) -> &[String] {
        let mut argv = self.words.as_slice();
        while let [first, rest @ ..] = argv {
            let starts_another =
                matches!(first.as_str(), "sudo" | "env" | "exec" | "command" | "nice");
            if !starts_another && !is_assignment(first) {
                break;
            }
            argv = rest;
        }
        argv
    }

    /// The name of the program, without its folder.
    pub(super) fn program(&self) -> &str {
        let path = self.argv().first().map_or("", String::as_str);
        path.rsplit('/').next().unwrap_or_default()
    }

    /// The words after the program.
    pub(super) fn arguments(&self) -> &[String] {
        self.argv().get(1..).unwrap_or_default()
    }
}

/// Whether a word is `NAME=VALUE`.
pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let mut characters = name.chars();
        let first = characters.next();
        first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Words that begin or continue a compound command; a command may follow them directly.
const COMPOUND: [&str; 12] = [
    "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "{", "}", "!",
];

/// The simple commands of a text, in order.
pub(super) fn commands(text: &str) -> Vec<SimpleCommand> {
    let mut reader = Reader {
        rest: text.chars().peekable(),
        commands: Vec::new(),
        words: Vec::new(),
        word: None,
        skip_word: false,
        delimiter_follows: false,
        heredocs: Vec::new(),
    };
    while let Some(character) = reader.rest.next() {
        reader.take(character);
    }
    reader.end_command(Separator::End);
    reader.commands
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    commands: Vec<SimpleCommand>,
    words: Vec<String>,
    word: Option<String>,
    /// The next word is the file of a redirection.
    skip_word: bool,
    /// The next word is the delimiter of a heredoc.
    delimiter_follows: bool,
    /// Delimiters of heredocs whose text begins on the next line.
    heredocs: Vec<String>,
}

impl Reader<'_> {
    fn take(&mut self, character: char) {
        match character {
            ' ' | '\t' | '\r' => self.end_word(),
            '\n' => self.end_line(),
            ';' | '(' | ')' => self.end_command(Separator::End),
            '&' if self.next_is('&') => self.end_command(Separator::And),
            '&' if self.rest.peek() == Some(&'>') => {}
            '&' => self.end_command(Separator::End),
            '|' if self.next_is('|') => self.end_command(Separator::Or),
            '|' => {
                self.next_is('&');
                self.end_command(Separator::Pipe);
            }
            '<' | '>' => self.redirection(character),
            '#' if self.word.is_none() => while self.rest.next_if(|&c| c != '\n').is_some() {},
            '\\' => match self.rest.next() {
                Some('\n') | None => {}
                Some(escaped) => self.push(escaped),
            },
            '\'' => {
                self.word.get_or_insert_default();
                while let Some(quoted) = self.rest.next().filter(|&c| c != '\'') {
                    self.push(quoted);
                }
            }
            '"' => self.double_quoted(),
            '`' => self.up_to('`', '`'),
            '$' => self.dollar(),
            other => self.push(other),
        }
    }

    fn next_is(&mut self, wanted: char) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    fn push(&mut self, character: char) {
        self.word.get_or_insert_default().push(character);
    }

    /// `$` and what belongs to it, kept as written.
    fn dollar(&mut self) {
        self.push('$');
        if self.next_is('(') {
            self.up_to('(', ')');
        } else if self.next_is('{') {
            self.up_to('{', '}');
        }
    }

    /// Everything up to the closing character, which is the same as the opening one for a pair that does not nest.
    fn up_to(&mut self, open: char, close: char) {
        self.push(open);
        let mut depth = 1;
        while depth > 0
            && let Some(character) = self.rest.next()
        {
            self.push(character);
            if character == close {
                depth -= 1;
            } else if character == open {
                depth += 1;
            }
        }
    }

    fn double_quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return,
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(escaped) => {
                        if !matches!(escaped, '"' | '$' | '`' | '\\') {
                            self.push('\\');
                        }
                        self.push(escaped);
                    }
                },
                '$' => self.dollar(),
                other => self.push(other),
            }
        }
    }

    fn redirection(&mut self, character: char) {
        // `2>`: the number is no word.
        let number = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit());
        if self.word.as_ref().is_some_and(number) {
            self.word = None;
        }
        self.end_word();
        if character == '<' && self.next_is('<') {
            // `<<<` is followed by a word like any other redirection.
            self.delimiter_follows = !self.next_is('<');
            self.next_is('-');
        }
        while self
            .rest
            .next_if(|&c| matches!(c, '>' | '&' | '|'))
            .is_some()
        {}
        self.skip_word = true;
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else {
            return;
        };
        if self.delimiter_follows {
            self.heredocs.push(word);
        } else if !(self.skip_word || self.words.is_empty() && COMPOUND.contains(&word.as_str())) {
            self.words.push(word);
        }
        (self.skip_word, self.delimiter_follows) = (false, false);
    }

    fn end_command(&mut self, after: Separator) {
        self.end_word();
        (self.skip_word, self.delimiter_follows) = (false, false);
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            self.commands.push(SimpleCommand { words, after });
        }
    }

    /// The end of a line, and the heredocs that were announced on it.
    fn end_line(&mut self) {
        self.end_command(Separator::End);
        for delimiter in std::mem::take(&mut self.heredocs) {
            while self.rest.peek().is_some() {
                let mut line = String::new();
                while let Some(character) = self.rest.next().filter(|&c| c != '\n') {
                    line.push(character);
                }
                if line.trim_start_matches('\t') == delimiter {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let mut shown = String::new();
        for command in commands(text) {
            shown.push_str(&command.words.join("_"));
            shown.push_str(match command.after {
                Separator::End => ";",
                Separator::And => "&",
                Separator::Or => "/",
                Separator::Pipe => "|",
            });
        }
        shown
    }

    #[test]
    fn texts_are_split_into_commands() {
        for (text, expected) in [
            ("", ""),
            ("a  b\tc", "a_b_c;"),
            ("a && b || c; d | e & f", "a&b/c;d|e;f;"),
            ("a&&b||c;d|e", "a&b/c;d|e;"),
            ("a\nb\n\n# c && d\ne # f", "a;b;e;"),
            ("a\\\nb \\\n  c", "ab_c;"),
            ("'a b' \"c && d\" e\\ f ''", "a b_c && d_e f_;"),
            ("\"a\\\"b\\c\\$\"", "a\"b\\c$;"),
            (
                "a $(b && c (d)) `e;f` ${g:-h i}",
                "a_$(b && c (d))_`e;f`_${g:-h i};",
            ),
            ("\"$(a \"b\")\"", "$(a \"b\");"),
            ("a > b 2>&1 <c &> d e", "a_e;"),
            ("a 2>/dev/null >>x || b", "a/b;"),
            ("a#b #c", "a#b;"),
            ("if a; then b; else { c; }; fi", "a;b;c;"),
            ("for x in 1 2; do y; done", "for_x_in_1_2;y;"),
            ("! a && (b; c)", "a&b;c;"),
            ("cat <<EOF > x\na && b\nEOF\nc", "cat;c;"),
            ("cat <<-'A' <<B\n\ta\n\tA\nb\nB\nc", "cat;c;"),
            ("cat <<< 'a b' c", "cat_c;"),
            ("a |& b", "a|b;"),
            ("'open", "open;"),
            ("$(open", "$(open;"),
            ("a <<EOF", "a;"),
        ] {
            assert_eq!(read(text), expected, "of {text:?}");
        }
    }

    #[test]
    fn programs_are_found_behind_what_starts_them() {
        for (text, program, arguments) in [
            (
                "A=1 B= sudo /usr/bin/apt-get install x",
                "apt-get",
                "install x",
            ),
            ("env C=d pip install", "pip", "install"),
            ("A=b", "", ""),
            ("1a=b c", "1a=b", "c"),
        ] {
            let commands = commands(text);
            assert_eq!(commands[0].program(), program, "of {text}");
            assert_eq!(commands[0].arguments().join(" "), arguments, "of {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_has_a_reading(text in "[ab$(){}`'\"\\\\<>&|;#\n\t -]{0,60}") {
            let commands = commands(&text);
            assert!(commands.iter().all(|command| !command.words.is_empty()));
        }
    }
}
