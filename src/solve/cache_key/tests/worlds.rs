//! Random steps of every kind, and what they are done to.

use proptest::prelude::*;
use proptest::strategy::Union;

use super::super::*;
use crate::oci::Platform;
use crate::plan::{DeviceRequest, NetworkMode, Sharing, StateRef, StepId};
use crate::source::Span;

/// A step and what it is done to.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) step: Step,
    pub(super) input: Digest,
    pub(super) foreign: Vec<Digest>,
    pub(super) epoch: Option<i64>,
}

impl World {
    pub(super) fn ingredients(&self) -> Ingredients {
        ingredients(&self.step, self.input, &self.foreign, self.epoch)
    }

    pub(super) fn key(&self) -> Digest {
        self.ingredients().key()
    }

    pub(super) fn run(&mut self) -> Option<&mut RunStep> {
        match &mut self.step.kind {
            StepKind::Run(run) => Some(run),
            _ => None,
        }
    }

    pub(super) fn copy(&mut self) -> Option<&mut CopyStep> {
        match &mut self.step.kind {
            StepKind::Copy(copy) => Some(copy),
            _ => None,
        }
    }

    pub(super) fn workdir(&mut self) -> Option<&mut WorkdirStep> {
        match &mut self.step.kind {
            StepKind::Workdir(workdir) => Some(workdir),
            _ => None,
        }
    }

    pub(super) fn mount(&mut self) -> Option<&mut RunMount> {
        self.run()?.mounts.first_mut()
    }
}

pub(super) fn run_step() -> RunStep {
    RunStep {
        argv: vec!["sh".into()],
        env: vec![].into(),
        arguments: vec![],
        proxy_env: vec![],
        cwd: "/".into(),
        user: String::new(),
        hostname: "h".into(),
        network: NetworkMode::Default,
        insecure: false,
        mounts: vec![],
        devices: vec![],
        script: None,
    }
}

/// Short texts of what has a meaning somewhere.
pub(super) fn text() -> impl Strategy<Value = String> + Clone {
    "[ab/:\",\\[\\]\\\\\n ]{0,4}"
}

fn tree() -> impl Strategy<Value = TreeSource> {
    prop_oneof![
        Just(TreeSource::Context),
        text().prop_map(TreeSource::NamedContext),
        (0..3_usize).prop_map(|step| TreeSource::State(StateRef::Step(StepId(step)))),
    ]
}

fn mount() -> impl Strategy<Value = RunMount> {
    let bind =
        (tree(), text(), text(), any::<bool>()).prop_map(|(from, source, target, writable)| {
            RunMount::Bind {
                from,
                source,
                target,
                writable,
            }
        });
    let cache = (
        text(),
        text(),
        prop::option::of(tree()),
        0..4_u32,
        any::<bool>(),
    )
        .prop_map(|(id, target, from, mode, read_only)| RunMount::Cache {
            id,
            target,
            sharing: Sharing::Shared,
            from,
            source: String::new(),
            mode,
            uid: mode,
            gid: 0,
            read_only,
        });
    let tmpfs = (text(), prop::option::of(0..3_u64), any::<bool>()).prop_map(
        |(target, size, read_only)| RunMount::Tmpfs {
            target,
            size,
            read_only,
        },
    );
    let optional = || prop::option::of(text());
    let secret = (text(), optional(), optional(), any::<bool>(), 0..9_u32).prop_map(
        |(id, target, env, required, mode)| RunMount::Secret {
            id,
            target,
            env,
            required,
            mode,
            uid: 0,
            gid: mode,
        },
    );
    let ssh = (text(), text(), any::<bool>(), 0..9_u32).prop_map(|(id, target, required, mode)| {
        RunMount::Ssh {
            id,
            target,
            required,
            mode,
            uid: mode,
            gid: 0,
        }
    });
    Union::new([
        bind.boxed(),
        cache.boxed(),
        tmpfs.boxed(),
        secret.boxed(),
        ssh.boxed(),
    ])
}

fn run() -> impl Strategy<Value = StepKind> {
    let device = (text(), any::<bool>()).prop_map(|(name, required)| DeviceRequest {
        name,
        required,
        span: Span::default(),
    });
    let env = prop::collection::btree_map("[A-C]", text(), 0..3);
    let argv = prop::collection::vec(text(), 0..3);
    let mounts = prop::collection::vec(mount(), 0..3);
    let devices = prop::collection::vec(device, 0..3);
    let script = prop::option::of((text(), text()));
    (argv, env, (text(), text()), mounts, devices, script).prop_map(
        |(argv, env, (cwd, user), mounts, devices, script)| {
            StepKind::Run(RunStep {
                argv,
                env: env.into_iter().collect::<Vec<_>>().into(),
                cwd,
                user,
                mounts,
                devices,
                script,
                ..run_step()
            })
        },
    )
}

fn copy() -> impl Strategy<Value = StepKind> {
    let source = prop_oneof![
        text().prop_map(CopySource::Path),
        (tree(), prop::option::of(text()))
            .prop_map(|(from, file)| CopySource::Remote { from, file }),
        (text(), text()).prop_map(|(name, content)| CopySource::Inline { name, content }),
    ];
    let sources = prop::collection::vec(source, 0..3);
    let owner = prop::option::of("[0-2]{1,2}|u:g|u");
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let exclude = prop::collection::vec(text(), 0..2);
    let unpack = any::<Option<bool>>();
    (
        tree(),
        sources,
        text(),
        owner,
        flags,
        (exclude, unpack, prop::option::of(text())),
    )
        .prop_map(
            |(
                from,
                sources,
                destination,
                chown,
                (add, link, parents),
                (exclude, unpack, chmod),
            )| {
                StepKind::Copy(CopyStep {
                    add,
                    from,
                    sources,
                    destination,
                    chown,
                    chmod,
                    link,
                    parents,
                    exclude,
                    unpack,
                })
            },
        )
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let workdir =
        (text(), text()).prop_map(|(path, user)| StepKind::Workdir(WorkdirStep { path, user }));
    let kind = prop_oneof![run(), copy(), workdir];
    let foreign = prop::collection::vec(text().prop_map(Digest::of), 0..3);
    (kind, text(), foreign, prop::option::of(0..9_i64)).prop_map(|(kind, input, foreign, epoch)| {
        World {
            step: Step {
                label: "l".into(),
                span: Span::default(),
                stage: 0,
                input: StateRef::Scratch,
                platform: Platform::new("linux", "amd64", ""),
                no_cache: false,
                kind,
            },
            input: Digest::of(input),
            foreign,
            epoch,
        }
    })
}
