//! The live view: what has ended stands above as lines, what runs is redrawn beneath them.
//!
//! [`View`] decides what to show, from events and a clock alone. This file lets `indicatif` redraw it ten times a
//! second, and [`Terminal`] turns each redrawing into one write, so that no half-drawn picture is seen.

mod terminal;
mod view;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::solve::{BuildEvent, EventSink};

use super::screen::{Clock, Screen};
use terminal::Terminal;
use view::View;

/// Time between two pictures.
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// Redraws the view until it is dropped; then the terminal is as any program left it, with a summary as the last line.
pub(super) struct TtyProgress {
    terminal: Terminal,
    view: Arc<Mutex<View>>,
    bar: ProgressBar,
    clock: Clock,
}

impl TtyProgress {
    pub(super) fn new(screen: Screen) -> Self {
        let progress = Self::still(screen);
        progress.bar.enable_steady_tick(REDRAW_EVERY);
        progress
    }

    /// A view that is redrawn only when a line is added above it.
    fn still(screen: Screen) -> Self {
        let view = View::new(screen.colours, screen.tail_lines, screen.now());
        let view = Arc::new(Mutex::new(view));
        let terminal = Terminal::new(screen.output, screen.size);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let (picture, clock) = (Arc::clone(&view), Arc::clone(&screen.clock));
        let sized = terminal.clone();
        let draw = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let frame = locked(&picture).frame(clock(), sized.size());
            // Writing to a string cannot fail.
            out.write_str(&frame.join("\n")).ok();
        };
        let style = ProgressStyle::with_template("{view}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .with_key("view", draw);
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style);
        Self {
            terminal,
            view,
            bar,
            clock: screen.clock,
        }
    }

    /// Puts lines above the live part.
    fn print(&self, lines: &[String]) {
        let mut text = String::new();
        for line in lines {
            // Writing to a string cannot fail.
            writeln!(text, "{line}").ok();
        }
        self.terminal.hold();
        // Clears the live part, and draws it again when the lines are there.
        self.bar.suspend(|| {
            self.terminal.add(&text);
            self.terminal.release();
        });
        self.terminal.send();
    }
}

/// Every change leaves a view whole, so one that a panic interrupted is still good to show.
fn locked(view: &Mutex<View>) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventSink for TtyProgress {
    fn emit(&mut self, event: BuildEvent) {
        let size = self.terminal.size();
        // The lock is not held while lines are printed: drawing takes it.
        let lines = locked(&self.view).apply(event, (self.clock)(), size);
        if !lines.is_empty() {
            self.print(&lines);
        }
    }
}

impl Drop for TtyProgress {
    fn drop(&mut self) {
        self.bar.disable_steady_tick();
        self.terminal.hold();
        self.bar.finish_and_clear();
        if let Some(summary) = locked(&self.view).summary((self.clock)()) {
            self.terminal.add(&summary);
            self.terminal.add("\n");
        }
        self.terminal.release();
        self.terminal.send();
    }
}

#[cfg(test)]
mod tests;
