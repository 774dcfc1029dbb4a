//! Reads what `--progress plain` wrote: which steps there were, how each ended, what it said.

use std::collections::BTreeMap;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ran.
    Done,
    /// The cache had its result.
    Cached,
    /// It failed.
    Failed,
    /// Something else failed first.
    Cancelled,
}

/// One numbered line of work.
#[derive(Clone, Debug, Default)]
pub struct Vertex {
    /// Its name: `[2/4] RUN make`, `exporting to image`.
    pub name: String,
    /// How it ended; `None` if that was never said.
    pub end: Option<End>,
    /// Lines that the step wrote.
    pub output: Vec<String>,
    /// Why it ran.
    pub why: Option<String>,
}

impl Vertex {
    /// A step of the Dockerfile that is not the start of a stage.
    fn is_step(&self) -> bool {
        self.name.starts_with('[')
            && !self.name.starts_with("[internal]")
            && !self.name.contains("] FROM ")
    }
}

/// All that was said, in the order in which it began.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    vertices: BTreeMap<u32, Vertex>,
}

impl Progress {
    /// Reads standard error of a build.
    pub fn read(stderr: &str) -> Self {
        let mut progress = Self::default();
        for line in stderr.lines() {
            let Some((number, rest)) = line.strip_prefix('#').and_then(|l| l.split_once(' '))
            else {
                continue;
            };
            if let Ok(number) = number.parse() {
                progress.vertices.entry(number).or_default().line(rest);
            }
        }
        progress
    }

    /// The steps of the Dockerfile.
    pub fn steps(&self) -> impl Iterator<Item = &Vertex> {
        self.vertices.values().filter(|vertex| vertex.is_step())
    }

    /// The steps that the cache did not answer, without their counters: `RUN make`.
    pub fn ran(&self) -> Vec<&str> {
        let ran = self.steps().filter(|step| step.end != Some(End::Cached));
        ran.map(|step| instruction(&step.name)).collect()
    }

    /// The steps that ran with why they did: `RUN make: first build`.
    pub fn reasons(&self) -> Vec<String> {
        let ran = self.steps().filter(|step| step.end != Some(End::Cached));
        ran.map(|step| {
            let why = step.why.as_deref().unwrap_or("?");
            format!("{}: {why}", instruction(&step.name))
        })
        .collect()
    }

    /// The step whose name contains `part`.
    #[track_caller]
    pub fn step(&self, part: &str) -> &Vertex {
        let mut steps = self.steps().filter(|step| step.name.contains(part));
        match (steps.next(), steps.next()) {
            (Some(step), None) => step,
            (found, _) => panic!("expected one step with `{part}`, found {found:?} of {self:#?}"),
        }
    }

    /// Panics unless there are `count` steps and the cache answered each.
    #[track_caller]
    pub fn all_cached(&self, count: usize) {
        assert_eq!(self.ran(), [""; 0], "steps that ran: {self:#?}");
        assert_eq!(self.steps().count(), count, "cached steps: {self:#?}");
    }
}

impl Vertex {
    fn line(&mut self, line: &str) {
        if self.name.is_empty() {
            line.clone_into(&mut self.name);
        } else if let Some(why) = line.strip_prefix("why: ") {
            self.why = Some(why.to_owned());
        } else if line == "CACHED" {
            self.end = Some(End::Cached);
        } else if line.starts_with("DONE ") {
            self.end = Some(End::Done);
        } else if line.starts_with("ERROR:") {
            self.end = Some(End::Failed);
        } else if line == "CANCELED" {
            self.end = Some(End::Cancelled);
        } else if let Some((time, text)) = line.split_once(' ')
            && time.parse::<f64>().is_ok()
        {
            self.output.push(text.to_owned());
        }
    }
}

/// A step's name without `[stage 2/4]`.
fn instruction(name: &str) -> &str {
    name.split_once("] ").map_or(name, |(_, rest)| rest)
}
