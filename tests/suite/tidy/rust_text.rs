//! Rust source as far as the structure test reads it: text in which comments, literals or test code are blank.
//!
//! This is no parser. It knows where comments and literals begin and end, and matches brackets; what the compiler
//! accepted needs no more.

/// The source with every comment and the content of every literal replaced by spaces; lines stay where they are.
pub(super) fn without_literals(source: &str) -> String {
    let source: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        let length = literal_length(&source, at);
        let blank = source[at..at + length].iter();
        code.extend(blank.map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at += length;
        // Names are taken whole, so that the `r` of `attr"` begins no raw string.
        let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
        if length == 0 {
            let name = source[at..].iter().take_while(|c| is_name(c)).count();
            code.extend(&source[at..at + name.max(1)]);
            at += name.max(1);
        }
    }
    code
}

/// Characters of the comment or literal that begins here; 0 if none does.
fn literal_length(source: &[char], at: usize) -> usize {
    let rest = &source[at..];
    let prefix = rest
        .iter()
        .take_while(|c| matches!(c, 'b' | 'c' | 'r'))
        .count();
    match rest.get(prefix) {
        Some('/') if prefix == 0 => comment_length(rest),
        Some('"' | '#') if prefix > 0 && rest[prefix - 1] == 'r' => raw_length(rest, prefix),
        Some('"') if prefix <= 1 => prefix + quoted_length(&rest[prefix..], '"'),
        Some('\'') if prefix == 0 || (prefix == 1 && rest[0] == 'b') => {
            match (rest.get(prefix + 1), rest.get(prefix + 2)) {
                (Some('\\'), _) | (Some(_), Some('\'')) => {
                    prefix + quoted_length(&rest[prefix..], '\'')
                }
                // A lifetime.
                _ => 0,
            }
        }
        _ => 0,
    }
}

fn comment_length(rest: &[char]) -> usize {
    match rest.get(1) {
        Some('/') => rest.iter().take_while(|c| **c != '\n').count(),
        Some('*') => {
            let (mut depth, mut at) = (0_usize, 0);
            while at < rest.len() {
                match (rest[at], rest.get(at + 1)) {
                    ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
                    ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
                    _ => at += 1,
                }
                if depth == 0 {
                    return at;
                }
            }
            rest.len()
        }
        _ => 0,
    }
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_length(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        // `r#name`
        return 0;
    }
    let mut end = vec!['"'];
    end.resize(hashes + 1, '#');
    let body = prefix + hashes + 1;
    let found = rest[body..].windows(end.len()).position(|w| w == end);
    found.map_or(rest.len(), |found| body + found + end.len())
}

/// Code (of [`without_literals`]) without the items under `#[cfg(test)]`, and the names of the modules among those
/// that are files of their own.
pub(super) fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut kept, mut files, mut rest) = (String::new(), Vec::new(), code);
    while let Some((before, item)) = rest.split_once(MARK) {
        kept.push_str(before);
        let length = item_length(item);
        let (item, after) = item.split_at(length);
        if let Some(declaration) = item.trim_end().strip_suffix(';') {
            let words: Vec<&str> = declaration.split_whitespace().collect();
            if let [.., "mod", name] = words[..] {
                files.push(name.to_owned());
            }
        }
        kept.extend(item.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    kept.push_str(rest);
    (kept, files)
}

/// Bytes up to the `;` or the closing brace that ends an item.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    let is_use = item
        .split_whitespace()
        .take_while(|word| *word != "{")
        .any(|word| word == "use");
    for (at, c) in item.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && !is_use {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// The names in some code with what follows each of them.
pub(super) fn names(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = code;
    std::iter::from_fn(move || {
        rest = &rest[rest.find(is_name)?..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        Some((name, after))
    })
}

/// The first names of what a path goes on with: `::a::b` gives `a`, `::{a, b::{c, d}}` gives `a` and `b`.
pub(super) fn path_heads(after: &str) -> Vec<&str> {
    let Some(after) = after.trim_start().strip_prefix("::") else {
        return Vec::new();
    };
    let Some(group) = after.trim_start().strip_prefix('{') else {
        return names(after).take(1).map(|(name, _)| name).collect();
    };
    let (mut heads, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                heads.extend(names(&group[start..at]).take(1).map(|(name, _)| name));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

#[test]
fn comments_and_literals_are_blank() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("unsafe", x)"#, "f(        , x)"),
        (r#"f("a\"b")"#, "f(      )"),
        (r##"f(r#"a"b"#, r"\")"##, "f(        ,     )"),
        (r#"f(b"x", c"y", br"z")"#, "f(    ,     ,      )"),
        ("x == '\"' && y == b'\\''", "x ==     && y ==      "),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("r#unsafe attr", "r#unsafe attr"),
        ("a / b", "a / b"),
    ];
    for (source, expected) in cases {
        assert_eq!(without_literals(source), expected, "{source}");
    }
}

#[test]
fn test_items_are_left_out() {
    let cases = [
        (
            "a();\n#[cfg(test)]\nmod tests {\n fn f() { x(); }\n}\nb();",
            "a();\n\n\n\n\nb();",
            "",
        ),
        ("#[cfg(test)]\nmod tests;\nb();", "\n\nb();", "tests"),
        (
            "#[cfg(test)]\npub(crate) mod fake;\nb();",
            "\n\nb();",
            "fake",
        ),
        ("#[cfg(test)] use a::{b, c};b();", "b();", ""),
        (
            "#[cfg(test)] #[derive(X)] struct A([u8; 3]);b();",
            "b();",
            "",
        ),
        ("#[cfg(test)] impl A { fn f() {} }b();", "b();", ""),
    ];
    for (code, expected, files) in cases {
        let (kept, found) = without_tests(code);
        assert_eq!(
            (kept.as_str(), found.concat().as_str()),
            (expected, files),
            "{code}"
        );
    }
}

#[test]
fn paths_are_followed_into_groups() {
    let cases: [(&str, &[&str]); 6] = [
        ("::a::b;", &["a"]),
        (" :: a", &["a"]),
        ("::{a, b::{c, d}, e as f};", &["a", "b", "e"]),
        ("::{\n  a::B,\n};", &["a"]),
        (".a", &[]),
        (") struct", &[]),
    ];
    for (after, expected) in cases {
        assert_eq!(path_heads(after), expected, "{after}");
    }
}
