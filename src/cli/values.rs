//! Values of flags that have a grammar of their own: secrets, hosts, limits, sizes, lengths of time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::DEFAULT_ID;
use crate::export::csv_fields;
use crate::oci::Reference;
use crate::plan::NetworkMode;
use crate::sandbox::{LimitedResource, Ulimit};
use crate::solve::Snapshotter;
use crate::source::boolean;

/// `id=ID[,src=FILE|env=VAR]` as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretSpec {
    pub(super) id: String,
    pub(super) file: Option<PathBuf>,
    pub(super) env: Option<String>,
}

/// Reads a value of `--secret`.
pub(super) fn secret(text: &str) -> Result<SecretSpec, String> {
    let mut spec = SecretSpec {
        id: String::new(),
        file: None,
        env: None,
    };
    let fields = csv_fields(text)
        .ok_or_else(|| format!("invalid secret {text}: not a list of key=value"))?;
    let mut kind = None;
    for field in &fields {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid secret {text}: expected key=value"))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "id" => value.clone_into(&mut spec.id),
            "src" | "source" => spec.file = Some(PathBuf::from(value)),
            "env" => spec.env = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => kind = Some(value.to_owned()),
            key => {
                return Err(format!(
                    "invalid secret {text}: unexpected key '{key}' in '{field}'"
                ));
            }
        }
    }
    if spec.id.is_empty() {
        return Err(format!("invalid secret {text}: id is required"));
    }
    if kind.as_deref() == Some("env") && spec.env.is_none() {
        spec.env = spec
            .file
            .take()
            .map(|name| name.to_string_lossy().into_owned());
    }
    Ok(spec)
}

/// What `build` is to do with a Dockerfile instead of building it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Check,
    Outline,
    Targets,
    Describe,
}

/// A value of `--call` other than `build`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) json: bool,
    /// Findings are no failure.
    pub(super) ignore_status: bool,
}

/// Reads a value of `--call`: `METHOD[,format=text|json][,ignorestatus=true]`. `build` is no call.
pub(super) fn call(text: &str) -> Result<Option<Call>, String> {
    let fields = csv_fields(text)
        .ok_or_else(|| format!("invalid value `{text}` for --call: not a list of fields"))?;
    let (mut method, mut json, mut ignore_status) = (None, false, false);
    for field in &fields {
        match field.split_once('=') {
            None if method.is_none() => method = Some(field.as_str()),
            Some(("format", "json")) => json = true,
            Some(("format", "text")) => json = false,
            Some(("ignorestatus", "true" | "1")) => ignore_status = true,
            Some(("ignorestatus", "false" | "0")) => ignore_status = false,
            _ => {
                return Err(format!(
                    "unexpected `{field}` in --call, expected METHOD[,format=text|json][,ignorestatus=true|false]"
                ));
            }
        }
    }
    let method = match method.unwrap_or("build") {
        "build" => return Ok(None),
        "check" | "lint" => Method::Check,
        "outline" => Method::Outline,
        "targets" => Method::Targets,
        "subrequests.describe" => Method::Describe,
        other => {
            let known = "build, check, outline, targets or subrequests.describe";
            return Err(format!(
                "unknown method `{other}` for --call, expected {known}"
            ));
        }
    };
    Ok(Some(Call {
        method,
        json,
        ignore_status,
    }))
}

/// Reads the value of a flag that is on or off, as in `--pull=false`.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    boolean(text).ok_or_else(|| "expected true or false".to_owned())
}

/// Reads a value of `--ssh`: the id, and the paths that it names.
pub(super) fn ssh(text: &str) -> (&str, Vec<PathBuf>) {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { DEFAULT_ID } else { id };
    let paths = paths.split(',').filter(|path| !path.is_empty());
    (id, paths.map(PathBuf::from).collect())
}

/// Reads a value of `--network`.
pub(super) fn network(text: &str) -> Result<NetworkMode, String> {
    match text {
        "default" => Ok(NetworkMode::Default),
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        _ => match text.strip_prefix("ns:") {
            Some(path) if path.starts_with('/') => Ok(NetworkMode::Namespace(path.to_owned())),
            Some(_) => Err("the path of a namespace has to be absolute".to_owned()),
            None => Err("expected default, none, host or ns:PATH".to_owned()),
        },
    }
}

