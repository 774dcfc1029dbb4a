//! Builds inside containers as engines make them by default: no privileges, their filter of system calls, their capabilities. The
//! layers are those of root of the machine, and the container's own root is left alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::snapshots::entries;
use crate::support::bases::{self, Base};
use crate::support::docker::Docker;
use crate::support::podman::Podman;
use crate::support::rung_cases::{RUNG_CASES, layers_of};
use crate::support::{Outcome, TestEnv, layout, process, require_capability};

/// What images are made of: users, programs that change theirs, several stages, removals, mounts.
const DOCKERFILE: &str = r#"FROM busybox AS tools
RUN mkdir -p /out/deep && cp /bin/busybox /out/su-like && chmod 4755 /out/su-like && echo data > /out/deep/data
FROM busybox
RUN echo "user:x:1000:1000::/home/user:/bin/sh" >> /etc/passwd && echo "user:x:1000:" >> /etc/group && \
    mkdir -p /home/user /srv/gone /srv/again && chown 1000:1000 /home/user && echo 1 > /srv/again/old && echo 2 > /srv/gone/file
COPY --from=tools --chown=1000:1000 /out /opt
RUN rm -r /srv/gone && rm -r /srv/again && mkdir /srv/again && echo new > /srv/again/new && rm /bin/vi && \
    ln /opt/deep/data /opt/deep/second && mkfifo /srv/pipe && echo x > /dev/null && chown -R 7:8 /opt/deep
RUN --mount=type=secret,id=token,uid=1000 --mount=type=cache,target=/var/kept --mount=type=tmpfs,target=/tmp/t \
    --mount=type=bind,from=tools,source=/out,target=/mnt/out --mount=type=bind,source=Dockerfile,target=/mnt/file \
    test "$(cat /run/secrets/token)" = hush && test "$(cat /run/secrets/token)" = hush && \
    grep -q '^FROM busybox' /mnt/file && test "$(cat /mnt/out/deep/data)" = data && \
    echo once >> /var/kept/times && cp /var/kept/times /srv/times && touch /tmp/t/temporary && \
    grep -q buildkitsandbox /etc/hosts
RUN <<END
#!/bin/sh
sleep 97541 &
busybox setsid sleep 97541 &
echo script > /srv/script
END
USER user
WORKDIR /home/user
RUN test "$(id -u)" = 1000 && id -un > who && ! echo x > /etc/passwd 2>/dev/null && ! rm /srv/script 2>/dev/null
RUN ! cat /run/secrets/token 2>/dev/null && ! test -e /var/kept/times && ! test -e /mnt/out/deep
"#;

/// An image with `builder`, what it is linked to, and a shell.
#[track_caller]
fn image(env: &TestEnv) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_builder"));
    let context = env.path("image");
    builder::fsio::create_dir_all(&context).expect("a folder");
    let listed = process::run(env.tool("ldd").arg(program))
        .succeeded()
        .stdout;
    let libraries = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let mut dockerfile = "FROM busybox\nCOPY --chmod=755 builder /usr/bin/builder\n".to_owned();
    for (number, library) in libraries.enumerate() {
        let name = format!("library-{number}");
        builder::fsio::copy(library, context.join(&name)).expect("a library");
        dockerfile.push_str(&format!("COPY --chmod=755 {name} {library}\n"));
    }
    builder::fsio::copy(program, context.join("builder")).expect("the program");
    env.write("image/Dockerfile", dockerfile);
    let archive = env.path("image.tar");
    let output = format!("type=docker,dest={}", archive.display());
    let mut arguments: Vec<OsString> = bases::build_context("busybox", Base::Busybox).into();
    arguments.extend(["-t", "builder-image", "-o", &output].map(OsString::from));
    arguments.push(context.into());
    env.build(arguments).succeeded();
    archive
}

/// What is mounted into the container, as flags of an engine.
fn volumes(env: &TestEnv) -> Vec<String> {
    let base = bases::layout(Base::Busybox);
    vec![
        format!("--volume={}:/base:ro", base.display()),
        format!("--volume={}:/context:ro", env.path("context").display()),
        format!("--volume={}:/out", env.path("out").display()),
    ]
}

