//! RUN steps that see the files of contexts which are no folder.

use crate::support::bases::{self, Base};
use crate::support::progress::Progress;
use crate::support::{TestEnv, require_capability};

const DOCKERFILE: &str = "\
FROM base
RUN --mount=target=/context cat /context/sub/file >/main && ! touch /context/new
RUN --mount=type=bind,from=other,source=sub,target=/other,rw touch /other/new && cat /other/file >/named
RUN --mount=type=cache,target=/cache,from=other cat /cache/sub/file >/cached
FROM other AS files
RUN --mount=from=base,target=/base [\"/base/bin/busybox\", \"cat\", \"/sub/file\"]
FROM base
COPY --from=0 /main /named /cached /
RUN test \"$(cat /main /named /cached)\" = \"$(printf 'main\\nother\\nother')\"
COPY --from=files /sub /files
";

/// A tar of `sub/file` and the Dockerfile.
fn archive(content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in [("Dockerfile", DOCKERFILE), ("sub/file", content)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes())
            .expect("a tar in memory");
    }
    tar.into_inner().expect("a tar in memory")
}

#[test]
fn steps_mount_archives_like_folders() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let main = env.write("main.tar", archive("main\n"));
    env.write("other.tar", archive("other\n"));
    let build = || {
        let mut arguments: Vec<std::ffi::OsString> =
            bases::build_context("base", Base::Busybox).into();
        arguments.extend(["--build-context", "other=other.tar"].map(Into::into));
        arguments.push(main.clone().into());
        env.build(arguments)
    };
    let first = build().succeeded();
    let ran = Progress::read(&first.stderr);
    assert!(ran.ran().len() >= 6, "{}", first.stderr);
    let again = build().succeeded();
    let count = Progress::read(&again.stderr).steps().count();
    Progress::read(&again.stderr).all_cached(count);
    // Only the steps that see what changed run again.
    env.write("other.tar", archive("else\n"));
    let changed = build().exited(1);
    assert!(changed.stderr.contains("RUN test"), "{}", changed.stderr);
    let changed = Progress::read(&changed.stderr);
    assert!(
        !changed
            .ran()
            .iter()
            .any(|step| step.contains("--mount=target=/context")),
        "{:?}",
        changed.ran()
    );
}
