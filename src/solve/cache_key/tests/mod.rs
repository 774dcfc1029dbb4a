//! Keys of steps of every kind: each thing that a step can see changes its key, and nothing else does.

mod worlds;

use proptest::prelude::*;

use super::*;
use crate::plan::{NetworkMode, Sharing, StateRef, StepId};
use crate::source::Span;
use worlds::{World, run_step, text, world};

/// The page that lists the ingredients.
const PAGE: &str = include_str!("../../../../docs/cache-keys.md");

/// Changes one thing, if it is there.
type Change = fn(&mut World) -> Option<()>;

fn other(text: &mut String) -> Option<()> {
    text.push('x');
    Some(())
}

fn flip(flag: &mut bool) -> Option<()> {
    *flag = !*flag;
    Some(())
}

fn bump(number: &mut u32) -> Option<()> {
    *number ^= 1;
    Some(())
}

fn other_or_some(text: &mut Option<String>) -> Option<()> {
    match text {
        Some(text) => other(text),
        None => {
            *text = Some(String::new());
            Some(())
        }
    }
}

fn other_tree(tree: &mut TreeSource) -> Option<()> {
    *tree = match tree {
        TreeSource::Context => TreeSource::NamedContext("other".into()),
        _ => TreeSource::Context,
    };
    Some(())
}

