//! Who is asking: logins, tokens, and keeping both to those whom they are for.

use builder::registry::{Credentials, Failure, Secret, Settings};

use super::{Caller, amd64, layer, message, noise, read, settings};
use crate::support::registry::{Access, Effect, FakeImage, FakeRegistry};

/// `me:hunter2`.
const AUTHORIZATION: &str = "Basic bWU6aHVudGVyMg==";

fn basic() -> Access {
    Access::Basic {
        authorization: AUTHORIZATION.to_owned(),
    }
}

fn bearer(anonymous_pull: bool) -> Access {
    Access::Bearer {
        authorization: AUTHORIZATION.to_owned(),
        refresh_token: "refresh-hunter2".to_owned(),
        anonymous_pull,
    }
}

fn registry(access: Access) -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.put_image("lib/app:v1", &FakeImage::new("linux/amd64", &[b"layer"]));
    registry.set_access(access);
    registry
}

fn logged_in(registry: &FakeRegistry, password: &str) -> Caller {
    let credentials = Credentials::default();
    Caller::new(Settings {
        credentials: credentials.with_login(registry.host(), "me", Secret::new(password)),
        ..settings()
    })
}

fn resolve(
    caller: &Caller,
    registry: &FakeRegistry,
) -> Result<(), builder::registry::RegistryError> {
    let reference = registry.reference("lib/app:v1");
    caller.client.resolve(&reference, &amd64()).map(drop)
}

/// A caller with the credentials file `text`.
fn with_file(text: &str) -> Caller {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    builder::fsio::write_atomic(&path, text.as_bytes(), builder::fsio::Durability::Cached).unwrap();
    Caller::new(Settings {
        credentials: Credentials::from_files([path]).unwrap(),
        ..settings()
    })
}

#[test]
fn basic_logins() {
    let registry = registry(basic());
    resolve(&logged_in(&registry, "hunter2"), &registry).unwrap();
    // The ping tells what to show, so nothing is refused after it.
    assert_eq!(registry.count(" 401"), 0);

    for (caller, shown) in [
        (Caller::default(), false),
        (logged_in(&registry, "wrong-hunter"), true),
    ] {
        let error = resolve(&caller, &registry).unwrap_err();
        assert!(matches!(
            error.failure(),
            Some(Failure::Denied { with_credentials, .. }) if *with_credentials == shown
        ));
        assert!(
            message(&error).contains("authentication required"),
            "{error}"
        );
        assert!(!message(&error).contains("hunter"), "{error}");
        assert!(!format!("{error:?} {:?}", caller.client).contains("hunter"));
        assert_eq!(error.hint().unwrap().contains("docker login"), !shown);
    }
}

#[test]
fn anonymous_pulls_get_one_token_for_a_repository() {
    let registry = registry(bearer(true));
    let caller = Caller::default();
    resolve(&caller, &registry).unwrap();
    resolve(&caller, &registry).unwrap();
    assert_eq!(
        registry.requests()[0],
        "GET /token?service=fake&scope=repository%3Alib%2Fapp%3Apull&client_id=builder 200"
    );
    assert_eq!(registry.count("/token"), 1);
    assert_eq!(registry.count(" 401"), 0);
    // Another repository needs another one.
    assert!(
        caller
            .client
            .digest_of(&registry.reference("lib/other:v1"))
            .is_err()
    );
    assert_eq!(registry.count("/token"), 2);
}

#[test]
fn a_token_that_ended_is_renewed_once() {
    let registry = registry(bearer(true));
    let caller = Caller::default();
    resolve(&caller, &registry).unwrap();
    registry.expire_tokens();
    resolve(&caller, &registry).unwrap();
    assert_eq!(registry.count("/token"), 2);
    assert_eq!(registry.count(" 401"), 1);

    // One that is never good is asked for twice and no more.
    registry.clear_log();
    let refused = vec![(
        "WWW-Authenticate".to_owned(),
        format!("Bearer realm=\"http://{}/token\"", registry.host()),
    )];
    registry.fault(
        "/manifests/",
        100,
        Effect::Status(401, refused, String::new()),
    );
    let error = resolve(&caller, &registry).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Denied { .. })));
    assert_eq!(registry.count("/manifests/"), 2);
}

