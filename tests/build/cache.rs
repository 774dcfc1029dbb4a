//! What the cache answers and what runs again, on small builds.

use crate::support::bases::{self, Base};
use crate::support::layout::{self, Image};
use crate::support::progress::Progress;
use crate::support::{TestEnv, require_capability};

const DOCKERFILE: &str = "\
FROM base
ARG WHO=world
WORKDIR /work
COPY first.txt .
RUN wc -c <first.txt >count.txt
COPY second.txt .
RUN env | grep ^WHO >who.txt
";

struct Project {
    env: TestEnv,
}

impl Project {
    fn new() -> Self {
        let env = TestEnv::new();
        env.write("context/Dockerfile", DOCKERFILE);
        env.write("context/first.txt", "one\n");
        env.write("context/second.txt", "two\n");
        Self { env }
    }

    fn build(&self, more: &[&str]) -> Progress {
        let base = bases::build_context("base", Base::Busybox);
        let more = more.iter().map(Into::into);
        let context = self.env.path("context").into();
        let outcome = self
            .env
            .build(base.into_iter().chain(more).chain([context]));
        Progress::read(&outcome.succeeded().stderr)
    }

    fn image(&self, name: &str, more: &[&str]) -> Image {
        let folder = self.env.path(name);
        let output = format!("type=oci,dest={},tar=false", folder.display());
        self.build(&[more, &["-o", &output]].concat());
        layout::read(&folder)
    }
}

#[test]
fn the_second_build_runs_nothing_and_makes_the_same_image() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    let first = project.image("first", &[]);
    project.build(&[]).all_cached(5);
    assert_eq!(project.image("second", &[]).digest, first.digest);
}

#[test]
fn a_changed_file_runs_from_where_it_is_copied() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    project.build(&[]);
    project.env.write("context/second.txt", "changed\n");
    assert_eq!(
        project.build(&[]).ran(),
        ["COPY second.txt .", "RUN env | grep ^WHO >who.txt"]
    );
}

#[test]
fn a_step_that_makes_the_same_again_ends_the_rebuild() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    let context = env.path("context");
    let arguments = || {
        let base = bases::build_context("base", Base::Busybox);
        base.into_iter().chain([context.clone().into()])
    };
    // The count stays the same while the file changes.
    env.write(
        "context/Dockerfile",
        "FROM base AS count\nCOPY text.txt /\nRUN wc -c </text.txt >/count.txt\n\
         FROM base\nCOPY --from=count /count.txt /\nRUN cat /count.txt\n",
    );
    env.write("context/text.txt", "one\n");
    env.build(arguments()).succeeded();
    env.write("context/text.txt", "two\n");
    let outcome = env.build(arguments()).succeeded();
    assert_eq!(
        Progress::read(&outcome.stderr).ran(),
        ["COPY text.txt /", "RUN wc -c </text.txt >/count.txt"]
    );
}

#[test]
fn a_copy_from_a_rebuilt_stage_hits_if_it_takes_the_same() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    let file = "FROM base AS make\nRUN echo same >/out\nRUN date +%N >/noise\n\
                FROM base\nCOPY --from=make /out /\nRUN cat /out\n";
    project.env.write("context/Dockerfile", file);
    project.build(&[]);
    let again = project.build(&["--no-cache-filter", "make"]);
    // Files made at another time, and one beside them that is another one, change nothing of what is taken.
    assert_eq!(again.ran(), ["RUN echo same >/out", "RUN date +%N >/noise"]);
}

#[test]
fn a_step_that_several_platforms_have_in_common_runs_once() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    let file = "FROM --platform=$BUILDPLATFORM base AS tool\nRUN date +%N >/tool\n\
                FROM scratch\nCOPY --from=tool /tool /\n";
    project.env.write("context/Dockerfile", file);
    let platforms = "--platform=linux/amd64,linux/arm64,linux/arm/v7";
    let first = project.build(&[platforms]);
    let runs = first
        .ran()
        .iter()
        .filter(|step| step.starts_with("RUN"))
        .count();
    assert_eq!((runs, first.steps().count()), (1, 4), "{first:#?}");
    project.build(&[platforms]).all_cached(4);
}

#[test]
fn a_run_says_which_variables_changed() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    let file = |env: &str| {
        format!(
            "FROM base\nARG VERSION=1.2\nARG SAME=1\nENV MODE={env}\nRUN true\nRUN echo $VERSION >/v\nRUN true\n"
        )
    };
    project.env.write("context/Dockerfile", file("debug"));
    project.build(&[]);
    project.env.write("context/Dockerfile", file("release"));
    let changed = "RUN: ENV MODE debug → release; ARG VERSION 1.2 → 1.3";
    let reasons = project.build(&["--build-arg", "VERSION=1.3"]).reasons();
    assert_eq!(
        reasons,
        [
            format!("RUN true: {changed}"),
            format!("RUN echo $VERSION >/v: {changed}"),
            format!("RUN true: {changed}; [3/4] RUN echo $VERSION >/v made something else"),
        ]
    );
}

