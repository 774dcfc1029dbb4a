//! Reading: resolving references, streaming blobs, and what may go wrong with both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use builder::oci::{BlobError, BlobSource as _, Descriptor, Digest, Manifest, media_type};
use builder::registry::{
    ContentError, Download, Failure, Patience, PushManifest, PushRequest, RegistryError, Settings,
    Unreachable,
};

use super::{Caller, amd64, layer, message, noise, read, read_layer, settings};
use crate::support::registry::{Effect, FakeImage, FakeRegistry, gzip};

#[test]
fn a_tag_leads_to_manifest_config_and_layers() {
    for docker in [false, true] {
        let registry = FakeRegistry::start();
        let mut image = FakeImage::new("linux/amd64", &[b"one", b"two"]);
        image.docker = docker;
        image.config.insert("User".to_owned(), "me".into());
        let digest = registry.put_image("lib/app:v1", &image);
        let caller = Caller::default();
        let reference = registry.reference("lib/app:v1");
        let resolved = caller.client.resolve(&reference, &amd64()).unwrap();
        assert_eq!(resolved.image.digest, digest);
        assert_eq!(resolved.root.digest, digest);
        assert_eq!(resolved.manifest.descriptor, resolved.root);
        assert_eq!(resolved.image.config.user(), "me");
        assert_eq!(resolved.image.name, reference.to_string());
        let blobs: Vec<_> = resolved
            .image
            .layers
            .iter()
            .map(|l| read_layer(l).unwrap())
            .collect();
        assert_eq!(blobs, [gzip(b"one"), gzip(b"two")]);
        assert_eq!(resolved.image.layers[0].diff_id, Digest::of(b"one"));
        let source = &resolved.image.layers[0].remote.as_ref().unwrap().source;
        assert_eq!(source.repository(), Some((registry.host(), "lib/app")));
        // The manifest, the config and two layers: nothing is asked twice.
        assert_eq!(registry.requests().len(), 4);
        assert_eq!(registry.requests()[0], "GET /v2/lib/app/manifests/v1 200");
    }
}

#[test]
fn a_digest_is_asked_for_and_checked() {
    let registry = FakeRegistry::start();
    let digest = registry.put_image("lib/app:v1", &FakeImage::new("linux/amd64", &[]));
    let caller = Caller::default();
    let reference = registry.reference(&format!("lib/app:v1@{digest}"));
    let resolved = caller.client.resolve(&reference, &amd64()).unwrap();
    assert_eq!(resolved.image.digest, digest);
    assert_eq!(registry.count(&format!("manifests/{digest}")), 1);

    registry.fault("/manifests/", 1, Effect::OtherBytes);
    let error = caller.client.resolve(&reference, &amd64()).unwrap_err();
    assert!(matches!(
        error.failure(),
        Some(Failure::Content(ContentError::Digest { expected, .. })) if *expected == digest
    ));
    assert!(error.hint().is_some());
    // Wrong content is not asked for again.
    assert_eq!(registry.count("manifests/"), 2);
}

#[test]
fn bytes_that_are_not_what_the_header_says_are_refused_for_tags_too() {
    let registry = FakeRegistry::start();
    registry.put_image("lib/app:v1", &FakeImage::new("linux/amd64", &[]));
    registry.fault("/manifests/", 1, Effect::Body(b"{}".to_vec()));
    let error = Caller::default()
        .client
        .resolve(&registry.reference("lib/app:v1"), &amd64())
        .unwrap_err();
    assert!(message(&error).contains("content has digest"), "{error}");
}

