//! How far it is: a bar on a terminal, a line every ten seconds elsewhere; on standard error, beside the report.

use crate::output::{clean, count};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR: &str = "{bar:30} {bytes}/{total_bytes}  {msg}  {eta} left";
const SPINNER: &str = "{spinner} {bytes}  {msg}";

/// Shows the progress of one file.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    lined: Instant,
    total: Option<u64>,
    visible: bool,
    what: &'static str,
}

impl Progress {
    /// `total` in bytes, where it is known; `from` those of an earlier run.
    pub fn new(total: Option<u64>, from: u64, visible: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        if let Ok(style) = ProgressStyle::with_template(if total.is_some() { BAR } else { SPINNER }) {
            bar.set_style(style);
        }
        bar.set_position(from);
        bar.reset_eta();
        let now = Instant::now();
        Self { bar, started: now, lined: now, total, visible, what: "events" }
    }

    /// What is counted, where it is no events.
    pub fn of(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    /// So many bytes of the file, and events or the like of this run, are settled.
    pub fn settled(&mut self, bytes: u64, done: u64) {
        let rate = (done as f64 / self.started.elapsed().as_secs_f64().max(1e-3)) as u64;
        let message = format!("{} {}  {}/s", count(done), self.what, count(rate));
        if self.plain() && self.lined.elapsed() >= LINE_EVERY {
            self.lined = Instant::now();
            let of = self.total.map(|total| format!(" of {}", HumanBytes(total))).unwrap_or_default();
            self.line(&format!("{}{of}  {message}", HumanBytes(bytes)));
        }
        self.bar.set_message(message);
        self.bar.set_position(bytes);
    }

    /// Prints a line above the bar.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| self.line(text));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn plain(&self) -> bool {
        self.visible && !io::stderr().is_terminal()
    }

    fn line(&self, text: &str) {
        // Progress is not worth failing for.
        let _ = writeln!(io::stderr(), "{}", clean(text));
    }
}