/// What has to change a key.
const COUNTS: &[(&str, Change)] = &[
    ("platform", |w| other(&mut w.step.platform.arch)),
    ("state below", |w| {
        w.input = Digest::of(w.input.as_bytes());
        depends_on_input(&w.step).then_some(())
    }),
    ("files", |w| {
        let files = w.foreign.first_mut()?;
        *files = Digest::of(files.as_bytes());
        Some(())
    }),
    ("order of files", |w| {
        w.foreign.reverse();
        (w.foreign.first() != w.foreign.last()).then_some(())
    }),
    ("epoch", |w| {
        w.epoch = Some(w.epoch.map_or(0, |epoch| epoch + 1));
        w.run().is_none().then_some(())
    }),
    ("run argument", |w| other(w.run()?.argv.last_mut()?)),
    ("one argument more", |w| {
        w.run()?.argv.push(String::new());
        Some(())
    }),
    ("arguments run together", |w| {
        let argv = &mut w.run()?.argv;
        let (first, second) = (argv.pop()?, argv.pop()?);
        argv.push(second + &first);
        Some(())
    }),
    ("value of a variable", |w| {
        let env = std::sync::Arc::make_mut(&mut w.run()?.env);
        other(&mut env.first_mut()?.1)
    }),
    ("another variable", |w| {
        let env = std::sync::Arc::make_mut(&mut w.run()?.env);
        env.push(("NEW".into(), String::new()));
        Some(())
    }),
    ("directory", |w| other(&mut w.run()?.cwd)),
    ("user of a command", |w| other(&mut w.run()?.user)),
    ("host name", |w| other(&mut w.run()?.hostname)),
    ("network", |w| {
        let network = &mut w.run()?.network;
        *network = match network {
            NetworkMode::Default => NetworkMode::None,
            NetworkMode::None => NetworkMode::Host,
            NetworkMode::Host => NetworkMode::Namespace("/run/netns/x".to_owned()),
            NetworkMode::Namespace(_) => NetworkMode::Default,
        };
        Some(())
    }),
    ("security", |w| flip(&mut w.run()?.insecure)),
    ("script", |w| match &mut w.run()?.script {
        Some((_, content)) => other(content),
        none => {
            *none = Some((String::new(), String::new()));
            Some(())
        }
    }),
    ("name of a device", |w| {
        other(&mut w.run()?.devices.first_mut()?.name)
    }),
    ("number of devices", |w| w.run()?.devices.pop().map(drop)),
    ("number of mounts", |w| w.run()?.mounts.pop().map(drop)),
    ("order of mounts", |w| {
        let mounts = &mut w.run()?.mounts;
        let layout = |mounts: &[RunMount]| mounts.iter().map(mount_text).collect::<Vec<_>>();
        let before = layout(mounts);
        mounts.reverse();
        (layout(mounts) != before).then_some(())
    }),
    ("target of a mount", |w| match w.mount()? {
        RunMount::Bind { target, .. }
        | RunMount::Cache { target, .. }
        | RunMount::Tmpfs { target, .. }
        | RunMount::Ssh { target, .. } => other(target),
        RunMount::Secret { target, .. } => {
            // No target and an empty one are the same.
            other_or_some(target)?;
            other_or_some(target)
        }
    }),
    ("source of a bind mount", |w| match w.mount()? {
        RunMount::Bind { source, .. } => other(source),
        _ => None,
    }),
    ("whether a mount can be written", |w| match w.mount()? {
        RunMount::Bind { writable, .. } => flip(writable),
        RunMount::Cache { read_only, .. } | RunMount::Tmpfs { read_only, .. } => flip(read_only),
        _ => None,
    }),
    ("size of a tmpfs", |w| match w.mount()? {
        RunMount::Tmpfs { size, .. } => {
            *size = Some(size.map_or(0, |size| size + 1));
            Some(())
        }
        _ => None,
    }),
    ("id of a secret or agent", |w| match w.mount()? {
        RunMount::Secret { id, .. } | RunMount::Ssh { id, .. } => other(id),
        _ => None,
    }),
    ("mode and owner of a secret or agent", |w| {
        match w.mount()? {
            RunMount::Secret { mode, .. } => bump(mode),
            RunMount::Ssh { uid, .. } => bump(uid),
            _ => None,
        }
    }),
    ("variable of a secret", |w| match w.mount()? {
        RunMount::Secret { env, .. } => {
            other_or_some(env)?;
            other_or_some(env)
        }
        _ => None,
    }),
    ("COPY or ADD", |w| flip(&mut w.copy()?.add)),
    ("destination", |w| other(&mut w.copy()?.destination)),
    ("source", |w| match w.copy()?.sources.first_mut()? {
        CopySource::Path(path) => other(path),
        CopySource::Remote { file, .. } => {
            other_or_some(file)?;
            other_or_some(file)
        }
        CopySource::Inline { content, .. } => other(content),
    }),
    ("name of a heredoc", |w| {
        match w.copy()?.sources.first_mut()? {
            CopySource::Inline { name, .. } => other(name),
            _ => None,
        }
    }),
    ("number of sources", |w| w.copy()?.sources.pop().map(drop)),
    ("order of sources", |w| {
        let copy = w.copy()?;
        let before = copy.sources.clone();
        copy.sources.reverse();
        (seen_sources(&before) != seen_sources(&copy.sources)).then_some(())
    }),
    ("chown", |w| {
        // An id, so that it does not bring the state below in.
        let chown = &mut w.copy()?.chown;
        *chown = Some(chown.clone().unwrap_or_default() + "1");
        Some(())
    }),
    ("chmod", |w| other_or_some(&mut w.copy()?.chmod)),
    ("link", |w| flip(&mut w.copy()?.link)),
    ("parents", |w| flip(&mut w.copy()?.parents)),
    ("exclude", |w| {
        w.copy()?.exclude.push("x".into());
        Some(())
    }),
    ("unpack", |w| {
        let unpack = &mut w.copy()?.unpack;
        *unpack = match unpack {
            None => Some(false),
            Some(false) => Some(true),
            Some(true) => None,
        };
        Some(())
    }),
    ("folder", |w| other(&mut w.workdir()?.path)),
    ("owner of a folder", |w| other(&mut w.workdir()?.user)),
    ("kind", |w| {
        w.step.kind = match &w.step.kind {
            StepKind::Workdir(_) => StepKind::Run(run_step()),
            _ => StepKind::Workdir(WorkdirStep {
                path: "/".into(),
                user: String::new(),
            }),
        };
        Some(())
    }),
];

