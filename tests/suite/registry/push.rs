//! Writing: what is sent, what is not, in which order, and what happens when it breaks.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use builder::oci::{Descriptor, Digest, Manifest, media_type};
use builder::registry::{Failure, PushBlob, PushEvent, PushManifest, PushRequest, RegistryError};

use super::{Caller, amd64, message, noise, read_layer, settings};
use crate::support::registry::{Access, Effect, FakeImage, FakeRegistry};

/// A layer that counts how often it is opened.
fn counted(bytes: Vec<u8>) -> (PushBlob, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let mut blob = PushBlob::from_bytes(media_type::OCI_LAYER, bytes.clone());
    let count = Arc::clone(&opened);
    blob.open = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(io::Cursor::new(bytes.clone())))
    });
    (blob, opened)
}

/// An image of these layers, to be pushed under these names.
fn request(registry: &FakeRegistry, names: &[&str], layers: Vec<PushBlob>) -> PushRequest {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.descriptor.digest).collect();
    let mut config = builder::oci::Config::scratch(&amd64());
    config.set_diff_ids(&diff_ids);
    let config = PushBlob::from_bytes(media_type::OCI_CONFIG, config.to_bytes());
    let manifest = Manifest {
        config: config.descriptor.clone(),
        layers: layers
            .iter()
            .map(|layer| layer.descriptor.clone())
            .collect(),
        annotations: std::collections::BTreeMap::new(),
    };
    PushRequest {
        references: names.iter().map(|name| registry.reference(name)).collect(),
        manifest: PushManifest {
            media_type: media_type::OCI_MANIFEST.to_owned(),
            bytes: manifest.to_bytes(),
        },
        children: Vec::new(),
        configs: vec![config],
        layers,
        progress: Arc::new(|_| {}),
    }
}

#[test]
fn everything_is_there_before_the_name() {
    let registry = FakeRegistry::start();
    let (large, small) = (noise(700_000), b"small".to_vec());
    let layers = vec![
        counted(large.clone()).0,
        counted(small.clone()).0,
        counted(small.clone()).0,
    ];
    let mut request = request(&registry, &["a/app:v1", "a/app:latest"], layers);
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    request.progress = Arc::new(move |event| sink.lock().unwrap().push(event));
    let caller = Caller::default();
    let digest = caller.client.push(&request).unwrap();
    assert_eq!(digest, Digest::of(&request.manifest.bytes));

    let requests = registry.requests();
    let puts: Vec<&String> = requests
        .iter()
        .filter(|line| line.starts_with("PUT"))
        .collect();
    // Two layers (one of them listed twice) and the config, then the names in order.
    assert_eq!(puts.len(), 5);
    assert_eq!(puts[3], "PUT /v2/a/app/manifests/v1 201");
    assert_eq!(puts[4], "PUT /v2/a/app/manifests/latest 201");
    assert_eq!(requests.last(), Some(puts[4]));
    for logged in registry.log() {
        if logged.method == "PUT" {
            assert_eq!(logged.headers["content-length"], logged.body.to_string());
        }
        if logged.method == "POST" {
            assert_eq!(logged.headers["content-length"], "0");
        }
    }

    let resolved = caller
        .client
        .resolve(&registry.reference("a/app:latest"), &amd64())
        .unwrap();
    assert_eq!(resolved.image.digest, digest);
    assert!(read_layer(&resolved.image.layers[0]).unwrap() == large);
    assert_eq!(read_layer(&resolved.image.layers[1]).unwrap(), small);

    let events = events.lock().unwrap();
    let large = Digest::of(&large);
    let sizes: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            PushEvent::Sending {
                digest,
                current,
                total: 700_000,
            } if *digest == large => Some(*current),
            _ => None,
        })
        .collect();
    assert!(
        sizes.is_sorted() && sizes.last() == Some(&700_000),
        "{sizes:?}"
    );
    assert!(events.contains(&PushEvent::Sent(large)));
    assert_eq!(
        events.last(),
        Some(&PushEvent::Named(registry.reference("a/app:latest")))
    );
}

