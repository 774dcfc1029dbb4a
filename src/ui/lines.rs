//! From the bytes that a step writes to its lines, and the last lines of a step.

use std::collections::VecDeque;
use std::time::Duration;

/// A line that never ends is shown in pieces of this size, so that memory stays bounded.
const LONGEST_LINE: usize = 16 * 1024;

/// Cuts a stream of bytes at line ends. A carriage return starts the line over, as on a terminal, so that of a
/// progress bar only its last state remains.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    partial: Vec<u8>,
    /// When the first byte of the partial line came.
    since: Duration,
    /// The last byte was a carriage return: what follows decides whether it ended the line or starts it over.
    returned: bool,
}

impl LineSplitter {
    /// Takes bytes that came at `now`, and gives each line that they complete, with the time of its first byte.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        now: Duration,
        mut line: impl FnMut(Duration, &[u8]),
    ) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            if piece == b"\n" {
                let since = if self.is_empty() { now } else { self.since };
                line(since, &self.partial);
                self.clear();
                continue;
            }
            if self.returned {
                self.clear();
            }
            if self.is_empty() {
                self.since = now;
            }
            let (text, end) = match piece.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                _ => (piece, None),
            };
            self.extend(text, &mut line);
            match end {
                Some(b'\n') => {
                    line(self.since, &self.partial);
                    self.clear();
                }
                Some(_) => self.returned = true,
                None => {}
            }
        }
    }

    /// Gives the line that was begun and not ended.
    pub(super) fn finish(&mut self, mut line: impl FnMut(Duration, &[u8])) {
        if !self.partial.is_empty() {
            line(self.since, &self.partial);
        }
        self.clear();
    }

    /// The line that was begun and not ended, so far.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    fn is_empty(&self) -> bool {
        self.partial.is_empty() && !self.returned
    }

    fn clear(&mut self) {
        self.partial.clear();
        self.returned = false;
    }

    fn extend(&mut self, mut text: &[u8], line: &mut impl FnMut(Duration, &[u8])) {
        while self.partial.len() + text.len() > LONGEST_LINE {
            let (head, rest) = text.split_at(LONGEST_LINE - self.partial.len());
            self.partial.extend_from_slice(head);
            let whole = character_boundary(&self.partial);
            line(self.since, &self.partial[..whole]);
            self.partial.drain(..whole);
            text = rest;
        }
        self.partial.extend_from_slice(text);
    }
}

/// The length without a character that is only begun at the end.
fn character_boundary(bytes: &[u8]) -> usize {
    let is_start = |byte: &u8| !matches!(byte, 0x80..=0xbf);
    match bytes.iter().rev().take(4).position(is_start) {
        Some(after) if bytes[bytes.len() - 1 - after] >= 0xc0 => bytes.len() - 1 - after,
        _ => bytes.len(),
    }
}

/// The last lines of something, bounded in number and in bytes.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
    most_lines: usize,
    most_bytes: usize,
    omitted: u64,
}

impl Tail {
    /// An empty tail that keeps at most so many lines and bytes.
    pub(super) fn new(most_lines: usize, most_bytes: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            most_lines,
            most_bytes,
            omitted: 0,
        }
    }

    /// Adds a line, and forgets the first ones if there is no more room.
    pub(super) fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > self.most_lines || self.bytes > self.most_bytes {
            let Some(first) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= first.len();
            self.omitted += 1;
        }
    }

    /// The lines, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// How many lines were forgotten.
    pub(super) fn omitted(&self) -> u64 {
        self.omitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that pieces of output make, with the number of the piece in which each began.
    fn split(pieces: &[&[u8]]) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        let mut take = |since: Duration, line: &[u8]| {
            lines.push((since.as_secs(), String::from_utf8_lossy(line).into_owned()));
        };
        for (second, piece) in (0..).zip(pieces) {
            splitter.push(piece, Duration::from_secs(second), &mut take);
        }
        splitter.finish(take);
        lines
    }

    #[test]
    fn lines_are_cut_wherever_the_bytes_were() {
        type Case = (&'static [&'static [u8]], &'static [(u64, &'static str)]);
        let cases: &[Case] = &[
            (&[b""], &[]),
            (&[b"a\nb\n"], &[(0, "a"), (0, "b")]),
            (&[b"a", b"b\nc"], &[(0, "ab"), (1, "c")]),
            (&[b"a\n", b"\n", b"b"], &[(0, "a"), (1, ""), (2, "b")]),
            (&[b"a\r\nb\r\n"], &[(0, "a"), (0, "b")]),
            (&[b"a\r", b"\nb"], &[(0, "a"), (1, "b")]),
            (&[b"1%\r2%\r", b"3%\n"], &[(1, "3%")]),
            (&[b"1%\r2%\r"], &[(0, "2%")]),
            (&[b"\r", b"\r\n"], &[(1, "")]),
        ];
        for (pieces, expected) in cases {
            let expected: Vec<_> = expected
                .iter()
                .map(|(s, l)| (*s, (*l).to_owned()))
                .collect();
            assert_eq!(split(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn an_endless_line_comes_in_pieces_of_whole_characters() {
        let text = "é".repeat(LONGEST_LINE);
        let lines = split(&[b"x", text.as_bytes()]);
        assert!(lines.iter().all(|(_, line)| line.len() <= LONGEST_LINE));
        assert!(lines.iter().all(|(_, line)| !line.contains('\u{fffd}')));
        let whole: String = lines.into_iter().map(|(_, line)| line).collect();
        assert_eq!(whole, format!("x{text}"));
    }

    #[test]
    fn an_endless_line_of_no_characters_still_comes() {
        let bytes = vec![0x80; 3 * LONGEST_LINE];
        assert_eq!(split(&[&bytes]).len(), 3);
        let bytes = vec![0xff; 3 * LONGEST_LINE];
        assert!(split(&[&bytes]).len() >= 3);
    }

    #[test]
    fn a_tail_forgets_the_oldest_lines() {
        let mut tail = Tail::new(2, 10);
        for line in ["a", "b", "c"] {
            tail.push(line.to_owned());
        }
        assert_eq!(tail.iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(tail.omitted(), 1);
        tail.push("123456789".to_owned());
        assert_eq!(tail.iter().collect::<Vec<_>>(), ["c", "123456789"]);
        tail.push("longer than there is room".to_owned());
        assert_eq!(tail.iter().count(), 0);
        assert_eq!(tail.omitted(), 5);
    }
}