/// Reads a value of `--add-host`: `name:ip` or `name=ip`, IPv6 addresses may be in brackets; no address for `host-gateway`.
pub(super) fn host(text: &str) -> Result<(String, Option<IpAddr>), String> {
    let bad = || format!("invalid value `{text}` for --add-host, expected NAME:IP");
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(bad)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(bad());
    }
    match address {
        "host-gateway" => Ok((name.to_owned(), None)),
        _ => {
            let ip: IpAddr = address.parse().map_err(|_| bad())?;
            Ok((name.to_owned(), Some(ip)))
        }
    }
}

/// Reads a value of `--ulimit`: `name=soft[:hard]`, `-1` is unlimited.
pub(super) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let bad = || format!("invalid value `{text}` for --ulimit, expected NAME=SOFT[:HARD]");
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let resource =
        LimitedResource::from_name(name).ok_or_else(|| format!("invalid ulimit type: {name}"))?;
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        _ => text.parse::<u64>().map(Some).map_err(|_| bad()),
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {text}"
        ));
    }
    Ok(Ulimit {
        resource,
        soft,
        hard,
    })
}

/// Reads a size: a number with `b`, `k`, `m`, `g` or `t`, 1024-based.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match lower[digits.len()..]
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => Some(1),
        "k" => Some(1 << 10),
        "m" => Some(1 << 20),
        "g" => Some(1 << 30),
        "t" => Some(1 << 40),
        _ => None,
    };
    let bytes = scale.and_then(|scale: u64| digits.parse::<u64>().ok()?.checked_mul(scale));
    bytes.ok_or_else(|| format!("invalid size `{text}`, expected for example 64m"))
}

/// Reads a limit: a size, or `none`.
pub(super) fn limit(text: &str) -> Result<Option<u64>, String> {
    match text.trim() {
        "none" => Ok(None),
        text => size(text)
            .map(Some)
            .map_err(|_| format!("invalid size `{text}`, expected for example 20G, or none")),
    }
}

/// Reads a way to make root file systems; `None` is the best that the machine allows.
pub(super) fn snapshotter(text: &str) -> Result<Option<Snapshotter>, String> {
    match (text.trim(), Snapshotter::from_word(text.trim())) {
        ("auto", _) => Ok(None),
        (_, Some(way)) => Ok(Some(way)),
        (text, None) => Err(format!("`{text}` is none of auto, overlay, copy")),
    }
}

/// Reads a duration: numbers with `s`, `m`, `h` or `d` (`1h30m`), or `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("invalid duration `{text}`, expected for example 1h30m, or 0");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let scale = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 24 * 3600,
            _ => return Err(bad()),
        };
        let more = number.checked_mul(scale);
        seconds = more
            .and_then(|more| seconds.checked_add(more))
            .ok_or_else(bad)?;
        rest = &rest[digits + 1..];
    }
    match text.trim().is_empty() {
        true => Err(bad()),
        false => Ok(Duration::from_secs(seconds)),
    }
}

/// Reads the name of a registry, and gives it as it is in references.
pub(super) fn registry(text: &str) -> Result<String, String> {
    let bad = || format!("`{text}` is not a registry, expected HOST[:PORT]");
    let reference: Reference = format!("{text}/name/name").parse().map_err(|_| bad())?;
    // What is no host is taken for a part of a repository at Docker Hub.
    match text.contains('/') || reference.repository() != "name/name" {
        true => Err(bad()),
        false => Ok(reference.registry().to_owned()),
    }
}

/// Of a mirror with a login in it, which is not repeated.
pub(super) const MIRROR_LOGIN: &str =
    "a mirror is given without a login: log in with `docker login`";

