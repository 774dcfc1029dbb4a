//! Measures the front end by itself: large Dockerfiles are made, parsed and, where that says something, planned.
//!
//! `cargo bench --bench frontend [-- NAME...]` prints seconds of the processor, and the memory that parsing and planning
//! took beyond the text. Nothing is compared here: whole builds beside those of other builders are measured by `benches/run`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for developers: it prints a table and stops at what it did not expect"
)]

use std::fmt::Write as _;
use std::fs;

use builder::dockerfile::{self, Dockerfile};
use builder::oci::Platform;
use builder::plan::{Lowered, PlanOptions, ResolvedBases, lower};
use builder::source::SourceMap;

/// The size of the texts that are about size.
const SIZE: usize = 10_000_000;

/// What is done with a text after it was parsed.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Plan,
}

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    println!(
        "{:28} {:>9} {:>8} {:>8} {:>9}",
        "", "bytes", "parse s", "plan s", "peak MiB"
    );
    for (name, then, make) in cases() {
        if wanted.is_empty() || wanted.iter().any(|wanted| name == wanted) {
            measure(name, then, make());
        }
    }
}

fn measure(name: &str, then: Then, text: String) {
    let size = text.len();
    let mut sources = SourceMap::new();
    // Since then: the most memory at once.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let start = processor();
    let file = sources.add("Dockerfile", text.into_bytes()).unwrap();
    let parsed = dockerfile::parse(&file);
    let parse = processor() - start;
    let plan = match (&parsed.dockerfile, then) {
        (Some(dockerfile), Then::Plan) => plan(dockerfile, &mut sources)
            .map_or("refused".to_owned(), |seconds| format!("{seconds:.2}")),
        (None, _) => "refused".to_owned(),
        _ => "-".to_owned(),
    };
    let peak = status("VmHWM:").saturating_sub(before) / 1024;
    println!("{name:28} {size:>9} {parse:8.2} {plan:>8} {peak:>9}");
}

/// The seconds that planning takes; nothing where the text is refused.
fn plan(dockerfile: &Dockerfile, sources: &mut SourceMap) -> Option<f64> {
    let options = PlanOptions::new(Platform::new("linux", "amd64", ""));
    let start = processor();
    let lowered = lower(dockerfile, sources, &options, &ResolvedBases::new()).ok()?;
    assert!(
        matches!(lowered, Lowered::Plan(_)),
        "only `scratch` is a base here"
    );
    Some(processor() - start)
}

/// Seconds that this thread has had a processor, so that what else the machine does matters little.
fn processor() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

/// A figure of this process in KiB.
fn status(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// `line` as often as it takes to fill a large file, after a `FROM`.
fn filled(line: &str) -> String {
    format!("FROM scratch\n{}", line.repeat(SIZE / line.len()))
}

/// What `each` makes of the numbers up to `count`, after a `FROM`.
fn numbered(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).fold("FROM scratch\n".to_owned(), |mut text, number| {
        text.push_str(&each(number));
        text
    })
}

/// A line of pairs as long as a line may be, again and again.
fn pairs(keyword: &str, distinct: bool) -> String {
    let mut text = "FROM scratch\n".to_owned();
    let mut number = 0;
    while text.len() < SIZE {
        text.push_str(keyword);
        for _ in 0..5000 {
            number += 1;
            let name = if distinct { number } else { number % 1000 };
            write!(text, " k{name}=v").unwrap();
        }
        text.push('\n');
    }
    text
}

fn nested(depth: usize) -> String {
    format!("{}x{}", "${a:-".repeat(depth), "}".repeat(depth))
}

