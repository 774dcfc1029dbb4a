//! What a RUN sees and leaves, under an overlay and in a copy of it: the same layers, whatever is done to the files.
#![allow(clippy::unwrap_used, reason = "helpers read what a test has just made")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use crate::support::bases::{self, Base};
use crate::support::layout::{Image, LayerFile};
use crate::support::{Outcome, TestEnv, layout, require_capability};

/// Everything that can be done to files of a lower layer and to new ones; no times, which tests of their own pin.
const DOCKERFILE: &str = r#"FROM busybox
RUN mkdir -p /low/dir/sub /low/empty /low/moved /low/replaced /low/again /low/open && \
    for name in one two three; do echo $name > /low/$name; echo $name > /low/dir/$name; done && \
    echo deep > /low/dir/sub/deep && echo kept > /low/again/kept && echo moved > /low/moved/file && \
    ln /low/one /low/linked && ln /low/one /low/dir/linked && ln -s one /low/symbolic && \
    ln -s "$(printf '%04000d' 0)" /low/long-link && \
    mkfifo /low/pipe && mknod /low/device c 7 9 && mknod /low/block b 7 9 && \
    cp /bin/busybox /low/tool && chmod 6755 /low/tool && chown 12:34 /low/two && \
    mkdir -m 1777 /low/sticky && echo open > /low/open/file && \
    dd if=/dev/zero of=/low/sparse bs=1 count=0 seek=8M 2>/dev/null && echo end >> /low/sparse
RUN set -e; cd /low; \
    echo changed >> one; chmod 600 three; rm two; rm -r dir/sub; \
    rm -r again; mkdir again; echo new > again/new; \
    rm -r replaced; echo file > replaced; rm tool; mkdir tool; echo in > tool/in; \
    mv moved gone-there; rm -r empty; ln dir/one dir/second; chown 5:6 dir/two; \
    cp -p dir/three x; mv x dir/three; \
    : >> open/file; rm pipe; mkfifo pipe; chmod 700 sticky; \
    printf 'x' | dd of=sparse bs=1 seek=4M conv=notrunc 2>/dev/null; \
    echo odd > "$(printf 'new\nline')"; echo odd > "$(printf 'not-\377-text')"; echo odd > ./-dash; \
    echo long > "$(printf '%0255d' 7)"; mkfifo fifo; mknod null c 1 3; \
    mkdir -p set; cp /bin/busybox set/uid; chmod 4711 set/uid; chmod 2750 set
RUN set -e; cd /low; test "$(cat linked)" = one; test "$(cat dir/linked)" = one; test "$(tail -n 1 one)" = changed; \
    test ! -e two; test ! -e dir/sub; test "$(ls again)" = new; test -f replaced; test "$(ls tool)" = in; \
    test "$(cat dir/second)" = one; test "$(wc -c < sparse)" = 8388612; \
    test "$(stat -c %b sparse)" -lt 2000; rm -rf -- *; ls -A > /left
RUN set -e; half() { i=0; while [ $i -lt 30 ]; do printf '/%0100d' $i; i=$((i+1)); done; }; \
    mkdir -p /deep$(half) /b$(half) && echo bottom > /b$(half)/bottom && mv /b /deep$(half)/b
RUN --mount=type=bind,from=busybox,source=/bin,target=/mnt,rw \
    half() { i=0; while [ $i -lt 30 ]; do printf '/%0100d' $i; i=$((i+1)); done; }; \
    test -x /mnt/busybox && echo x > /mnt/made && rm /mnt/sh && \
    cd /deep$(half) && grep -q bottom b$(half)/bottom && echo more >> b$(half)/bottom
"#;

fn build(env: &TestEnv, way: &str, more: &[&str]) -> Outcome {
    let mut arguments: Vec<OsString> = bases::build_context("busybox", Base::Busybox).into();
    arguments.extend(["--snapshotter", way, "--no-cache"].map(OsString::from));
    arguments.extend(more.iter().map(OsString::from));
    arguments.push(env.path("context").into());
    env.build(arguments)
}

#[track_caller]
fn image(env: &TestEnv, way: &str) -> Image {
    let folder = env.path(way);
    let output = format!("type=oci,dest={},tar=false", folder.display());
    build(env, way, &["-o", &output]).succeeded();
    layout::read(&folder)
}

/// The entries of a layer, one a line, without times.
pub(crate) fn entries(layer: &LayerFile) -> String {
    let mut archive = tar::Archive::new(layer.open());
    let mut lines = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path_bytes().escape_ascii().to_string();
        let link = entry.link_name_bytes();
        let link = link.map_or(String::new(), |link| link.escape_ascii().to_string());
        let mut more = BTreeMap::new();
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            let name = extension.key().unwrap().to_owned();
            if name != "mtime" {
                more.insert(name, extension.value_bytes().escape_ascii().to_string());
            }
        }
        let header = entry.header().clone();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let _infallible = writeln!(
            lines,
            "{path} {:?} {:o} {}:{} {:?} {link} {} {more:?}",
            header.entry_type(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            (header.device_major().ok(), header.device_minor().ok()),
            layout::digest(&content[..]).0,
        );
    }
    lines
}