#[test]
fn blobs_that_are_there_are_neither_read_nor_sent() {
    let registry = FakeRegistry::start();
    let (there, opened) = counted(noise(1000));
    registry.put_blob("a/app", &noise(1000));
    let caller = Caller::default();
    let request = request(&registry, &["a/app:v1"], vec![there]);
    caller.client.push(&request).unwrap();
    assert_eq!(opened.load(Ordering::Relaxed), 0);
    assert_eq!(registry.count("POST"), 1, "the config");
    registry.clear_log();
    caller.client.push(&request).unwrap();
    assert_eq!(registry.count("POST"), 0);
    assert_eq!(registry.count("PUT"), 1);
}

#[test]
fn base_layers_are_mounted_from_their_repository() {
    let registry = FakeRegistry::start();
    registry.put_image("lib/base:v1", &FakeImage::new("linux/amd64", &[b"base"]));
    let caller = Caller::default();
    let base = caller
        .client
        .resolve(&registry.reference("lib/base:v1"), &amd64())
        .unwrap()
        .image;
    let layer = base.layers[0].remote.as_ref().unwrap();
    let source = layer.source.repository();
    let blob = PushBlob {
        descriptor: layer.blob.clone(),
        open: Arc::new(|| Err(io::Error::other("must not be read"))),
        mount_from: source.map(|(host, name)| (host.to_owned(), name.to_owned())),
    };
    let digest = blob.descriptor.digest;
    let mut request = request(&registry, &["a/app:v1"], vec![blob]);
    let mounted = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&mounted);
    request.progress = Arc::new(move |event| {
        if let PushEvent::Mounted { digest, from } = event {
            sink.lock().unwrap().push((digest, from));
        }
    });
    caller.client.push(&request).unwrap();
    assert_eq!(*mounted.lock().unwrap(), [(digest, "lib/base".to_owned())]);
    assert!(registry.blob("a/app", digest).is_some());
}

#[test]
fn what_cannot_be_mounted_is_sent_in_the_session_that_was_opened() {
    let registry = FakeRegistry::start();
    registry.refuse_mounts();
    let (mut blob, opened) = counted(noise(1000));
    blob.mount_from = Some((registry.host().to_owned(), "lib/base".to_owned()));
    let (mut far, _) = counted(noise(2000));
    far.mount_from = Some(("elsewhere.example".to_owned(), "lib/base".to_owned()));
    let request = request(&registry, &["a/app:v1"], vec![blob, far]);
    Caller::default().client.push(&request).unwrap();
    assert_eq!(opened.load(Ordering::Relaxed), 1);
    assert_eq!(registry.count("mount="), 1);
    assert_eq!(registry.count("POST"), 3);

    // A registry that does not know mounting at all.
    let registry = FakeRegistry::start();
    let (mut blob, opened) = counted(noise(1000));
    blob.mount_from = Some((registry.host().to_owned(), "lib/base".to_owned()));
    registry.fault("mount=", 1, Effect::Status(405, Vec::new(), String::new()));
    let request = self::request(&registry, &["a/app:v1"], vec![blob]);
    Caller::default().client.push(&request).unwrap();
    assert_eq!(opened.load(Ordering::Relaxed), 1);
}

#[test]
fn a_second_repository_mounts_from_the_first() {
    let registry = FakeRegistry::start();
    let (blob, opened) = counted(noise(1000));
    let request = request(&registry, &["a/app:v1", "b/app:v1", "a/app:v2"], vec![blob]);
    Caller::default().client.push(&request).unwrap();
    assert_eq!(opened.load(Ordering::Relaxed), 1);
    assert_eq!(registry.count("from=a/app 201"), 2);
    for (repository, tag) in [("a/app", "v1"), ("a/app", "v2"), ("b/app", "v1")] {
        let (_, bytes) = registry.manifest(repository, tag).unwrap();
        assert_eq!(bytes, request.manifest.bytes);
    }
}