type Case = (&'static str, Then, fn() -> String);

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn cases() -> Vec<Case> {
    use Then::{Nothing, Plan};
    vec![
        ("lines", Nothing, || {
            filled(
                "RUN --mount=type=cache,target=/var/cache apt-get update && apt-get install -y curl\n\
                 COPY --chown=1000:1000 src/main src/lib /app/\nENV PATH=/app/bin:$PATH MODE=\"a b\"\n",
            )
        }),
        ("run-a", Nothing, || filled("RUN a\n")),
        ("x", Nothing, || filled("CMD\n")),
        ("comments", Nothing, || filled("# what comes next\n")),
        ("comments-short", Nothing, || filled("#\n")),
        ("blank", Nothing, || filled("\n")),
        ("blank-spaces", Nothing, || filled(" \n")),
        ("continuations", Nothing, || {
            format!("FROM scratch\nRUN a{}\n", "\\\n".repeat(SIZE / 2))
        }),
        ("continued-lines", Nothing, || {
            format!("FROM scratch\nRUN a {}b\n", "&& abc \\\n".repeat(SIZE / 9))
        }),
        ("continued-comments", Nothing, || {
            format!("FROM scratch\nRUN a \\\n{}b\n", "#\n".repeat(SIZE / 2))
        }),
        ("continued-blank", Nothing, || {
            format!("FROM scratch\nRUN a \\\n{}b\n", "\n".repeat(SIZE))
        }),
        ("continued-escapes", Nothing, || {
            format!(
                "FROM scratch\nRUN a {}b\n",
                "\\\\x\\y \\\n".repeat(SIZE / 8)
            )
        }),
        ("continued-crlf", Nothing, || {
            filled("RUN a \\\r\n\r\nb\r\n")
        }),
        ("continued-with-blanks", Nothing, || filled("CMD \\ \na\n")),
        ("escapes-at-the-end", Nothing, || filled("CMD \\\\\n")),
        ("quoted-flags", Nothing, || {
            filled("ADD --link=\"true\" a b\n")
        }),
        ("quoted-heredocs", Nothing, || filled("RUN <<\"E\"\nE\n")),
        ("quoted-pairs", Nothing, || filled("ENV a=\"\"\n")),
        ("json", Nothing, || filled("CMD [\"\"]\n")),
        ("onbuild-short", Nothing, || filled("ONBUILD CMD\n")),
        ("continued-json", Nothing, || {
            format!(
                "FROM scratch\nRUN [\"a\"{}]\n",
                ",\"b\"\\\n".repeat(SIZE / 6)
            )
        }),
        ("continued-words", Nothing, || {
            format!("FROM scratch\nCOPY a {}b/\n", "c \\\n".repeat(SIZE / 4))
        }),
        ("continued-env", Nothing, || {
            format!("FROM scratch\nENV {}z=b\n", "c=d \\\n".repeat(SIZE / 6))
        }),
        ("heredoc", Nothing, || {
            format!("FROM scratch\nRUN <<EOF\n{}EOF\n", "abc\n".repeat(SIZE / 4))
        }),
        ("heredoc-open", Nothing, || {
            format!("FROM scratch\nRUN <<EOF\n{}", "EOFX\n".repeat(SIZE / 5))
        }),
        ("heredocs-small", Nothing, || filled("RUN <<E\nE\n")),
        ("heredocs-on-a-line", Nothing, || {
            let markers = " <<E".repeat(16_000);
            format!("FROM scratch\nRUN{markers}\n{}", "E\n".repeat(16_000))
        }),
        ("heredoc-many-markers", Nothing, || {
            format!(
                "FROM scratch\nRUN{} x\n{}",
                " <<E\\\n".repeat(1_000_000),
                "E\n".repeat(1_000_000)
            )
        }),
        ("env-pairs", Plan, || pairs("ENV", true)),
        ("env-pairs-again", Plan, || pairs("ENV", false)),
        ("label-pairs", Plan, || pairs("LABEL", true)),
        ("env-lines", Plan, || {
            numbered(100_000, |n| format!("ENV K{n}=v\n"))
        }),
        ("arg-lines", Plan, || {
            numbered(100_000, |n| format!("ARG K{n}=v\n"))
        }),
        ("global-args", Plan, || {
            let args = numbered(100_000, |n| format!("ARG K{n}=v\n"));
            format!(
                "{}FROM scratch\n",
                args.trim_start_matches("FROM scratch\n")
            )
        }),
        ("run-lines", Plan, || {
            numbered(100_000, |n| format!("RUN {n}\n"))
        }),
        ("env-and-run", Plan, || {
            numbered(50_000, |n| format!("ENV K={n}\nRUN {n}\n"))
        }),
        ("args-and-run", Plan, || {
            numbered(2_000, |n| format!("ARG K{n}={n}\nRUN {n}\n"))
        }),
        ("expose", Plan, || {
            numbered(60_000, |n| format!("EXPOSE {}\n", n + 1))
        }),
        ("expose-range", Plan, || {
            numbered(100, |_| "EXPOSE 1-65535\n".to_owned())
        }),
        ("volume-words", Plan, || {
            numbered(100_000, |n| format!("VOLUME /v{n}\n"))
        }),
        ("onbuild", Plan, || {
            numbered(100_000, |n| format!("ONBUILD RUN {n}\n"))
        }),
        ("undefined", Plan, || {
            numbered(100_000, |n| format!("LABEL a=$u{n}\n"))
        }),
        ("stages-chain", Plan, || {
            numbered(5_000, |n| {
                let base = if n == 0 {
                    "scratch".to_owned()
                } else {
                    format!("s{}", n - 1)
                };
                format!(
                    "FROM {base} AS s{n}\nENV K{n}=v\nCOPY --from=s{} a /\n",
                    n.saturating_sub(1)
                )
            })
            .replacen("COPY --from=s0 a /\n", "", 1)
        }),
        ("stages-branching", Plan, || {
            let large = numbered(20_000, |n| format!("ENV K{n}=v\nLABEL l{n}=v\n"));
            let large = (0..20_000).fold(large, |text, n| text + &format!("RUN {n}\n"));
            let mut text = large.replacen("scratch", "scratch AS large", 1);
            (0..5_000).for_each(|n| write!(text, "FROM large AS s{n}\nRUN {n}\n").unwrap());
            text.push_str("FROM scratch\n");
            (0..5_000).for_each(|n| writeln!(text, "COPY --from=s{n} a /").unwrap());
            text
        }),
        ("stages-copied", Plan, || {
            let mut text = numbered(5_000, |n| format!("FROM scratch AS s{n}\nRUN {n}\n"));
            text.push_str("FROM scratch\n");
            (0..5_000).for_each(|n| writeln!(text, "COPY --from=s{n} a /").unwrap());
            text
        }),
        ("stages-unused", Plan, || {
            filled("FROM a AS b\nCOPY --from=b c d\n") + "FROM scratch\n"
        }),
        ("stages-unused-names", Plan, || {
            numbered(100_000, |n| {
                format!("FROM a AS s{n}\nCOPY --from=s{n} c d\n")
            }) + "FROM scratch\n"
        }),
        ("flags", Nothing, || {
            format!(
                "FROM scratch\nCOPY{} a b\n",
                " --exclude=a\\\n".repeat(SIZE / 14)
            )
        }),
        ("mounts", Nothing, || {
            format!(
                "FROM scratch\nRUN{} a\n",
                " --mount=target=/a\\\n".repeat(SIZE / 20)
            )
        }),
        ("mount-fields", Nothing, || {
            format!(
                "FROM scratch\nRUN --mount=type=cache{} a\n",
                ",target=/a\\\n".repeat(SIZE / 12)
            )
        }),
        ("deep", Plan, || {
            let word = nested(99);
            numbered(10_000, |_| format!("ENV x={word}\n"))
        }),
        ("deeper", Plan, || {
            format!("FROM scratch\nENV x={}\n", nested(10_000))
        }),
        ("deepest", Nothing, || {
            format!(
                "FROM scratch\nENV x={}\n",
                nested(1_000_000).replace("-$", "-\\\n$")
            )
        }),
        ("quotes", Plan, || {
            let word = "\"a\"'b'\\c".repeat(7_000);
            numbered(150, |_| format!("ENV x={word}\n"))
        }),
        ("long-word", Plan, || {
            format!("FROM scratch\nENV x={}\n", "ab$c\\\n".repeat(SIZE / 6))
        }),
        ("replace", Plan, || {
            let long = "a".repeat(60_000);
            numbered(1, |_| {
                format!(
                    "ENV l={long}\nENV x=${{l//*b*b*b/x}}\nENV x=${{l%%*b*b}}\nENV x=${{l##*b}}\n"
                )
            })
        }),
        ("cr", Nothing, || filled("\r")),
        ("crlf", Nothing, || filled("RUN a b c\r\n")),
        ("unicode", Nothing, || filled("RUN é\u{3000}ü\n")),
        ("nul", Nothing, || filled("RUN \0\0\0\0\n")),
        ("mistakes", Nothing, || filled("FOO\n")),
        ("warnings", Nothing, || filled("RUN a \\\n\nb\n")),
    ]
}
