//! Tables of mounts, from the text of the flag.

use super::super::spec::parse;
use super::*;
use crate::dockerfile::glued::GluedText;
use crate::source::FileId;

fn glued(text: &str) -> GluedText<'_> {
    GluedText::piece(FileId(0), text, 0)
}

/// Expands `$dir` to `/d` and leaves the rest alone.
fn mount(text: &str) -> Result<Mount, String> {
    let spec = parse(&glued(text)).map_err(|diagnostic| diagnostic.message)?;
    let mut expand = |word: &Word| Ok(word.text.replace("$dir", "/d"));
    resolve(&spec, &mut expand).map_err(|error| error.to_string())
}

#[track_caller]
fn check(cases: impl IntoIterator<Item = (&'static str, Mount)>) {
    for (written, expected) in cases {
        assert_eq!(mount(written), Ok(expected), "of {written}");
    }
}

fn secret(id: &str, target: Option<&str>, env: Option<&str>) -> Mount {
    Mount::Secret {
        id: id.to_owned(),
        target: target.map(str::to_owned),
        env: env.map(str::to_owned),
        required: false,
        mode: None,
        uid: None,
        gid: None,
    }
}

#[test]
fn bind_mounts() {
    let bind = |from: Option<&str>, source: Option<&str>, read_write: bool| Mount::Bind {
        from: from.map(str::to_owned),
        source: source.map(str::to_owned),
        target: "/d/x".to_owned(),
        read_write,
    };
    check([
        ("target=$dir/x", bind(None, None, false)),
        (
            "type=bind,from=stage,src=a,dst=/d/x,rw",
            bind(Some("stage"), Some("a"), true),
        ),
        (
            "TYPE=Bind,Target=/d/x,readonly=false",
            bind(None, None, true),
        ),
        ("target=/d/x,rw,ro", bind(None, None, false)),
    ]);
}

#[test]
fn cache_mounts() {
    let cache = |target: &str| {
        Mount::Cache(CacheMount {
            target: target.to_owned(),
            ..CacheMount::default()
        })
    };
    check([
        ("type=cache,target=/c", cache("/c")),
        ("type=cache", cache("")),
        ("target=/c,type=cache", cache("/c")),
    ]);
}

#[test]
fn secret_and_ssh_mounts() {
    let ssh = Mount::Ssh {
        id: None,
        target: None,
        required: true,
        mode: Some(0o600),
        uid: Some(1),
        gid: Some(2),
    };
    check([
        (
            "type=secret,id=a/b",
            secret("a/b", Some("/run/secrets/b"), None),
        ),
        (
            "type=secret,source=b",
            secret("b", Some("/run/secrets/b"), None),
        ),
        ("type=secret,target=/e/f", secret("f", Some("/e/f"), None)),
        ("type=secret,id=b,env=B", secret("b", None, Some("B"))),
        (
            "type=secret,id=b,env=B,target=/e",
            secret("b", Some("/e"), Some("B")),
        ),
        ("type=ssh,required,mode=0600,uid=1,gid=2", ssh),
    ]);
}

#[test]
fn tmpfs_mounts() {
    let tmpfs = |size: u64, read_only: bool| Mount::Tmpfs {
        target: "/t".to_owned(),
        size: Some(size),
        read_only,
    };
    check([
        ("type=tmpfs,target=/t,size=1.5k", tmpfs(1536, false)),
        (
            "type=tmpfs,target=/t,size=128MiB,ro",
            tmpfs(128 << 20, true),
        ),
    ]);
}

#[test]
fn values_are_expanded_and_may_be_quoted() {
    let quoted = mount(r#"type=cache,"target=/a,b",sharing=LOCKED,id=$dir"#).unwrap();
    assert!(matches!(
        quoted,
        Mount::Cache(CacheMount { target, sharing: Sharing::Locked, id, .. }) if target == "/a,b" && id.as_deref() == Some("/d")
    ));
}

#[test]
fn mistakes() {
    let cases = [
        (
            "type=tmpfs,\"target=/x",
            "failed to parse csv mounts: extraneous or missing \" in a quoted field",
        ),
        (
            "type=cahce",
            "unsupported mount type \"cahce\" (did you mean cache?)",
        ),
        (
            "required,type=secret",
            "unexpected key 'required' for mount type 'bind'",
        ),
        (
            "size=1m,type=tmpfs",
            "unexpected key 'size' for mount type 'bind'",
        ),
        (
            "env=X,target=/x",
            "unexpected key 'env' for mount type 'bind'",
        ),
        ("target", "invalid field 'target' must be a key=value pair"),
        (
            "typ=tmpfs",
            "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)",
        ),
        ("target=/x,ro=perhaps", "invalid value for ro: perhaps"),
        ("type=cache,target=/x,mode=9", "invalid value 9 for mode"),
        ("type=cache,target=/x,uid=x", "invalid value x for uid"),
        ("type=cache,target=/x,gid=-1", "invalid value -1 for gid"),
        ("type=tmpfs,target=/x,size=1x", "invalid value for size: 1x"),
        (
            "type=cache,target=/x,sharing=no",
            "unsupported sharing value \"no\"",
        ),
        (
            "target=/x,sharing=locked",
            "invalid cache sharing set for bind mount",
        ),
        (
            "target=/x,mode=0700",
            "mode not allowed for \"bind\" type mounts",
        ),
        (
            "type=tmpfs,target=/x,uid=1",
            "uid not allowed for \"tmpfs\" type mounts",
        ),
        (
            "from=$dir,target=/x",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
        (
            "type=secret,id=x,from=y",
            "secret mount should not have a from",
        ),
        (
            "type=secret,id=x,sharing=locked",
            "secret mount should not define sharing",
        ),
        (
            "type=secret",
            "invalid secret mount. one of source, target required",
        ),
        (
            "type=secret,id=x,source=y",
            "both source and id can't be set",
        ),
        ("type=ssh,source=x", "ssh does not support source"),
        ("type=$dir", "unsupported mount type \"/d\""),
    ];
    for (written, expected) in cases {
        assert_eq!(mount(written), Err(expected.to_owned()), "of {written}");
    }
}

#[test]
fn what_is_expanded_is_checked_only_then() {
    assert!(parse(&glued("type=$T,required")).is_ok());
    assert!(parse(&glued("type=none,required")).is_err());
}

#[test]
fn sizes() {
    let cases = [
        ("0", Some(0)),
        ("10", Some(10)),
        ("1b", Some(1)),
        ("2kb", Some(2048)),
        ("1 g", Some(1 << 30)),
        ("0.5T", Some(1 << 39)),
        ("", None),
        ("ib", None),
        ("1ib", None),
        ("-1", None),
        ("1.2.3", None),
        ("99999999999999999999", None),
        ("18446744073709551615k", None),
    ];
    for (text, expected) in cases {
        assert_eq!(size(text), expected, "of {text:?}");
    }
}