#[test]
fn a_broken_upload_starts_over() {
    let status = |status| Effect::Status(status, Vec::new(), String::new());
    for (on, effect) in [
        ("PUT /v2/a/app/blobs/", status(500)),
        ("PUT /v2/a/app/blobs/", Effect::HangUp),
        ("POST /v2/a/app/blobs/", status(503)),
        ("HEAD /v2/a/app/blobs/", status(502)),
        // The session is gone.
        ("PUT /v2/a/app/blobs/", status(404)),
        ("PUT /v2/a/app/manifests/", status(503)),
    ] {
        let registry = FakeRegistry::start();
        let bytes = noise(600_000);
        let (blob, _) = counted(bytes.clone());
        let digest = blob.descriptor.digest;
        registry.fault(on, 2, effect.clone());
        let request = request(&registry, &["a/app:v1"], vec![blob]);
        Caller::default().client.push(&request).unwrap();
        assert!(
            registry.blob("a/app", digest).unwrap() == bytes,
            "{on} {effect:?}"
        );
        assert!(registry.manifest("a/app", "v1").is_some());
    }
}

#[test]
fn an_upload_that_never_works_leaves_no_name() {
    let registry = FakeRegistry::start();
    let (blob, opened) = counted(noise(1000));
    let digest = blob.descriptor.digest;
    let broken = Effect::Status(500, Vec::new(), String::new());
    registry.fault("PUT /v2/a/app/blobs/", 100, broken);
    let request = request(&registry, &["a/app:v1"], vec![blob]);
    let error = Caller::default().client.push(&request).unwrap_err();
    assert!(matches!(error, RegistryError::PushBlob { .. }));
    let text = message(&error);
    assert!(text.contains("(after 4 attempts)"), "{text}");
    // The upload's URL carries the state of the session.
    assert!(
        text.contains("_state=***") && !text.contains("secret-state"),
        "{text}"
    );
    assert!(opened.load(Ordering::Relaxed) <= 4);
    assert_eq!(registry.count("/manifests/"), 0);
    assert!(registry.blob("a/app", digest).is_none());
}

#[test]
fn a_blob_too_large_for_one_request_is_sent_in_chunks() {
    let registry = FakeRegistry::start();
    let bytes = noise((8 << 20) + 300_000);
    let (blob, opened) = counted(bytes.clone());
    let digest = blob.descriptor.digest;
    registry.fault(
        &format!("digest={}", digest.to_string().replace(':', "%3A")),
        1,
        Effect::Status(413, Vec::new(), String::new()),
    );
    let request = request(&registry, &["a/app:v1"], vec![blob]);
    Caller::default().client.push(&request).unwrap();
    assert!(registry.blob("a/app", digest).unwrap() == bytes);
    assert_eq!(opened.load(Ordering::Relaxed), 2);
    let log = registry.log();
    let patches: Vec<(&str, usize)> = log
        .iter()
        .filter(|logged| logged.method == "PATCH")
        .map(|logged| (logged.headers["content-range"].as_str(), logged.body))
        .collect();
    assert_eq!(
        patches,
        [("0-8388607", 8 << 20), ("8388608-8688607", 300_000)]
    );
}

#[test]
fn content_that_cannot_be_read_is_no_fault_of_the_registry() {
    let registry = FakeRegistry::start();
    let (mut unreadable, _) = counted(noise(1000));
    unreadable.open = Arc::new(|| Err(io::Error::other("the disk is gone")));
    let (mut shorter, _) = counted(noise(2000));
    shorter.descriptor.size = 2001;
    for (blob, words) in [
        (unreadable, "the disk is gone"),
        (shorter, "fewer than the 2001 bytes"),
    ] {
        let request = request(&registry, &["a/app:v1"], vec![blob]);
        let error = Caller::default().client.push(&request).unwrap_err();
        assert!(
            matches!(error.failure(), Some(Failure::Source(_))),
            "{error}"
        );
        assert!(message(&error).contains(words), "{error}");
    }
    assert_eq!(registry.count("/manifests/"), 0);
}