/// Reads a mirror: `[http[s]://]HOST[:PORT][/PATH]`.
pub(super) fn mirror(text: &str) -> Result<String, String> {
    let bad = |why: &str| {
        Err(format!(
            "`{text}` is not a mirror{why}, expected [http[s]://]HOST[:PORT][/PATH]"
        ))
    };
    let url = match text.split_once("://") {
        Some(("http" | "https", _)) => text.to_owned(),
        Some((scheme, _)) => return bad(&format!(" (`{scheme}`)")),
        None => format!("https://{text}"),
    };
    let Ok(url) = url::Url::parse(&url) else {
        return bad("");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(MIRROR_LOGIN.to_owned());
    }
    if text.is_empty() || url.query().is_some() || url.fragment().is_some() {
        return bad("");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Reads `BUILDER_MIRRORS`: `REGISTRY=MIRROR`, several with blanks between them.
pub(super) fn mirrors(text: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut mirrors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for word in text.split_whitespace() {
        let Some((name, at)) = word.split_once('=') else {
            return Err("expected REGISTRY=MIRROR, several with blanks between them".to_owned());
        };
        mirrors
            .entry(registry(name)?)
            .or_default()
            .push(mirror(at)?);
    }
    Ok(mirrors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        let spec = secret("id=a,src=/x").unwrap();
        assert_eq!(
            (spec.id.as_str(), spec.file),
            ("a", Some(PathBuf::from("/x")))
        );
        assert_eq!(secret("id=a,env=B").unwrap().env.as_deref(), Some("B"));
        assert_eq!(
            secret("id=a,type=env,src=B").unwrap().env.as_deref(),
            Some("B")
        );
        assert!(
            secret("id=a\nid=b")
                .unwrap_err()
                .contains("not a list of key=value")
        );
        assert!(secret("src=/x").unwrap_err().contains("id is required"));
        assert!(
            secret("id=a,typ=x")
                .unwrap_err()
                .contains("unexpected key 'typ' in 'typ=x'")
        );
    }

    #[test]
    fn agents() {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(ssh("default"), ("default", paths(&[])));
        assert_eq!(ssh("git=/a=b,/c"), ("git", paths(&["/a=b", "/c"])));
        assert_eq!(ssh("=/a,"), ("default", paths(&["/a"])));
    }

    #[test]
    fn hosts_limits_sizes() {
        assert_eq!(
            host("db:10.0.0.1").unwrap(),
            ("db".to_owned(), "10.0.0.1".parse().ok())
        );
        assert_eq!(
            host("db=[::1]").unwrap(),
            ("db".to_owned(), "::1".parse().ok())
        );
        assert!(host("db").is_err() && host("db:x").is_err());
        let files = ulimit("nofile=1024:2048").unwrap();
        assert_eq!((files.soft, files.hard), (Some(1024), Some(2048)));
        assert!(ulimit("nofile=9:1").is_err() && ulimit("x=1").is_err());
        assert_eq!(
            [size("64m"), size("1g"), size("5"), size("2KiB")].map(Result::unwrap),
            [64 << 20, 1 << 30, 5, 2048]
        );
        assert!(size("x").is_err() && size("99999999999t").is_err());
        assert_eq!([limit("none"), limit("1k")], [Ok(None), Ok(Some(1024))]);
        assert!(limit("all").is_err());
    }

    #[test]
    fn durations() {
        let seconds = |text: &str| duration(text).map(|age| age.as_secs());
        for (text, expected) in [
            ("0", 0),
            ("45s", 45),
            ("30m", 1800),
            ("1h30m", 5400),
            ("2d", 172_800),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "5",
            "h",
            "1y",
            "1h30",
            "-1h",
            "1.5h",
            "99999999999999999d",
            "1 h",
        ] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn registries_and_mirrors() {
        for (text, expected) in [
            ("docker.io", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("ghcr.io", "ghcr.io"),
        ] {
            assert_eq!(registry(text).as_deref(), Ok(expected));
        }
        for bad in ["", "hub", "a.io/b", "A B", "https://a.io"] {
            assert!(registry(bad).is_err(), "{bad}");
        }
        for good in [
            "m.io",
            "m.io:5000/hub",
            "http://m.io",
            "https://m.io/a/b",
            "localhost:5000",
        ] {
            assert_eq!(mirror(good).as_deref(), Ok(good));
        }
        assert_eq!(mirror("m.io/hub/").as_deref(), Ok("m.io/hub"));
        for bad in ["", "ftp://m.io", "m io", "m.io?x", "https://"] {
            assert!(mirror(bad).is_err(), "{bad}");
        }
        let secret = mirror("https://me:secret@m.io").unwrap_err();
        assert!(!secret.contains("secret") && secret.contains("docker login"));
        let many = mirrors("docker.io=a.io docker.io=b.io/x  ghcr.io=a.io").unwrap();
        assert_eq!(many["docker.io"], ["a.io", "b.io/x"]);
        assert_eq!(many["ghcr.io"], ["a.io"]);
        assert!(mirrors("a.io").is_err());
    }
}