const BUILD: &str = "builder build --root /store --progress plain --build-context busybox=oci-layout:///base \
    --secret id=token,env=TOKEN -o type=oci,dest=/out/image,tar=false /context";

#[track_caller]
fn layers(folder: &Path) -> Vec<String> {
    layout::read(folder).layers.iter().map(entries).collect()
}

/// The layers that root of the machine makes of it.
#[track_caller]
fn expected(env: &TestEnv) -> Vec<String> {
    let folder = env.path("expected");
    let output = format!("type=oci,dest={},tar=false", folder.display());
    let mut arguments: Vec<OsString> = bases::build_context("busybox", Base::Busybox).into();
    arguments.extend(["--secret", "id=token,env=TOKEN", "-o", &output].map(OsString::from));
    let mut command = env.command("build", ["--progress", "plain"]);
    command
        .args(arguments)
        .arg(env.path("context"))
        .env("TOKEN", "hush");
    process::run(&mut command).succeeded();
    layers(&folder)
}

#[track_caller]
fn same(found: &[String], expected: &[String]) {
    assert_eq!(found.len(), expected.len());
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found == expected,
            "layer {number}:\n{found}\n--- expected\n{expected}"
        );
    }
}

/// A place with the context and an image.
fn prepared() -> (TestEnv, PathBuf) {
    let env = TestEnv::new();
    env.write("context/Dockerfile", DOCKERFILE);
    builder::fsio::create_dir_all(env.path("out")).expect("a folder");
    let image = image(&env);
    (env, image)
}

#[track_caller]
fn run(docker: &Docker, env: &TestEnv, name: &str, script: &str) -> Outcome {
    let volumes = volumes(env);
    let mut arguments = vec!["run", "--name", name, "--network=none", "--env=TOKEN=hush"];
    arguments.extend(volumes.iter().map(String::as_str));
    arguments.extend(["builder-image", "sh", "-c", script]);
    docker.run(&arguments)
}

#[test]
fn a_container_of_docker_makes_the_same_layers_and_keeps_its_own_root() {
    require_capability!(Root, Overlay, Program("dockerd"), Base(Busybox));
    let (env, image) = prepared();
    let docker = Docker::start();
    docker.load(&image);
    let again = BUILD.replace("/out/image", "/out/again");
    let script = format!("{BUILD} && {again} --no-cache && ps");
    let outcome = run(&docker, &env, "default", &script).succeeded();
    let expected = expected(&env);
    same(&layers(&env.path("out/image")), &expected);
    // Whoever runs it again finds the cache as it was left, and nothing of the steps runs any more.
    let mut twice = expected;
    for layer in &mut twice {
        *layer = layer
            .lines()
            .filter(|line| !line.starts_with("srv/times "))
            .collect();
    }
    let found: Vec<String> = layers(&env.path("out/again"))
        .iter()
        .map(|layer| {
            layer
                .lines()
                .filter(|line| !line.starts_with("srv/times "))
                .collect()
        })
        .collect();
    same(&found, &twice);
    assert!(!outcome.stdout.contains("97541"), "{}", outcome.stdout);
    // Below the store, and nowhere else.
    let changed = docker.run(&["diff", "default"]).succeeded().stdout;
    let elsewhere = changed
        .lines()
        .filter_map(|line| line.get(2..))
        .find(|path| !(path == &"/store" || path.starts_with("/store/")));
    let mounted = ["/out", "/context", "/base"];
    assert!(
        elsewhere.is_none_or(|path| mounted.contains(&path)),
        "{changed}"
    );
}

#[test]
fn what_takes_namespaces_is_refused_there_by_name() {
    require_capability!(Root, Overlay, Program("dockerd"), Base(Busybox));
    let (env, image) = prepared();
    env.write("context/Dockerfile", "FROM busybox\nRUN true\n");
    let docker = Docker::start();
    docker.load(&image);
    let cases = [
        ("--network=none", "--network none"),
        ("--snapshotter=overlay", "--snapshotter overlay"),
    ];
    for (number, (flag, said)) in cases.into_iter().enumerate() {
        let script = BUILD.replace("--progress", &format!("{flag} --progress"));
        let outcome = run(&docker, &env, &format!("refused-{number}"), &script);
        assert_ne!(outcome.code, Some(0), "{flag}");
        assert!(outcome.stderr.contains(said), "{flag}: {}", outcome.stderr);
    }
}