#[test]
fn pushes_without_a_tag_and_of_an_index() {
    let registry = FakeRegistry::start();
    let image = request(&registry, &[], vec![counted(noise(1000)).0]);
    let error = Caller::default().client.push(&image).unwrap_err();
    assert!(matches!(error, RegistryError::NoReference));

    let mut entry = Descriptor::of(media_type::OCI_MANIFEST, &image.manifest.bytes);
    entry.platform = Some(amd64());
    let index = builder::oci::Index {
        manifests: vec![entry.clone()],
    };
    let digest = Digest::of(index.to_bytes());
    let request = PushRequest {
        references: vec![registry.reference(&format!("a/app@{digest}"))],
        manifest: PushManifest {
            media_type: media_type::OCI_INDEX.to_owned(),
            bytes: index.to_bytes(),
        },
        children: vec![image.manifest.clone()],
        ..image
    };
    assert_eq!(Caller::default().client.push(&request).unwrap(), digest);
    let requests = registry.requests();
    let manifests: Vec<&String> = requests
        .iter()
        .filter(|r| r.contains("/manifests/"))
        .collect();
    assert_eq!(
        manifests,
        [
            &format!("PUT /v2/a/app/manifests/{} 201", entry.digest),
            &format!("PUT /v2/a/app/manifests/{digest} 201"),
        ]
    );
}

#[test]
fn no_more_than_four_blobs_are_on_their_way_at_a_time() {
    let registry = FakeRegistry::start();
    let layers = (0..16_u8).map(|number| {
        let mut bytes = noise(1_500_000);
        bytes[0] = number;
        counted(bytes).0
    });
    let mut request = request(&registry, &["a/app:v1"], layers.collect());
    let most = Arc::new(AtomicUsize::new(0));
    let (active, seen) = (Mutex::new(BTreeSet::new()), Arc::clone(&most));
    request.progress = Arc::new(move |event| {
        let mut active = active.lock().unwrap();
        match event {
            PushEvent::Sending { digest, .. } => active.insert(digest),
            PushEvent::Sent(digest) => active.remove(&digest),
            _ => false,
        };
        seen.fetch_max(active.len(), Ordering::Relaxed);
    });
    Caller::default().client.push(&request).unwrap();
    let most = most.load(Ordering::Relaxed);
    assert!((1..=4).contains(&most), "{most}");
}

#[test]
fn a_mount_asks_for_a_token_for_both_repositories() {
    let registry = FakeRegistry::start();
    registry.set_access(Access::Bearer {
        authorization: "Basic bWU6aHVudGVyMg==".to_owned(),
        refresh_token: String::new(),
        anonymous_pull: true,
    });
    let (mut blob, _) = counted(noise(1000));
    blob.mount_from = Some((registry.host().to_owned(), "lib/base".to_owned()));
    registry.put_blob("lib/base", &noise(1000));
    let request = request(&registry, &["a/app:v1"], vec![blob]);

    // Without a login the token server gives less than it was asked for.
    let error = Caller::default().client.push(&request).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Denied { .. })));
    assert!(error.hint().unwrap().contains("docker login"));

    registry.clear_log();
    let credentials = builder::registry::Credentials::default().with_login(
        registry.host(),
        "me",
        builder::registry::Secret::new("hunter2"),
    );
    let caller = Caller::new(builder::registry::Settings {
        credentials,
        ..settings()
    });
    caller.client.push(&request).unwrap();
    assert_eq!(
        registry
            .count("scope=repository%3Aa%2Fapp%3Apull%2Cpush&scope=repository%3Alib%2Fbase%3Apull"),
        1
    );
    assert_eq!(registry.count("from=lib/base 201"), 1);
    assert_eq!(registry.count("/token"), 2);
}
