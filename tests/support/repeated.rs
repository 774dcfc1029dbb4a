//! Builds that come out the same whenever and wherever they are made, to be made again and again over one store.

use std::process::Command;

use builder::fsio;

use super::bases::{self, Base};
use super::{TestEnv, layout, process};

/// Nothing in it tells the time; the variant is in some of its steps.
const DOCKERFILE: &str = "\
FROM base AS made
COPY text.txt /text.txt
RUN mkdir -p /made/deep && head -c 400000 /dev/zero | tr '\\0' a >/made/a && cat /text.txt >/made/deep/b \
 && touch -d @0 /made/a /made/deep/b /made/deep /made
FROM base
ARG VARIANT
RUN echo $VARIANT >/variant && sleep 0.0$VARIANT && touch -d @0 /variant
COPY --from=made /made /copied
RUN --mount=type=cache,target=/cache echo >>/cache/log && cat /copied/deep/b >/both && touch -d @0 /both
COPY text.txt /also.txt
WORKDIR /work
";

/// Steps of the Dockerfile that are steps of the graph.
pub const STEPS: usize = 7;
/// Different images that it makes.
pub const VARIANTS: usize = 3;

/// A store and a context.
pub struct Place {
    /// Where they are.
    pub env: TestEnv,
}

impl Place {
    /// An empty store.
    pub fn new() -> Self {
        let env = TestEnv::new();
        env.write("context/Dockerfile", DOCKERFILE);
        env.write("context/text.txt", "text\n");
        Self { env }
    }

    /// The command of a build that writes a layout of this name.
    pub fn command(&self, name: &str, variant: usize) -> Command {
        let output = format!("type=oci,dest={},tar=false", self.env.path(name).display());
        let mut command = self.env.command("build", ["--progress", "plain"]);
        command
            .args(bases::build_context("base", Base::Busybox))
            .args(["--build-arg", "SOURCE_DATE_EPOCH=0", "--build-arg"])
            .arg(format!("VARIANT={variant}"))
            .args(["-o", &output]);
        if variant == 0 {
            // What has a name is kept; the others may go at any time.
            command.args(["-t", "app"]);
        }
        command.arg(self.env.path("context"));
        command
    }

    /// Builds; gives the digest of the image.
    #[track_caller]
    pub fn digest(&self, name: &str, variant: usize) -> String {
        process::run(&mut self.command(name, variant)).succeeded();
        self.read(name)
    }

    /// The digest of an image that was written, which goes.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        let folder = self.env.path(name);
        let digest = layout::read(&folder).digest;
        fsio::remove_tree(folder).expect("a layout can be removed");
        digest
    }

    /// Names an image whose base is gone after that: if the store loses any of it, nobody has it any more.
    pub fn keep_old_image(&self) {
        let base = self
            .env
            .copy_tree(&bases::layout(Base::Busybox), "old-base");
        self.env.write(
            "old/Dockerfile",
            "FROM base\nCOPY text.txt /\nRUN cat /text.txt >/copy && touch -d @0 /copy\n",
        );
        self.env.write("old/text.txt", "old\n");
        let mut command = self
            .env
            .command("build", ["-t", "old", "--build-arg", "SOURCE_DATE_EPOCH=0"]);
        command
            .arg(format!(
                "--build-context=base=oci-layout://{}",
                base.display()
            ))
            .arg(self.env.path("old"));
        process::run(&mut command).succeeded();
        fsio::remove_tree(base).expect("a base can be removed");
        self.save_old("old-at-first");
    }

    /// Writes the old image, which has to be there and the same as ever.
    #[track_caller]
    pub fn old_image_is_whole(&self, when: &str) {
        self.save_old("old-now");
        let [first, now] = ["old-at-first", "old-now"].map(|name| {
            let folder = self.env.path(name);
            layout::read(&folder).digest
        });
        assert_eq!(first, now, "{when}");
        fsio::remove_tree(self.env.path("old-now")).expect("a layout can be removed");
    }

    #[track_caller]
    fn save_old(&self, name: &str) {
        let output = format!("type=oci,dest={},tar=false", self.env.path(name).display());
        self.env.builder("save", ["old", "-o", &output]).succeeded();
    }

    /// Removes all that may be removed: no name but that of the old image protects anything.
    pub fn clear(&self) {
        let _there = self.env.builder("rmi", ["app"]);
        self.env.builder("prune", [""; 0]).succeeded();
    }

    /// Removes the whole store.
    pub fn forget(&self) {
        fsio::remove_tree(self.env.root()).expect("a store can be removed");
    }

    /// Has the store checked, in which nothing may be wrong: nothing was killed and nothing failed.
    #[track_caller]
    pub fn has_nothing_wrong(&self, when: &str) {
        let found = self.env.builder("fsck", [""; 0]).succeeded().stdout;
        assert!(found.contains("nothing is wrong"), "{when}: {found}");
    }

    /// Has the store checked: what is wrong has to be mended, and then nothing is wrong any more.
    #[track_caller]
    pub fn is_sound(&self, when: &str) {
        let is_sound = |found: &str| {
            let sound = ["nothing is wrong", "nothing to check"];
            sound.iter().any(|words| found.contains(words))
        };
        let first = self.env.builder("fsck", [""; 0]).succeeded().stdout;
        if !is_sound(&first) {
            let second = self.env.builder("fsck", [""; 0]).succeeded().stdout;
            assert!(is_sound(&second), "{when}: {first}{second}");
        }
    }
}

/// The next number of a sequence that looks random and is the same each time.
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