#[test]
fn a_killed_builder_leaves_no_process_and_loses_no_cache() {
    require_capability!(Root, Overlay, Program("dockerd"), Base(Busybox));
    let (env, image) = prepared();
    env.write(
        "context/Dockerfile",
        "FROM busybox\nRUN --mount=type=cache,target=/kept echo kept > /kept/file && touch /kept/ready && \
            (busybox setsid sleep 97542 &) ; sleep 97542\n",
    );
    let docker = Docker::start();
    docker.load(&image);
    let script = format!(
        "{BUILD} & pid=$!; \
         until ps | grep -v grep | grep -q 'sleep 97542'; do sleep 0.1; done; sleep 1; \
         kill -9 $pid; sleep 2; ps; find /store/v1/mounts -type f"
    );
    let outcome = run(&docker, &env, "killed", &script);
    // The script that looks has the same words in it.
    let is_step = |line: &&str| line.contains("97542") && !line.contains("kill -9");
    let left = outcome.stdout.lines().filter(is_step).count();
    assert_eq!(left, 0, "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("/file"),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
}

#[test]
fn a_step_does_not_walk_out_of_its_root() {
    require_capability!(Root, Overlay, Program("dockerd"), Base(Busybox));
    let (env, image) = prepared();
    env.write(
        "context/Dockerfile",
        "FROM busybox\nRUN mkdir x && ! chroot x /bin/sh 2>/dev/null && ! test -e /store && ! test -e /proc/1 && \
            ! mount -t tmpfs none /mnt 2>/dev/null && ! test -e /../../../../usr/bin/builder\n",
    );
    let docker = Docker::start();
    docker.load(&image);
    run(&docker, &env, "walk", BUILD).succeeded();
}

#[test]
fn a_container_of_podman_makes_the_same_layers() {
    require_capability!(
        Root,
        Overlay,
        Program("podman"),
        Program("runc"),
        Base(Busybox)
    );
    let (env, image) = prepared();
    let podman = Podman::new();
    podman.load(&image);
    let volumes = volumes(&env);
    let mut arguments: Vec<&str> = vec!["--env=TOKEN=hush"];
    arguments.extend(volumes.iter().map(String::as_str));
    let outcome = podman.run_with(&arguments, "builder-image", &["sh", "-c", BUILD]);
    let said = outcome.succeeded().stderr;
    // It may make namespaces, and its root is an overlay, on which there can be no other.
    assert!(said.contains("in a user namespace"), "{said}");
    assert_eq!(
        said.matches("files are copied for each RUN").count(),
        1,
        "{said}"
    );
    same(&layers(&env.path("out/image")), &expected(&env));
}

/// The cases that every rung has to make the same layers of, as the default container of docker can.
#[test]
fn a_package_is_installed_in_a_container_of_docker_as_anywhere() {
    require_capability!(
        Root,
        Overlay,
        Program("dockerd"),
        Base(Busybox),
        Base(Python)
    );
    let (env, image) = prepared();
    let docker = Docker::start();
    docker.load(&image);
    for name in ["owners", "deletes", "package"] {
        let case = RUNG_CASES.iter().find(|case| case.name == name);
        let case = case.expect("a case of that name");
        let folder = env.path(name);
        case.copy_to(&folder);
        let by_root = env.path(format!("{name}-by-root"));
        env.build(case.arguments(&folder, &by_root)).succeeded();
        let output = format!("/out/{name}");
        let words = case.arguments(Path::new("/case"), Path::new(&output));
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        let case_volume = format!("--volume={}:/case:ro", folder.display());
        let out_volume = format!("--volume={}:/out", env.path("out").display());
        let mut arguments = vec!["run", "--rm", "--network=none", &case_volume, &out_volume];
        arguments.extend(["builder-image", "builder", "build", "--root", "/store"]);
        arguments.extend(words);
        docker.run(&arguments).succeeded();
        let found = env.path("out").join(name);
        assert_eq!(layers_of(&found), layers_of(&by_root), "{name}");
    }
}