#[test]
fn an_index_leads_to_the_best_platform() {
    let registry = FakeRegistry::start();
    let entries: Vec<(&str, Digest)> = ["linux/amd64", "linux/arm/v6", "linux/arm64"]
        .into_iter()
        .map(|platform| {
            let image = FakeImage::new(platform, &[platform.as_bytes()]);
            let tag = platform.replace('/', "-");
            (
                platform,
                registry.put_image(&format!("lib/app:{tag}"), &image),
            )
        })
        .collect();
    let index = registry.put_index("lib/app:v1", &entries);
    let caller = Caller::default();
    let reference = registry.reference("lib/app:v1");
    for (wanted, expected) in [
        ("linux/amd64", 0),
        ("linux/arm/v7", 1),
        ("linux/arm64/v8", 2),
    ] {
        let resolved = caller
            .client
            .resolve(&reference, &wanted.parse().unwrap())
            .unwrap();
        assert_eq!(resolved.image.digest, entries[expected].1, "{wanted}");
        assert_eq!(resolved.root.digest, index);
        assert_eq!(resolved.root.media_type, media_type::OCI_INDEX);
    }
    let error = caller
        .client
        .resolve(&reference, &"linux/s390x".parse().unwrap())
        .unwrap_err();
    assert_eq!(
        message(&error),
        format!(
            "`{reference}` has no image for platform `linux/s390x`, it has `linux/amd64`, `linux/arm/v6`, `linux/arm64`"
        )
    );
    assert_eq!(caller.client.digest_of(&reference).unwrap(), index);
    assert_eq!(
        caller
            .client
            .manifest(&reference)
            .unwrap()
            .descriptor
            .digest,
        index
    );
}

#[test]
fn a_single_manifest_is_given_whatever_its_platform() {
    let registry = FakeRegistry::start();
    registry.put_image("lib/app:v1", &FakeImage::new("linux/arm64", &[]));
    let resolved = Caller::default()
        .client
        .resolve(&registry.reference("lib/app:v1"), &amd64())
        .unwrap();
    assert_eq!(resolved.image.config.platform().arch, "arm64");
}

#[test]
fn digests_of_tags() {
    let registry = FakeRegistry::start();
    let digest = registry.put_image("lib/app:v1", &FakeImage::new("linux/amd64", &[]));
    let caller = Caller::default();
    let reference = registry.reference("lib/app:v1");
    let ask = || caller.client.digest_of(&reference).unwrap();
    assert_eq!(ask(), digest);
    assert_eq!(registry.requests(), ["HEAD /v2/lib/app/manifests/v1 200"]);
    let no_head = Effect::Status(405, Vec::new(), String::new());
    for effect in [Effect::WithoutHeader("Docker-Content-Digest"), no_head] {
        registry.clear_log();
        registry.fault("HEAD", 1, effect);
        assert_eq!(ask(), digest);
        assert_eq!(registry.count("GET"), 1);
    }
    registry.clear_log();
    let pinned = reference.with_digest(Digest::of(b"x"));
    assert_eq!(caller.client.digest_of(&pinned).unwrap(), Digest::of(b"x"));
    assert_eq!(registry.log().len(), 0);
}

#[test]
fn what_is_not_there_is_told_from_what_cannot_be_reached() {
    let registry = FakeRegistry::start();
    let caller = Caller::default();
    let reference = registry.reference("lib/none:v1");
    for error in [
        caller
            .client
            .resolve(&reference, &amd64())
            .map(drop)
            .unwrap_err(),
        caller.client.digest_of(&reference).map(drop).unwrap_err(),
    ] {
        assert!(error.is_not_found());
        assert!(message(&error).contains("lib/none"), "{error}");
    }
    let gone = Descriptor::of(media_type::OCI_LAYER, b"gone");
    let source = caller.client.repository(&reference);
    assert!(matches!(source.open_blob(&gone), Err(BlobError::NotFound(d)) if d == gone.digest));

    drop(registry);
    let error = Caller::default().client.digest_of(&reference).unwrap_err();
    assert!(matches!(
        error.failure(),
        Some(Failure::Unreachable {
            cause: Unreachable::Refused,
            ..
        })
    ));
    assert!(!error.is_not_found());
    assert!(message(&error).contains("connection refused"), "{error}");
}

