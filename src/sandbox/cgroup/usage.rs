//! What the kernel says of a step's cgroups when the step has ended: what it used, and which limits it met.

use std::path::Path;
use std::time::Duration;

use super::super::outcome::{MetLimits, OutOfMemory, Resources};
use super::settings::{Controller, Version};
use super::step::StepCgroup;
use crate::fsio;

impl StepCgroup {
    /// The folder that counts for a controller.
    fn of(&self, controller: Controller) -> Option<(&Path, Version)> {
        let mut legacy = self.legacy.iter();
        let legacy = legacy.find(|(controllers, _)| controllers.contains(&controller));
        let legacy = legacy.map(|(_, made)| (made.folder.as_path(), Version::One));
        legacy.or_else(|| Some((self.unified()?, Version::Two)))
    }

    /// Puts what was counted for the step as a whole in the place of what was summed up of its processes.
    pub(in crate::sandbox) fn account(&self, resources: &mut Resources) {
        resources.peak_memory_bytes = self.peak();
        if let Some(folder) = self.unified() {
            let time = |key| Some(Duration::from_micros(value(folder, "cpu.stat", key)?));
            if let (Some(user), Some(system)) = (time("user_usec"), time("system_usec")) {
                (resources.user_time, resources.system_time) = (user, system);
            }
        }
        let transfers = self.of(Controller::Io).and_then(|(folder, version)| {
            let file = match version {
                Version::One => "blkio.throttle.io_service_bytes",
                Version::Two => "io.stat",
            };
            Some(transfers(&text(folder, file)?))
        });
        if let Some((read, written)) = transfers {
            (resources.read_bytes, resources.written_bytes) = (read, written);
        }
    }

    /// The limits that the step met.
    pub(in crate::sandbox) fn met(&self) -> MetLimits {
        let refused = self.of(Controller::Pids);
        let refused = refused.and_then(|(folder, _)| value(folder, "pids.events", "max"));
        let throttled = self.of(Controller::Cpu);
        let throttled = throttled.and_then(|(folder, _)| value(folder, "cpu.stat", "nr_throttled"));
        MetLimits {
            out_of_memory: self.out_of_memory(),
            refused_processes: refused.filter(|times| *times > 0).and(self.limits.pids),
            throttled_periods: throttled.unwrap_or_default(),
        }
    }

    fn peak(&self) -> Option<u64> {
        let (folder, version) = self.of(Controller::Memory)?;
        let file = match version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        text(folder, file)?.trim().parse().ok()
    }

    /// Who ran out of memory: the step at its limit, or the machine.
    fn out_of_memory(&self) -> Option<OutOfMemory> {
        let (folder, version) = self.of(Controller::Memory)?;
        let (kills, at_limit) = match version {
            Version::One => {
                let failures = |file| text(folder, file)?.trim().parse::<u64>().ok();
                let failures = [failures("memory.failcnt"), failures("memory.memsw.failcnt")];
                let kills = value(folder, "memory.oom_control", "oom_kill")?;
                (kills, failures.into_iter().flatten().sum())
            }
            Version::Two => {
                let of = |key| value(folder, "memory.events", key);
                (of("oom_kill")?, of("oom")?)
            }
        };
        let peak = self.peak();
        let limit = self.limits.memory.filter(|_| at_limit > 0);
        (kills > 0).then_some(match limit {
            Some(limit) => OutOfMemory::AtLimit { peak, limit },
            None => OutOfMemory::Above { peak },
        })
    }
}

/// Processes that the kernel killed for want of memory since the machine was started.
pub(in crate::sandbox) fn kills_of_machine() -> Option<u64> {
    value(Path::new("/proc"), "vmstat", "oom_kill")
}

fn text(folder: &Path, file: &str) -> Option<String> {
    fsio::read_to_string(folder.join(file)).ok()
}

/// The number behind a word at the start of a line.
fn value(folder: &Path, file: &str, key: &str) -> Option<u64> {
    let text = text(folder, file)?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs
        .find(|(name, _)| *name == key)
        .and_then(|(_, number)| number.trim().parse().ok())
}

/// Bytes read and written, over all devices: `8:0 rbytes=1 wbytes=2 …`, or in version 1 `8:0 Read 1` and `8:0 Write 2`.
fn transfers(text: &str) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1).peekable();
        while let Some(word) = words.next() {
            let (key, number) = match word.split_once('=') {
                Some(pair) => pair,
                None => (word, words.peek().copied().unwrap_or_default()),
            };
            let number = number.parse().unwrap_or(0);
            match key {
                "rbytes" | "Read" => read = read.saturating_add(number),
                "wbytes" | "Write" => written = written.saturating_add(number),
                _ => {}
            }
        }
    }
    (read, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_of_all_devices_are_summed_up() {
        let two =
            "8:0 rbytes=100 wbytes=20 rios=1 wios=2 dbytes=7 dios=0\n8:16 rbytes=1 wbytes=2\n";
        assert_eq!(transfers(two), (101, 22));
        let one = "8:0 Read 100\n8:0 Write 20\n8:0 Sync 3\n8:0 Total 120\n8:16 Read 1\nTotal 121\n";
        assert_eq!(transfers(one), (101, 20));
        assert_eq!(transfers(""), (0, 0));
    }
}