/// What must not change a key, as the page says.
const DOES_NOT_COUNT: &[(&str, Change)] = &[
    ("label", |w| other(&mut w.step.label)),
    ("stage and place", |w| {
        w.step.stage += 1;
        w.step.span = Span::new(crate::source::FileId(3), 5..9);
        Some(())
    }),
    ("which state is below, of the same content", |w| {
        w.step.input = StateRef::Step(StepId(7));
        Some(())
    }),
    ("no-cache", |w| flip(&mut w.step.no_cache)),
    ("state below a link", |w| {
        w.input = Digest::of(w.input.as_bytes());
        (!depends_on_input(&w.step)).then_some(())
    }),
    ("epoch of a command", |w| {
        w.epoch = Some(w.epoch.map_or(0, |epoch| epoch + 1));
        w.run().map(|_| ())
    }),
    ("proxy variables", |w| {
        w.run()?.proxy_env.push(("HTTP_PROXY".into(), "x".into()));
        Some(())
    }),
    ("which variables are arguments", |w| {
        w.run()?.arguments.push("A".into());
        Some(())
    }),
    ("order of variables", |w| {
        std::sync::Arc::make_mut(&mut w.run()?.env).reverse();
        Some(())
    }),
    ("whether a device is required", |w| {
        flip(&mut w.run()?.devices.first_mut()?.required)
    }),
    ("where a device is asked for", |w| {
        w.run()?.devices.first_mut()?.span = Span::new(crate::source::FileId(3), 5..9);
        Some(())
    }),
    ("tree of a mount, of the same files", |w| {
        match w.mount()? {
            RunMount::Bind { from, .. } => other_tree(from),
            RunMount::Cache { from, .. } => other_tree(from.as_mut()?),
            _ => None,
        }
    }),
    ("id of a cache", |w| match w.mount()? {
        RunMount::Cache { id, .. } => other(id),
        _ => None,
    }),
    ("sharing of a cache", |w| match w.mount()? {
        RunMount::Cache { sharing, .. } => {
            *sharing = match sharing {
                Sharing::Locked => Sharing::Private,
                Sharing::Private | Sharing::Shared => Sharing::Locked,
            };
            Some(())
        }
        _ => None,
    }),
    ("mode and owner of a cache", |w| match w.mount()? {
        RunMount::Cache { mode, uid, gid, .. } => {
            bump(mode)?;
            bump(uid)?;
            bump(gid)
        }
        _ => None,
    }),
    ("whether a secret or agent is required", |w| {
        match w.mount()? {
            RunMount::Secret { required, .. } | RunMount::Ssh { required, .. } => flip(required),
            _ => None,
        }
    }),
    ("tree of a copy, of the same files", |w| {
        other_tree(&mut w.copy()?.from)
    }),
    ("origin of a source, of the same files", |w| {
        match w.copy()?.sources.first_mut()? {
            CopySource::Remote { from, .. } => other_tree(from),
            _ => None,
        }
    }),
];

/// What of sources is seen.
fn seen_sources(sources: &[CopySource]) -> Vec<String> {
    let seen = |source: &CopySource| match source {
        CopySource::Remote { file, .. } => format!("remote {}", file.as_deref().unwrap_or("")),
        other => format!("{other:?}"),
    };
    sources.iter().map(seen).collect()
}

proptest! {
    #[test]
    fn what_a_step_can_see_changes_its_key(world in world()) {
        let before = world.key();
        for (name, change) in COUNTS {
            let mut changed = world.clone();
            if change(&mut changed).is_some() {
                prop_assert_ne!(changed.key(), before, "{}", name);
            }
        }
    }

    #[test]
    fn what_it_cannot_see_does_not(world in world()) {
        let before = world.ingredients();
        for (name, change) in DOES_NOT_COUNT {
            let mut changed = world.clone();
            if change(&mut changed).is_some() {
                prop_assert_eq!(&changed.ingredients(), &before, "{}", name);
            }
        }
    }

    #[test]
    fn every_ingredient_is_on_the_page(world in world()) {
        for name in world.ingredients().as_map().keys() {
            let word = name.split(' ').next().unwrap_or_default();
            let on_page = [format!("`{word}`"), format!("`{word} N`"), format!("`{word} NAME`")];
            prop_assert!(on_page.iter().any(|form| PAGE.contains(form)), "{}", name);
        }
    }

    #[test]
    fn names_and_values_do_not_run_together(
        a in prop::collection::btree_map(text(), text(), 0..4),
        b in prop::collection::btree_map(text(), text(), 0..4),
    ) {
        let same = a == b;
        prop_assert_eq!(Ingredients(a).key() == Ingredients(b).key(), same);
    }
}

/// A change that never applies would prove nothing.
#[test]
fn every_change_applies_to_some_step() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let worlds: Vec<World> = (0..500)
        .map(|_| world().new_tree(&mut runner).unwrap().current())
        .collect();
    for (name, change) in COUNTS.iter().chain(DOES_NOT_COUNT) {
        let applies = |world: &World| change(&mut world.clone()).is_some();
        assert!(worlds.iter().any(applies), "`{name}` applies to nothing");
    }
}