#[test]
fn troubles_that_pass_are_waited_for() {
    let registry = FakeRegistry::start();
    let digest = registry.put_image("lib/app:v1", &FakeImage::new("linux/amd64", &[]));
    let status = |status| Effect::Status(status, Vec::new(), String::new());
    let again = vec![("Retry-After".to_owned(), "0".to_owned())];
    for effect in [
        status(500),
        status(503),
        Effect::Status(429, again, String::new()),
        Effect::HangUp,
        Effect::BreakAfter(5),
    ] {
        registry.clear_log();
        registry.fault("/manifests/", 2, effect.clone());
        let resolved = Caller::default()
            .client
            .resolve(&registry.reference("lib/app:v1"), &amd64())
            .unwrap();
        assert_eq!(resolved.image.digest, digest);
        assert_eq!(registry.count("/manifests/"), 3, "{effect:?}");
    }
}

#[test]
fn troubles_that_do_not_pass_say_how_often_it_was_tried() {
    let registry = FakeRegistry::start();
    registry.fault(
        "/manifests/",
        100,
        Effect::Status(503, Vec::new(), "down".to_owned()),
    );
    let reference = registry.reference("lib/app:v1");
    let caller = Caller::default();
    let error = caller.client.resolve(&reference, &amd64()).unwrap_err();
    let text = message(&error);
    assert!(
        text.ends_with("answered 503 Service Unavailable: down (after 4 attempts)"),
        "{text}"
    );
    assert_eq!(registry.count("GET"), 4);
    assert!(caller.client.digest_of(&reference).is_err());
    assert_eq!(registry.count("HEAD"), 4);
    assert_eq!(registry.count("GET"), 4);
}

