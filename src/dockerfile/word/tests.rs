//! Tables of expansions.

use proptest::prelude::*;

use super::*;
use crate::source::Span;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "foo" => "bar",
        "empty" => "",
        "path" => "/usr/local/lib/libx.so.1",
        "ports" => "80 443/tcp",
        "ünï" => "code",
        "spaced" => " a  b ",
        _ => return None,
    };
    Some(value.to_owned())
}

fn word(text: &str) -> Word {
    Word {
        text: text.to_owned(),
        span: Span::default(),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)], escape: char, mode: Mode) {
    for &(text, expected) in cases {
        let result = expand(&word(text), escape, &env, mode);
        let result = result
            .map(|expansion| expansion.value)
            .map_err(|error| error.reason);
        assert_eq!(result.as_deref(), Ok(expected), "of {text:?}");
    }
}

#[test]
fn plain_text_and_quotes() {
    let cases = [
        ("", ""),
        ("hello", "hello"),
        ("'hello'", "hello"),
        ("he'll'o", "hello"),
        (r#""he'll"o"#, "he'llo"),
        (r"he\'llo", "he'llo"),
        (r"he\\llo", r"he\llo"),
        (r"hello\", "hello"),
        (r"a\ b", "a b"),
        (r"'a\b'", r"a\b"),
        (r#""a\"b""#, r#"a"b"#),
        (r#""a\xb""#, r"a\xb"),
        (r#""a\\b""#, r"a\b"),
        (r#""a\$foo""#, "a$foo"),
        ("''", ""),
        (r#""''""#, "''"),
        (r#"'""'"#, r#""""#),
        ("a`b", "a`b"),
        (r#""$foo"'$foo'"#, "bar$foo"),
    ];
    check(&cases, '\\', Mode::Argument);
}

#[test]
fn variables() {
    let cases = [
        ("$foo", "bar"),
        ("${foo}", "bar"),
        ("$foo.x", "bar.x"),
        ("$foox", ""),
        ("${foo}x", "barx"),
        (r"\$foo", "$foo"),
        (r"\${foo}", "${foo}"),
        ("$", "$"),
        ("a$", "a$"),
        ("$.", "$."),
        ("$(foo)", "$(foo)"),
        ("$1x", "x"),
        ("$123x", "x"),
        ("$$foo", "foo"),
        ("$@$*$#$?$-$!$0|", "|"),
        ("${@}", ""),
        ("$ünï", "code"),
        ("${ünï}", "code"),
        ("a}b{c", "a}b{c"),
    ];
    check(&cases, '\\', Mode::Argument);
}

#[test]
fn operators() {
    let cases = [
        ("${no:-x}", "x"),
        ("${no-x}", "x"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${foo:-x}", "bar"),
        ("${foo:+x}", "x"),
        ("${foo+x}", "x"),
        ("${empty:+x}", ""),
        ("${empty+x}", "x"),
        ("${no:+x}", ""),
        ("${no+x}", ""),
        ("${foo:?x}", "bar"),
        ("${empty?x}", ""),
        ("${no:-$foo}", "bar"),
        ("${no:-${no2:-deep}}", "deep"),
        ("${no:-'}'}", "}"),
        (r#"${no:-"}"}"#, "}"),
        (r"${no:-\}}", "}"),
        ("${no:-a b}", "a b"),
        (r#""${no:-"a}b"}""#, "a}b"),
        ("${path#*/}", "usr/local/lib/libx.so.1"),
        ("${path##*/}", "libx.so.1"),
        ("${path%.*}", "/usr/local/lib/libx.so"),
        ("${path%%.*}", "/usr/local/lib/libx"),
        ("${path/lib/LIB}", "/usr/local/LIB/libx.so.1"),
        ("${path//lib/LIB}", "/usr/local/LIB/LIBx.so.1"),
        (r"${path//\//:}", ":usr:local:lib:libx.so.1"),
        (r"${foo/a/\}}", "b}r"),
        ("${path//$foo/x}", "/usr/local/lib/libx.so.1"),
        ("${foo//a/$empty}", "br"),
        ("${foo/b/}", "ar"),
        ("${foo//a/$1}", "br"),
        ("${foo#$no}", "bar"),
    ];
    check(&cases, '\\', Mode::Argument);
}

#[test]
fn backtick_as_escape() {
    let cases = [
        ("`$foo", "$foo"),
        (r"C:\$foo", r"C:\bar"),
        ("\"`\"\"", "\""),
        ("``", "`"),
        (r#""a\b""#, r"a\b"),
    ];
    check(&cases, '`', Mode::Argument);
}

#[test]
fn heredoc_content() {
    let cases = [
        ("'$foo' \"$foo\"\n", "'bar' \"bar\"\n"),
        (r"\$foo \\ \x", r"$foo \ x"),
        ("a\\\nb", "a\nb"),
        ("it's ${no:-isn't}", "it's isn't"),
        ("`$foo`", "`bar`"),
    ];
    check(&cases, '\\', Mode::Heredoc);
    check(&cases, '`', Mode::Heredoc);
}

#[test]
fn mistakes() {
    let cases = [
        ("${foo:=x}", "unsupported modifier (:=) in substitution"),
        ("${foo=x}", "unsupported modifier (=) in substitution"),
        ("${foo:#x}", "unsupported modifier (:#) in substitution"),
        ("${foo^}", "unsupported modifier (^) in substitution"),
        ("${foo x}", "unsupported modifier ( ) in substitution"),
        ("${}", "syntax error: bad substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${{", "syntax error: bad substitution"),
        ("a${no:-${}}", "syntax error: bad substitution"),
        ("${", "syntax error: missing '}'"),
        ("${foo", "syntax error: missing '}'"),
        ("${foo:", "syntax error: missing '}'"),
        ("${foo:-", "syntax error: missing '}'"),
        ("${foo:-'x}", "syntax error: missing '}'"),
        ("${foo:-${x", "syntax error: missing '}'"),
        ("${foo/a}", "syntax error: missing '/' in ${}"),
        ("${foo/a", "syntax error: missing '/' in ${}"),
        ("${foo/a/b", "syntax error: missing '}'"),
        (
            "'abc",
            "unexpected end of statement while looking for matching single-quote",
        ),
        (
            "\"abc",
            "unexpected end of statement while looking for matching double-quote",
        ),
        ("\"${foo", "syntax error: missing '}'"),
        ("${no?}", "no: is not allowed to be unset"),
        ("${no:?}", "no: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${no:?set $foo}", "no: set bar"),
    ];
    for (text, expected) in cases {
        let error = expand(&word(text), '\\', &env, Mode::Argument).unwrap_err();
        assert_eq!(error.reason, expected, "of {text:?}");
        assert_eq!(
            error.to_string(),
            format!("failed to process {text:?}: {expected}")
        );
    }
}

#[test]
fn unset_names_are_told_once_and_not_if_there_is_a_fallback() {
    let result = expand(
        &word("$a ${b}$a ${c:-x}${d+x} ${e#x} '$f'"),
        '\\',
        &env,
        Mode::Argument,
    )
    .unwrap();
    assert_eq!(result.unset, ["a", "b", "e"]);
}

#[test]
fn words_are_split_outside_of_quotes() {
    let cases: [(&str, &[&str]); 7] = [
        ("$ports 22", &["80", "443/tcp", "22"]),
        ("\"$ports\"", &["80 443/tcp"]),
        ("8$ports", &["880", "443/tcp"]),
        (r"a\ b c", &["a b", "c"]),
        ("$spaced", &["a", "b"]),
        ("x${spaced}y", &["x", "a", "b", "y"]),
        ("$no''", &[]),
    ];
    for (text, expected) in cases {
        let result = expand_words(&word(text), '\\', &env).unwrap();
        assert_eq!(result.values, expected, "of {text:?}");
    }
}

#[test]
fn nesting_has_a_limit() {
    for depth in [90, 200, 1_000_000] {
        let text = format!("{}x{}", "${a:-".repeat(depth), "}".repeat(depth));
        let result = expand(&word(&text), '\\', &env, Mode::Argument);
        assert_eq!(result.is_ok(), depth == 90, "at depth {depth}");
    }
}

proptest! {
    #[test]
    fn any_text_is_expanded_or_refused(text in r#"([a-z $'"\\`{}:#%/*?\n-]|\$\{|:-|:\?){0,40}"#, tick: bool) {
        let escape = if tick { '`' } else { '\\' };
        for mode in [Mode::Argument, Mode::Heredoc] {
            drop(expand(&word(&text), escape, &env, mode));
        }
        let words = expand_words(&word(&text), escape, &env);
        prop_assert!(words.is_err() || words.is_ok_and(|words| words.values.iter().all(|word| !word.is_empty())));
    }

    #[test]
    fn text_without_special_characters_is_itself(text in r#"[^$'"\\`]*"#) {
        let result = expand(&word(&text), '\\', &env, Mode::Argument).unwrap();
        prop_assert_eq!(&result.value, &text);
        // And so it is for the evaluation that such text normally does not reach.
        let value = Evaluation::new(&env).text(&text, '\\', Mode::Argument).unwrap();
        prop_assert_eq!(value, text);
    }

    #[test]
    fn single_quotes_protect(text in "[^']*") {
        let result = expand(&word(&format!("'{text}'")), '\\', &env, Mode::Argument).unwrap();
        prop_assert_eq!(result.value, text);
    }
}
