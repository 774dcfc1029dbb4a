//! Caches in a bucket, on builds that run nothing.

use std::ffi::OsString;

use crate::support::progress::Progress;
use crate::support::s3::S3;
use crate::support::{Outcome, TestEnv, process, require_capability};

const SECRET: &str = "a-secret-of-forty-characters-to-be-hidden";

struct Project {
    source: TestEnv,
    server: S3,
}

impl Project {
    fn new() -> Self {
        let source = TestEnv::new();
        source.write(
            "context/Dockerfile",
            "FROM scratch AS other\nCOPY one /\nFROM scratch\nCOPY --from=other /one /\nCOPY two /\n",
        );
        source.write("context/one", "one");
        // More than a piece even when it is compressed, so that it is sent and read in several.
        let noise: Vec<u8> = (0_u32..5_000_000)
            .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        source.write("context/two", noise);
        let server = S3::start();
        Self { source, server }
    }

    fn build(&self, env: &TestEnv, more: &[&str]) -> Outcome {
        let mut arguments: Vec<OsString> = vec!["--progress".into(), "plain".into()];
        arguments.extend(more.iter().map(OsString::from));
        arguments.push(self.source.path("context").into());
        let mut command = env.command("build", arguments);
        command.env("AWS_ACCESS_KEY_ID", "somebody");
        command.env("AWS_SECRET_ACCESS_KEY", SECRET);
        process::run(&mut command)
    }

    fn image(&self, env: &TestEnv, more: &[&str]) -> (Progress, String) {
        let id = env.path("id");
        let output = format!("type=oci,dest={},tar=false", env.path("image").display());
        let id_file = id.to_str().expect("a path");
        let arguments = [&["--iidfile", id_file, "-o", &output], more].concat();
        let outcome = self.build(env, &arguments).succeeded();
        assert!(!outcome.stderr.contains(SECRET), "{}", outcome.stderr);
        let id = builder::fsio::read_to_string(id).expect("an ID");
        (Progress::read(&outcome.stderr), id)
    }
}

#[test]
fn a_bucket_holds_a_cache() {
    require_capability!(S3);
    let project = Project::new();
    let place = format!("{},prefix=team/,name=main;branch", project.server.keys());
    let to = format!("{place},mode=max");
    let first = TestEnv::new();
    let (_, id) = project.image(&first, &["--cache-to", &to]);
    let objects = project.server.objects();
    let count = |part: &str| objects.iter().filter(|name| name.starts_with(part)).count();
    // Three layers, two of them the same, and the document; under two names.
    assert_eq!(count("team/blobs/sha256:"), 3, "{objects:?}");
    assert_eq!(count("team/manifests/"), 2, "{objects:?}");

    // Nothing has to be sent again.
    project.server.requests();
    let outcome = project.build(&first, &["--cache-to", &to]).succeeded();
    assert!(
        outcome.stderr.contains("3 records, all there already"),
        "{}",
        outcome.stderr
    );
    let requests = project.server.requests();
    assert!(
        requests.iter().all(|line| !line.starts_with("PUT")),
        "{requests:?}"
    );

    // Another machine: only the document is read, then what the image needs.
    let second = TestEnv::new();
    let outcome = project
        .build(&second, &["--cache-from", &place])
        .succeeded();
    Progress::read(&outcome.stderr).all_cached(3);
    let requests = project.server.requests();
    let blobs = requests
        .iter()
        .filter(|line| line.starts_with("GET") && line.contains("/blobs/"));
    assert_eq!(blobs.count(), 1, "{requests:?}");
    let (progress, imported) = project.image(&second, &["--cache-from", &place]);
    progress.all_cached(3);
    assert_eq!(imported, id);

    // What is old is made new, without being sent.
    let to = format!("{to},touch_refresh=0s");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let outcome = project.build(&first, &["--cache-to", &to]).succeeded();
    assert!(
        outcome
            .stderr
            .contains("3 records, 0 blobs sent (0 B), 2 were there"),
        "{}",
        outcome.stderr
    );
    assert_eq!(project.server.objects(), objects);
    project
        .image(&TestEnv::new(), &["--cache-from", &place])
        .0
        .all_cached(3);
}

#[test]
fn a_bucket_that_is_not_there_and_a_blob_that_is_gone_are_warnings() {
    require_capability!(S3);
    let project = Project::new();
    let nowhere = project
        .server
        .keys()
        .replace("bucket=bucket", "bucket=nowhere");
    let env = TestEnv::new();
    let outcome = project
        .build(&env, &["--cache-from", &nowhere, "--cache-to", &nowhere])
        .succeeded();
    assert!(
        outcome
            .stderr
            .contains("is not used: there is no cache at s3://nowhere/"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome
            .stderr
            .contains("was not written: s3://nowhere: cannot write"),
        "{}",
        outcome.stderr
    );
    let refused = format!("{nowhere},ignore-error=false");
    project.build(&env, &["--cache-to", &refused]).exited(3);

    let place = project.server.keys();
    project
        .build(&env, &["--cache-to", &format!("{place},mode=max")])
        .succeeded();
    // Of the blobs only the document is read without need.
    project.server.requests();
    project
        .build(&TestEnv::new(), &["--cache-from", &place])
        .succeeded();
    let requests = project.server.requests();
    for name in project.server.objects() {
        let is_read = |line: &String| line.starts_with("GET") && line.contains(&name);
        if !requests.iter().any(is_read) {
            project.server.empty(&name);
        }
    }
    let second = TestEnv::new();
    let (progress, _) = project.image(&second, &["--cache-from", &place]);
    // The server lets a stranger spoil only what was sent in several parts.
    assert_eq!(progress.ran(), ["COPY two /"], "{progress:?}");
    let offline = project
        .build(&env, &["--offline", "--cache-from", &place])
        .exited(2);
    assert!(
        offline.stderr.contains("--cache-from needs the network"),
        "{}",
        offline.stderr
    );
}