#[test]
fn a_limit_that_lasts_is_not_waited_for() {
    let registry = FakeRegistry::start();
    let later = vec![("Retry-After".to_owned(), "3600".to_owned())];
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#;
    registry.fault(
        "/manifests/",
        100,
        Effect::Status(429, later, body.to_owned()),
    );
    let error = Caller::default()
        .client
        .resolve(&registry.reference("lib/app:v1"), &amd64())
        .unwrap_err();
    assert_eq!(registry.count("/manifests/"), 1);
    assert!(matches!(error.failure(), Some(Failure::RateLimited { .. })));
    assert!(
        message(&error).contains("pull rate limit (TOOMANYREQUESTS)"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("3600 seconds"));
}

#[test]
fn a_broken_stream_goes_on_where_it_broke() {
    let bytes = noise(3_000_000);
    for effect in [
        Effect::BreakAfter(1_000_000),
        Effect::BreakAfter(0),
        Effect::HangUp,
        Effect::Status(502, Vec::new(), String::new()),
    ] {
        let registry = FakeRegistry::start();
        let caller = Caller::default();
        let layer = layer(&caller, &registry, &bytes);
        registry.fault("/blobs/", 2, effect.clone());
        assert!(read(&layer).unwrap() == bytes, "{effect:?}");
        if matches!(effect, Effect::BreakAfter(1_000_000)) {
            let log = registry.log();
            let ranges: Vec<_> = log.iter().filter_map(|l| l.headers.get("range")).collect();
            assert_eq!(ranges, ["bytes=1000000-", "bytes=2000000-"]);
        }
    }
}

#[test]
fn a_server_that_cannot_resume_starts_over() {
    let bytes = noise(100_000);
    let registry = FakeRegistry::start();
    let caller = Caller::default();
    let layer = layer(&caller, &registry, &bytes);
    registry.fault("/blobs/", 1, Effect::BreakAfter(60_000));
    registry.fault("/blobs/", 1, Effect::IgnoreRange);
    assert!(read(&layer).unwrap() == bytes);
    assert_eq!(registry.count("/blobs/"), 2);
}

#[test]
fn silence_is_a_broken_stream() {
    let bytes = noise(100_000);
    let registry = FakeRegistry::start();
    let patience = Patience {
        silence: Duration::from_millis(300),
        ..settings().patience
    };
    let caller = Caller::new(Settings {
        patience,
        ..settings()
    });
    let layer = layer(&caller, &registry, &bytes);
    registry.fault("/blobs/", 1, Effect::StallAfter(60_000));
    assert!(read(&layer).unwrap() == bytes);
    assert_eq!(registry.count("/blobs/"), 2);
}

#[test]
fn a_stream_that_never_gets_on_fails() {
    let registry = FakeRegistry::start();
    let caller = Caller::default();
    let layer = layer(&caller, &registry, &noise(1000));
    registry.fault("/blobs/", 1, Effect::BreakAfter(500));
    registry.fault("/blobs/", 100, Effect::BreakAfter(0));
    let error = read(&layer).unwrap_err();
    assert!(error.contains("cannot read blob sha256:"), "{error}");
    assert!(error.contains("/lib/app`"), "{error}");
    assert!(error.contains("after 4 attempts"), "{error}");
}

#[test]
fn content_that_is_not_what_was_promised_is_refused() {
    let bytes = noise(100_000);
    let longer = [&bytes[..], b"x"].concat();
    for (effect, words) in [
        (Effect::OtherBytes, "content has digest"),
        (
            Effect::Body(longer.clone()),
            "has 100001 bytes, expected 100000",
        ),
        (
            Effect::Body(bytes[1..].to_vec()),
            "has 99999 bytes, expected 100000",
        ),
    ] {
        let registry = FakeRegistry::start();
        let caller = Caller::default();
        let layer = layer(&caller, &registry, &bytes);
        registry.fault("/blobs/", 100, effect);
        let error = read(&layer).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert_eq!(registry.count("/blobs/"), 1);
    }
}

#[test]
fn content_of_unknown_length_is_measured() {
    let bytes = noise(50_000);
    let registry = FakeRegistry::start();
    let caller = Caller::default();
    let good = layer(&caller, &registry, &bytes);
    registry.fault("/blobs/", 100, Effect::Chunked);
    assert!(read(&good).unwrap() == bytes);
    for (size, words) in [
        (49_999, "expected 49999"),
        (50_001, "the answer ended early"),
    ] {
        let mut bad = good.clone();
        bad.blob.size = size;
        let error = read(&bad).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_redirect_is_followed() {
    let (registry, elsewhere) = (FakeRegistry::start(), FakeRegistry::start());
    let bytes = noise(100_000);
    let caller = Caller::default();
    let layer = layer(&caller, &registry, &bytes);
    let digest = elsewhere.put_blob("any", &bytes);
    let to = format!(
        "http://{}/elsewhere/{digest}?X-Signature=hunter2",
        elsewhere.host()
    );
    registry.fault("/blobs/", 1, Effect::Redirect(to));
    assert!(read(&layer).unwrap() == bytes);
    assert_eq!(elsewhere.count("/elsewhere/"), 1);

    registry.fault(
        "/blobs/",
        100,
        Effect::Redirect("/v2/lib/app/blobs/x".to_owned()),
    );
    let error = read(&layer).unwrap_err();
    assert!(error.contains("redirects in circles"), "{error}");
}

#[test]
fn images_that_cannot_be_used_are_refused_by_name() {
    let registry = FakeRegistry::start();
    let config =
        br#"{"rootfs":{"type":"layers","diff_ids":[]},"architecture":"amd64","os":"linux"}"#;
    registry.put_blob("lib/app", config);
    let put = |tag: &str, config_type: &str, layer_type: &str| {
        let manifest = Manifest {
            config: Descriptor::of(config_type, config),
            layers: vec![Descriptor::of(layer_type, b"x")],
            annotations: BTreeMap::new(),
        };
        let name = format!("lib/app:{tag}");
        registry.put_manifest(&name, media_type::OCI_MANIFEST, &manifest.to_bytes());
    };
    put("count", media_type::OCI_CONFIG, media_type::OCI_LAYER);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    put("foreign", media_type::OCI_CONFIG, foreign);
    put(
        "chart",
        "application/vnd.cncf.helm.config.v1+json",
        media_type::OCI_LAYER,
    );
    let schema1 = br#"{"schemaVersion":1,"name":"x"}"#;
    registry.put_manifest("lib/app:schema1", "application/json", schema1);
    registry.put_manifest("lib/app:text", "text/plain", b"hello");
    let huge = vec![b' '; (4 << 20) + 1];
    registry.put_manifest("lib/app:huge", media_type::OCI_MANIFEST, &huge);
    let caller = Caller::default();
    for (tag, words) in [
        ("count", "lists 1 layers and the image config 0"),
        (
            "foreign",
            "unsupported media type `application/vnd.docker.image.rootfs.foreign",
        ),
        ("chart", "not a container image"),
        ("schema1", "obsolete manifest format schema 1"),
        ("text", "not a valid image document"),
        ("huge", "the manifest is larger than 4194304 bytes"),
    ] {
        let reference = registry.reference(&format!("lib/app:{tag}"));
        let error = caller.client.resolve(&reference, &amd64()).unwrap_err();
        assert!(
            matches!(error.failure(), Some(Failure::Content(_))),
            "{tag}"
        );
        assert!(message(&error).contains(words), "{error}");
    }
}

#[test]
fn a_config_with_other_bytes_is_refused() {
    let registry = FakeRegistry::start();
    registry.put_image("lib/app:v1", &FakeImage::new("linux/amd64", &[]));
    registry.fault("/blobs/", 1, Effect::OtherBytes);
    let error = Caller::default()
        .client
        .resolve(&registry.reference("lib/app:v1"), &amd64())
        .unwrap_err();
    assert!(matches!(error, RegistryError::Config { .. }));
    assert!(message(&error).contains("content has digest"), "{error}");
}

#[test]
fn mirrors_are_asked_first_and_the_registry_last() {
    let (mirror, registry) = (FakeRegistry::start(), FakeRegistry::start());
    let image = FakeImage::new("linux/amd64", &[b"layer"]);
    let digest = mirror.put_image("cache/lib/app:v1", &image);
    registry.put_image("lib/app:v1", &image);
    registry.put_image("lib/app:v2", &image);
    let with_mirrors = |mirrors: &[String]| {
        Caller::new(Settings {
            mirrors: [(registry.host().to_owned(), mirrors.to_vec())].into(),
            ..settings()
        })
    };
    let caller = with_mirrors(&[format!("http://{}/cache", mirror.host())]);
    let resolve = |caller: &Caller, tag: &str| {
        let reference = registry.reference(tag);
        caller.client.resolve(&reference, &amd64()).unwrap().image
    };
    let found = resolve(&caller, "lib/app:v1");
    assert_eq!(read_layer(&found.layers[0]).unwrap(), gzip(b"layer"));
    assert_eq!(found.digest, digest);
    assert_eq!(registry.log().len(), 0);
    assert_eq!(mirror.count("/v2/cache/lib/app/"), 3);
    // What is pushed on top goes to the registry, where it can be mounted.
    assert_eq!(
        found.layers[0].remote.as_ref().unwrap().source.repository(),
        Some((registry.host(), "lib/app"))
    );

    // Not at the mirror, or wrong there.
    resolve(&caller, "lib/app:v2");
    assert_eq!(registry.count("/manifests/v2"), 1);
    mirror.fault("/manifests/", 1, Effect::OtherBytes);
    resolve(&caller, "lib/app:v1");
    assert_eq!(registry.count("/manifests/v1"), 1);

    let host = mirror.host().to_owned();
    drop(mirror);
    registry.clear_log();
    resolve(&with_mirrors(&[host]), "lib/app:v1");
    assert_eq!(registry.count("/manifests/v1"), 1);
}

#[test]
fn a_mirror_in_trouble_is_left_and_that_is_said_once() {
    let registry = FakeRegistry::start();
    let layer: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let image = FakeImage::new("linux/amd64", &[&layer]);
    registry.put_image("lib/app:v1", &image);
    let try_mirror = |on: &str, effects: Vec<Effect>| {
        let mirror = FakeRegistry::start();
        mirror.put_image("lib/app:v1", &image);
        for effect in effects {
            mirror.fault(on, 1, effect);
        }
        registry.clear_log();
        let caller = Caller::new(Settings {
            mirrors: [(registry.host().to_owned(), vec![mirror.host().to_owned()])].into(),
            ..settings()
        });
        let reference = registry.reference("lib/app:v1");
        let found = caller.client.resolve(&reference, &amd64()).unwrap().image;
        assert_eq!(read_layer(&found.layers[0]).unwrap(), gzip(&layer), "{on}");
        let remarks = caller.client.take_remarks();
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        let named = format!("the mirror `{}` of `{}`", mirror.host(), registry.host());
        assert!(remarks[0].starts_with(&named), "{remarks:?}");
        mirror.clear_log();
        caller.client.resolve(&reference, &amd64()).unwrap();
        assert_eq!(mirror.log().len(), 0, "it is asked again");
        assert_eq!(caller.client.take_remarks(), [""; 0]);
    };
    let busy = || Effect::Status(503, Vec::new(), String::new());
    try_mirror("/manifests/", vec![busy(), busy()]);
    try_mirror("/manifests/", vec![Effect::HangUp, Effect::HangUp]);
    // The config.
    try_mirror("/blobs/", vec![Effect::OtherBytes]);
    // The layer goes on at the registry where it broke off at the mirror.
    let blob = Digest::of(gzip(&layer)).to_string();
    try_mirror(&blob, vec![Effect::BreakAfter(100_000), busy(), busy()]);
    let ranges: Vec<_> = registry
        .log()
        .iter()
        .filter_map(|asked| asked.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges.len(), 1, "{ranges:?}");
}

#[test]
fn a_mirror_that_refuses_is_told_of_and_asked_for_the_next_thing() {
    let (mirror, registry) = (FakeRegistry::start(), FakeRegistry::start());
    let image = FakeImage::new("linux/amd64", &[]);
    for name in ["a/one:1", "a/two:1"] {
        registry.put_image(name, &image);
        mirror.put_image(name, &image);
    }
    let refusal = || Effect::Status(403, Vec::new(), String::new());
    mirror.fault("/a/one/", 9, refusal());
    let caller = Caller::new(Settings {
        mirrors: [(registry.host().to_owned(), vec![mirror.host().to_owned()])].into(),
        ..settings()
    });
    let resolve = |name| caller.client.resolve(&registry.reference(name), &amd64());
    resolve("a/one:1").unwrap();
    assert_eq!(caller.client.take_remarks().len(), 1);
    assert_eq!(registry.count("/a/one/"), 2);
    resolve("a/two:1").unwrap();
    assert_eq!(caller.client.take_remarks(), [""; 0]);
    assert_eq!(registry.count("/a/two/"), 0);
}

#[test]
fn offline_nothing_is_asked() {
    let registry = FakeRegistry::start();
    registry.put_image("lib/app:v1", &FakeImage::new("linux/amd64", &[b"layer"]));
    let reference = registry.reference("lib/app:v1");
    let online = Caller::default();
    let known = online.client.resolve(&reference, &amd64()).unwrap();
    registry.clear_log();
    let caller = Caller::new(Settings {
        offline: true,
        ..settings()
    });
    let error = caller.client.resolve(&reference, &amd64()).unwrap_err();
    assert!(error.is_offline() && !error.is_not_found(), "{error}");
    let error = caller.client.digest_of(&reference).unwrap_err();
    assert!(error.is_offline(), "{error}");
    let download = Download {
        url: format!("http://{}/v2/", registry.host()),
        ..Download::default()
    };
    assert!(caller.client.download(&download).unwrap_err().is_offline());
    let push = PushRequest {
        references: vec![registry.reference("lib/app:v2")],
        manifest: PushManifest {
            media_type: media_type::OCI_MANIFEST.to_owned(),
            bytes: known.manifest.bytes.clone(),
        },
        children: Vec::new(),
        configs: Vec::new(),
        layers: Vec::new(),
        progress: Arc::new(|_| {}),
    };
    assert!(caller.client.push(&push).unwrap_err().is_offline());
    // What is known can be used, up to the first layer.
    let image = caller
        .client
        .image(&reference, &known.manifest, &known.config)
        .unwrap();
    assert_eq!(image.digest, known.image.digest);
    let layer = image.layers[0].remote.as_ref().unwrap();
    assert!(matches!(
        layer.source.open_blob(&layer.blob),
        Err(BlobError::Offline { .. })
    ));
    assert_eq!(registry.log().len(), 0);
}