#[test]
fn an_account_is_given_at_the_end() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    project
        .env
        .write("context/Dockerfile", "FROM base\nRUN sleep 0.5\n");
    let build = |mode: &str| {
        let base = bases::build_context("base", Base::Busybox).into_iter();
        let rest = [
            "--progress".into(),
            mode.into(),
            project.env.path("context").into(),
        ];
        project
            .env
            .builder("build", base.chain(rest))
            .succeeded()
            .stderr
    };
    build("plain");
    let again = build("plain");
    let line = again.lines().find(|line| line.starts_with("cache saved "));
    assert!(
        line.is_some_and(|line| line.contains(" s, cost 0.")),
        "{again}"
    );
    assert!(build("rawjson").contains(r#""event":"account","saved_millis":"#));
}

#[test]
fn only_what_sees_a_build_argument_depends_on_it() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    project.build(&[]);
    let ran = project.build(&["--build-arg", "WHO=you"]);
    // Both RUN steps see WHO, as in BuildKit; the first makes the same as before, so that the COPY behind it stays.
    assert_eq!(
        ran.ran(),
        [
            "RUN wc -c <first.txt >count.txt",
            "RUN env | grep ^WHO >who.txt"
        ]
    );
}

#[test]
fn no_cache_runs_everything() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    project.build(&[]);
    let again = project.build(&["--no-cache"]);
    // What WORKDIR makes is known without running anything.
    let steps = again.ran().into_iter();
    let ran: Vec<_> = steps.filter(|step| !step.starts_with("WORKDIR")).collect();
    assert_eq!(ran.len(), 4, "{ran:?}");
}

#[test]
fn a_cache_mount_lasts_until_no_cache_empties_it() {
    require_capability!(Root, Overlay, Base(Busybox));
    let env = TestEnv::new();
    env.write(
        "context/Dockerfile",
        "FROM base AS seed\nRUN mkdir -p /pre/seeded\n\
         FROM base\nARG RUN\n\
         RUN --mount=type=cache,target=/plain --mount=type=cache,from=seed,source=/pre,target=/filled \\\n    \
         touch /plain/$RUN /filled/$RUN && echo $(ls /plain) and $(ls /filled)\n",
    );
    let output = |run: &str, more: &[&str]| {
        let run = format!("RUN={run}");
        let arguments = ["--build-arg", &run]
            .into_iter()
            .chain(more.iter().copied());
        let base = bases::build_context("base", Base::Busybox).into_iter();
        let arguments = base.chain(arguments.map(Into::into));
        let outcome = env.build(arguments.chain([env.path("context").into()]));
        outcome.succeeded().stderr
    };
    assert!(output("1", &[]).contains(" 1 and 1 seeded"));
    assert!(output("2", &[]).contains(" 1 2 and 1 2 seeded"));
    assert!(output("3", &["--no-cache"]).contains(" 3 and 3 seeded"));
}

#[test]
fn copied_layers_are_the_same_in_two_empty_stores() {
    require_capability!(Base(Busybox));
    // One context: the times of its files are in the layers.
    let source = TestEnv::new();
    source.write(
        "context/Dockerfile",
        "FROM base\nCOPY . /files\nCMD [\"sh\"]\n",
    );
    source.write("context/a/file", "content\n");
    source.write("context/b", "more\n");
    let image = || {
        let env = TestEnv::new();
        let folder = env.path("image");
        let output = format!("type=oci,dest={},tar=false", folder.display());
        let mut command = env.command("build", bases::build_context("base", Base::Busybox));
        command.args(["-o", &output]).arg(source.path("context"));
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        crate::support::process::run(&mut command).succeeded();
        layout::read(&folder)
    };
    let (first, second) = (image(), image());
    assert_eq!(first.layers[1].diff_id, second.layers[1].diff_id);
    assert_eq!(first.digest, second.digest);
}

#[test]
fn no_cache_filter_runs_the_steps_of_its_stages_only() {
    require_capability!(Root, Overlay, Base(Busybox));
    let project = Project::new();
    let file =
        "FROM base AS One\nRUN echo 1 >/one\nFROM base\nCOPY --from=one /one /\nRUN echo 2 >/two\n";
    project.env.write("context/Dockerfile", file);
    project.build(&[]);
    let ran = |filter: &str| {
        let progress = project.build(&["--no-cache-filter", filter]);
        progress
            .ran()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(ran("other,ONE"), ["RUN echo 1 >/one"]);
    assert_eq!(
        ran("stage-1"),
        ["COPY --from=one /one /", "RUN echo 2 >/two"]
    );
    let both = ["--no-cache", "--no-cache-filter=one", "."];
    let refused = project.env.build(both).exited(2);
    assert!(refused.stderr.contains("cannot currently be used together"));
}

#[test]
fn steps_that_share_a_cache_may_make_a_mount_point_in_it_at_the_same_time() {
    require_capability!(Root, Overlay, Base(Busybox));
    let mut dockerfile = String::new();
    let mut end = "FROM scratch\n".to_owned();
    for stage in 0..12 {
        dockerfile += &format!(
            "FROM base AS s{stage}\nRUN --mount=type=cache,target=/c --mount=type=cache,target=/c/in/side echo {stage} >/made\n"
        );
        end += &format!("COPY --from=s{stage} /made /{stage}\n");
    }
    // Each store is new, so that the mount point is.
    for _ in 0..3 {
        let env = TestEnv::new();
        env.write("context/Dockerfile", format!("{dockerfile}{end}"));
        let base = bases::build_context("base", Base::Busybox).into_iter();
        let words = ["--jobs", "12"].map(Into::into);
        let context = [env.path("context").into()];
        env.build(base.chain(words).chain(context)).succeeded();
    }
}
