//! Settings from files and variables, as commands use them.

use crate::support::{TestEnv, process};

#[test]
fn settings_are_shown_with_their_origin() {
    let env = TestEnv::new();
    let file = env.write(
        "home/.config/builder/config.toml",
        "jobs = 7\ntag-age = \"90m\"\n[registry.\"docker.io\"]\nmirrors = [\"m.example/hub\"]\n",
    );
    let mut command = env.command("config", ["--json"]);
    let outcome = process::run(command.env("BUILDER_TAG_AGE", "2d")).succeeded();
    let shown: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let setting = |name: &str| {
        let settings = shown["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["name"] == name);
        let found = found.unwrap();
        (
            found["value"].clone(),
            found["from"].as_str().unwrap().to_owned(),
        )
    };
    let file = file.display().to_string();
    assert_eq!(setting("root").1, "--root");
    assert_eq!(setting("jobs"), (7.into(), file.clone()));
    assert_eq!(
        setting("tag-age"),
        ("2d".into(), "BUILDER_TAG_AGE".to_owned())
    );
    assert_eq!(setting("offline"), (false.into(), "built in".to_owned()));
    let mirrors = setting("registry.\"docker.io\".mirrors");
    assert_eq!(
        mirrors,
        (serde_json::json!(["m.example/hub"]), file.clone())
    );
    assert_eq!(shown["files"][0]["path"], file);
    assert_eq!(shown["files"][0]["read"], true);

    let table = env.builder("config", [""; 0]).succeeded().stdout;
    let row = table
        .lines()
        .find(|line| line.starts_with("jobs "))
        .unwrap();
    assert!(row.contains(" 7 ") && row.ends_with(&file), "{table}");
    assert!(table.contains(&format!("{file}: read\n")), "{table}");
}

#[test]
fn a_store_is_where_file_or_variable_says() {
    let env = TestEnv::new();
    env.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let root = env.path("elsewhere");
    env.write("mine.toml", format!("root = \"{}\"\n", root.display()));
    let mut command = env.tool(env!("CARGO_BIN_EXE_builder"));
    command.args(["build", "context"]).current_dir(env.path(""));
    process::run(command.env("BUILDER_CONFIG", "mine.toml")).succeeded();
    assert!(root.join("v1").is_dir());
    let nearer = env.path("nearer");
    process::run(command.env("BUILDER_ROOT", &nearer)).succeeded();
    assert!(nearer.join("v1").is_dir());
}

#[test]
fn mistakes_end_every_command_that_would_use_the_file() {
    let env = TestEnv::new();
    let file = env.write("home/.config/builder/config.toml", "# mine\njbos = 7\n");
    for command in ["images", "config"] {
        let outcome = env.builder(command, [""; 0]).exited(2);
        let place = format!("{}:2:1", file.display());
        for words in [
            "unknown setting `jbos`",
            &place,
            "jbos = 7",
            "did you mean `jobs`?",
        ] {
            assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        }
    }
    // Which needs no setting.
    let mut command = env.tool(env!("CARGO_BIN_EXE_builder"));
    process::run(command.args(["completions", "bash"])).succeeded();
}

#[test]
fn what_the_user_named_has_to_be_there() {
    let env = TestEnv::new();
    let mut command = env.command("images", [""; 0]);
    let outcome = process::run(command.env("BUILDER_CONFIG", "none.toml")).exited(2);
    assert!(outcome.stderr.contains("none.toml"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("BUILDER_CONFIG"),
        "{}",
        outcome.stderr
    );
    for (variable, value) in [
        ("BUILDER_JOBS", "many"),
        ("BUILDER_CACHE_MAX", "x"),
        ("BUILDER_TAG_AGE", "1y"),
        ("BUILDER_OFFLINE", "maybe"),
        ("BUILDER_MIRRORS", "docker.io"),
    ] {
        let mut command = env.command("images", [""; 0]);
        let outcome = process::run(command.env(variable, value)).exited(2);
        assert!(
            outcome.stderr.contains(&format!("{variable}: ")),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_login_in_a_mirror_is_refused_and_not_repeated() {
    let env = TestEnv::new();
    env.write(
        "home/.config/builder/config.toml",
        "[registry.\"docker.io\"]\nmirrors = [\"https://me:hunter2@m.example\"]\n",
    );
    let outcome = env.builder("images", [""; 0]).exited(2);
    assert!(
        outcome
            .stderr
            .contains("config.toml:2: a mirror is given without a login"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
}