#[test]
fn the_token_server_is_shown_the_login_and_the_registry_is_not() {
    let registry = registry(bearer(false));
    resolve(&logged_in(&registry, "hunter2"), &registry).unwrap();
    for logged in registry.log() {
        let shown = logged
            .headers
            .get("authorization")
            .map_or("", String::as_str);
        let expected = if logged.target.starts_with("/token") {
            AUTHORIZATION
        } else if logged.target == "/v2/" {
            ""
        } else {
            "Bearer token-1"
        };
        assert_eq!(shown, expected, "{}", logged.target);
    }
    for caller in [Caller::default(), logged_in(&registry, "wrong-hunter")] {
        let error = resolve(&caller, &registry).unwrap_err();
        assert!(matches!(error.failure(), Some(Failure::Denied { .. })));
        let text = message(&error);
        assert!(text.contains("login"), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[test]
fn identity_tokens_are_exchanged() {
    let registry = registry(bearer(false));
    let entry = r#"{"identitytoken":"refresh-hunter2"}"#;
    let caller = with_file(&format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.host()));
    resolve(&caller, &registry).unwrap();
    assert_eq!(registry.count("POST /token 200"), 1);
}

#[test]
fn registry_tokens_are_shown_as_they_are() {
    let registry = registry(bearer(true));
    let first = Caller::default();
    resolve(&first, &registry).unwrap();
    let entry = r#"{"registrytoken":"token-1"}"#;
    let caller = with_file(&format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.host()));
    resolve(&caller, &registry).unwrap();
    assert_eq!(registry.count("/token"), 1);
}

#[test]
fn a_helper_that_is_missing_matters_only_where_a_login_does() {
    let text = r#"{"credsStore":"none-such-anywhere"}"#;
    let registry = registry(bearer(true));
    resolve(&with_file(text), &registry).unwrap();
    registry.set_access(bearer(false));
    let error = resolve(&with_file(text), &registry).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Credentials(_))));
    assert!(
        message(&error).contains("`docker-credential-none-such-anywhere`"),
        "{error}"
    );
}

#[test]
fn token_servers_have_to_be_trustworthy() {
    let registry = registry(bearer(false));
    registry.set_realm("http://registry.example/token?password=hunter2");
    let error = resolve(&logged_in(&registry, "hunter2"), &registry).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Protocol { .. })));
    let text = message(&error);
    assert!(
        text.contains("`http://registry.example`, expected `https://`"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_redirect_takes_no_login_along() {
    let (registry, elsewhere) = (registry(basic()), FakeRegistry::start());
    let bytes = noise(10_000);
    let digest = elsewhere.put_blob("any", &bytes);
    let caller = logged_in(&registry, "hunter2");
    let layer = layer(&caller, &registry, &bytes);
    let to = |path: &str| format!("http://{}/{path}?X-Signature=hunter2", elsewhere.host());
    registry.fault(
        "/blobs/",
        1,
        Effect::Redirect(to(&format!("elsewhere/{digest}"))),
    );
    assert!(read(&layer).unwrap() == bytes);
    let log = elsewhere.log();
    assert_eq!(log.len(), 1);
    assert!(!log[0].headers.contains_key("authorization"));

    // Signed URLs do not show in messages.
    registry.fault("/blobs/", 1, Effect::Redirect(to("elsewhere/none")));
    let error = read(&layer).unwrap_err();
    assert!(error.contains("is not there"), "{error}");
    let broken = Effect::Status(500, Vec::new(), String::new());
    elsewhere.fault("/elsewhere/", 100, broken);
    registry.fault("/blobs/", 100, Effect::Redirect(to("elsewhere/none")));
    let error = read(&layer).unwrap_err();
    assert!(error.contains("X-Signature=***"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