#[test]
fn a_copy_leaves_the_layers_that_an_overlay_leaves() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    env.write("context/Dockerfile", DOCKERFILE);
    let (overlay, copy) = (image(&env, "overlay"), image(&env, "copy"));
    assert_eq!(overlay.layers.len(), copy.layers.len());
    for (number, (one, other)) in overlay.layers.iter().zip(&copy.layers).enumerate() {
        let (one, other) = (entries(one), entries(other));
        assert!(one == other, "layer {number}:\n{one}\n---\n{other}");
    }
    let second = entries(&copy.layers[copy.layers.len() - 4]);
    for expected in [
        "low/.wh.two ",
        "low/again/.wh..wh..opq ",
        "low/dir/.wh.sub ",
        "low/new\\nline ",
        "low/not-\\xff-text ",
    ] {
        assert!(
            second.lines().any(|line| line.starts_with(expected)),
            "{expected}\n{second}"
        );
    }
    // Opened for writing, and nothing was written.
    assert!(!second.contains("low/open/file"), "{second}");
    // One name of a file with three of them.
    assert!(!second.contains("low/linked"), "{second}");
}

#[test]
fn with_times_pinned_the_same_diff_ids() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let dockerfile = "FROM busybox\n\
        RUN mkdir -p /a/b /a/c && echo 1 > /a/b/f && echo 2 > /a/c/g && ln /a/b/f /a/h && \
            find /a -exec touch -h -d @1000000000 {} + && touch -d @1000000000 / \n\
        RUN echo 3 > /a/h && rm -r /a/c && mkdir /a/c && find /a -exec touch -h -d @1000000001 {} + && \
            touch -d @1000000001 /\n\
        RUN for name in passwd group shadow; do echo somebody:x:99:99::/:/bin/sh >> /etc/$name; done; \
            mkdir /home99 && chown 99:99 /home99 && touch -d @1000000002 /etc/passwd /etc/group /etc/shadow /etc /home99 /\n\
        USER 99\nWORKDIR /home99\nRUN id -u > id && touch -d @1000000003 id .\n";
    env.write("context/Dockerfile", dockerfile);
    let ids = |image: &Image| -> Vec<String> {
        image
            .layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect()
    };
    assert_eq!(ids(&image(&env, "overlay")), ids(&image(&env, "copy")));
}

#[test]
fn times_are_seen_to_the_nanosecond_and_racing_changes_are_found() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    // The same length in the same moment as it was laid out: only the time of change tells.
    let dockerfile = "FROM busybox\n\
        RUN echo a > /f && touch -d '2001-02-03 04:05:06' /f && stat -c %y /bin/busybox /tmp > /times\n\
        RUN echo b > /f && touch -d '2001-02-03 04:05:06' /f\n\
        RUN stat -c %y /bin/busybox /tmp | cmp - /times && test \"$(cat /f)\" = b\n";
    env.write("context/Dockerfile", dockerfile);
    build(&env, "copy", &[]).succeeded();
}

#[test]
fn a_store_that_takes_no_overlay_falls_back_and_says_so_once() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let dockerfile = "FROM busybox\nRUN echo 1 > /one && rm /bin/vi\nRUN test -f /one && test ! -e /bin/vi && echo 2 > /two\n";
    env.write("context/Dockerfile", dockerfile);
    // An overlay cannot be the upper layer of another one.
    let script = "mkdir -p lower upper work root && \
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root && exec \"$@\"";
    let context = bases::build_context("busybox", Base::Busybox);
    let run = |more: &[&str]| {
        let build = env.command("build", ["--progress", "plain", "--no-cache"]);
        let mut command = env.tool("unshare");
        command.args(["--mount", "sh", "-ec", script, "sh"]);
        command.arg(build.get_program()).args(build.get_args());
        command.args(&context).args(more).arg("context");
        crate::support::process::run(command.current_dir(env.path("")))
    };
    let outcome = run(&[]).succeeded();
    let said = outcome
        .stderr
        .matches("files are copied for each RUN")
        .count();
    assert_eq!(said, 1, "{}", outcome.stderr);
    let refused = run(&["--snapshotter", "overlay"]).exited(3);
    assert!(
        refused.stderr.contains("--snapshotter copy"),
        "{}",
        refused.stderr
    );
}

/// A base image of many layers, each with one file of its own and a line more in a common one.
fn deep_base(folder: &Path, layers: usize) {
    use sha2::{Digest as _, Sha256};
    let hex = |bytes: &[u8]| {
        Sha256::digest(bytes)
            .iter()
            .fold(String::new(), |mut text, byte| {
                let _infallible = write!(text, "{byte:02x}");
                text
            })
    };
    let blobs = folder.join("blobs/sha256");
    builder::fsio::create_dir_all(&blobs).unwrap();
    let write = |path: &Path, bytes: &[u8]| {
        builder::fsio::write_atomic(path, bytes, builder::fsio::Durability::Cached).unwrap();
    };
    let blob = |bytes: &[u8]| {
        let digest = hex(bytes);
        write(&blobs.join(&digest), bytes);
        format!("sha256:{digest}")
    };
    let busybox = builder::fsio::read("/bin/busybox").unwrap();
    let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
    for number in 0..layers {
        let mut tar = tar::Builder::new(Vec::new());
        let mut put = |path: &str, mode: u32, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            header.set_mtime(1_000_000_000);
            tar.append_data(&mut header, path, content).unwrap();
        };
        if number == 0 {
            put("bin/sh", 0o755, &busybox);
        }
        put(
            &format!("layers/{number}"),
            0o644,
            format!("{number}\n").as_bytes(),
        );
        put("last", 0o644, format!("{number}\n").as_bytes());
        let bytes = tar.into_inner().unwrap();
        let digest = blob(&bytes);
        diff_ids.push(digest.clone());
        descriptors.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": digest, "size": bytes.len()}));
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::json!({"architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = serde_json::json!({"schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": blob(&config), "size": config.len()},
        "layers": descriptors});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": blob(&manifest), "size": manifest.len()}]});
    write(
        &folder.join("index.json"),
        &serde_json::to_vec(&index).unwrap(),
    );
    write(
        &folder.join("oci-layout"),
        b"{\"imageLayoutVersion\":\"1.0.0\"}",
    );
}

#[test]
fn six_hundred_layers_are_one_file_system() {
    require_capability!(Root, Overlay, Program("busybox"));
    let env = TestEnv::new();
    deep_base(&env.path("deep"), 600);
    let base = format!("deep=oci-layout://{}", env.path("deep").display());
    env.write(
        "context/Dockerfile",
        "FROM deep\nRUN [\"/bin/sh\", \"-c\", \"read a < /layers/0; read b < /layers/599; read c < /last; \
         [ $a.$b.$c = 0.599.599 ] && echo made > /made\"]\n",
    );
    for way in ["overlay", "copy"] {
        let folder = env.path(way);
        let output = format!("type=oci,dest={},tar=false", folder.display());
        let context = env.path("context");
        let arguments = [
            "--snapshotter",
            way,
            "--no-cache",
            "--build-context",
            &base,
            "-o",
            &output,
        ];
        let arguments = arguments.map(OsString::from).into_iter();
        env.build(arguments.chain([context.into()])).succeeded();
        let image = layout::read(&folder);
        assert_eq!(image.layers.len(), 601);
        let top = entries(&image.layers[600]);
        assert!(
            top.starts_with("made ") && top.lines().count() == 1,
            "{top}"
        );
    }
}

#[test]
fn under_an_overlay_a_step_costs_what_it_changes_and_not_what_the_image_has() {
    require_capability!(Root, Overlay, Program("strace"), Base(Busybox));
    let calls = |files: usize| -> u64 {
        let env = TestEnv::new();
        let dockerfile = format!(
            "FROM busybox\nRUN mkdir /many && cd /many && i=0; \
             while [ $i -lt {files} ]; do echo $i > $i; i=$((i+1)); done\n"
        );
        env.write("context/Dockerfile", dockerfile);
        build(&env, "overlay", &["-t", "many"]).succeeded();
        env.write(
            "context/Dockerfile",
            "FROM many\nRUN echo changed > /many/1 && rm /many/2\n",
        );
        let traced = env.command("build", ["--snapshotter", "overlay"]);
        let mut command = env.tool("strace");
        command.args(["-f", "-c", "-qq", "-o", "counts"]);
        command.arg(traced.get_program()).args(traced.get_args());
        crate::support::process::run(command.arg("context").current_dir(env.path(""))).succeeded();
        let counts = builder::fsio::read_to_string(env.path("counts")).unwrap();
        let total = counts
            .lines()
            .find(|line| line.ends_with(" total"))
            .unwrap();
        let numbers = total.split_whitespace().filter(|word| !word.contains('.'));
        numbers.map_while(|word| word.parse().ok()).max().unwrap()
    };
    let (few, many) = (calls(10), calls(3000));
    assert!(few > 500, "{few} calls are no build");
    assert!(
        many < few + 1000,
        "{few} calls with 10 files, {many} with 3000"
    );
}
