//! The status of a running node: one screen that updates on a terminal, plain lines elsewhere.

use crate::{output::clean, simulate};
use loadline_domain::{Clock as _, StreamName, progress::Progress, time::SystemClock};
use loadline_event_log::{EventLog, StreamSpec};
use loadline_runtime::Shutdown;
use loadline_settings::Settings;
use loadline_store::Store;
use std::{
    collections::HashMap,
    io::{IsTerminal as _, Write as _, stdout},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often a screen is drawn, and a line printed.
const SCREEN: Duration = Duration::from_secs(1);
const LINE: Duration = Duration::from_secs(5);

/// Whether standard output is a screen.
pub fn on_a_terminal() -> bool {
    stdout().is_terminal()
}

/// What is shown.
pub struct Board {
    addresses: String,
    streams: Vec<StreamSpec>,
    traffic: Arc<simulate::Stats>,
    simulated: bool,
    started: Instant,
}

/// One stream's row.
struct Row {
    name: StreamName,
    progress: Option<Progress>,
    /// Records behind, and for how long; `None` when the log does not say.
    behind: Option<(u64, Duration)>,
    per_second: f64,
}

impl Board {
    pub fn new(settings: &Settings, addresses: &[(&str, SocketAddr)]) -> Self {
        let addresses: Vec<_> = addresses.iter().map(|(name, address)| format!("{name} {address}")).collect();
        Self {
            addresses: addresses.join("   "),
            streams: settings.streams.iter().map(|stream| stream.spec().0).collect(),
            traffic: Arc::default(),
            simulated: settings.simulate.enabled,
            started: Instant::now(),
        }
    }

    /// Where the simulator counts.
    pub fn traffic(&self) -> Arc<simulate::Stats> {
        self.traffic.clone()
    }

    /// Shows the status until shutdown, and once more at the end.
    pub async fn run(self, log: Arc<dyn EventLog>, store: Arc<dyn Store>, shutdown: Shutdown) {
        let screen = on_a_terminal().then(console::Term::stdout);
        let mut ticks = tokio::time::interval(if screen.is_some() { SCREEN } else { LINE });
        let (mut last, mut drawn) = (HashMap::new(), 0);
        while !shutdown.is_begun() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => {}
            }
            let rows = self.rows(&*log, &*store, &mut last).await;
            match &screen {
                Some(term) => drawn = self.draw(term, drawn, rows.as_deref()),
                None => self.print(rows.as_deref()),
            }
        }
    }

    /// An error instead of rows when the store does not answer: old numbers would look like now.
    async fn rows(
        &self,
        log: &dyn EventLog,
        store: &dyn Store,
        last: &mut HashMap<StreamName, (Instant, u64)>,
    ) -> Result<Vec<Row>, String> {
        let progress = store.all_progress().await.map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        for spec in &self.streams {
            let progress = progress.iter().find(|progress| progress.stream == spec.name).cloned();
            let backlog = loadline_ingest::backlog(log, spec, progress.as_ref(), SystemClock.now()).await.ok();
            let applied = progress.as_ref().map_or(0, |progress| progress.applied);
            let (then, before) = last.insert(spec.name.clone(), (Instant::now(), applied)).unwrap_or((Instant::now(), applied));
            let per_second = applied.saturating_sub(before) as f64 / then.elapsed().as_secs_f64().max(0.001);
            rows.push(Row {
                name: spec.name.clone(),
                progress,
                behind: backlog.map(|backlog| (backlog.records, backlog.lag)),
                per_second,
            });
        }
        Ok(rows)
    }

    fn draw(&self, term: &console::Term, drawn: usize, rows: Result<&[Row], &String>) -> usize {
        let lines = self.screen(rows);
        let width = usize::from(term.size().1).max(20);
        let _ = term.clear_last_lines(drawn); // a terminal that went away is noticed by its SIGHUP
        for line in &lines {
            let _ = term.write_line(&line.chars().take(width - 1).collect::<String>());
        }
        lines.len()
    }

    fn screen(&self, rows: Result<&[Row], &String>) -> Vec<String> {
        let up = self.started.elapsed().as_secs();
        let mut lines =
            vec![format!("loadline {}   up {}   Ctrl-C stops", crate::build(), clock(up)), self.addresses.clone(), String::new()];
        match rows {
            Err(error) => lines.push(format!("STORE DOWN: {}", clean(error))),
            Ok(rows) => {
                lines.push(format!(
                    "{:<12}{:>12}{:>12}{:>12}{:>8}{:>8}{:>13}{:>9}{:>9}{:>10}",
                    "STREAM", "APPLIED", "COUNTED", "DUPLICATES", "DEAD", "LOST", "UNACCOUNTED", "BEHIND", "LAG", "EVENTS/S"
                ));
                lines.extend(rows.iter().map(Row::line));
                lines.push(String::new());
                lines.push(format!("UNACCOUNTED {}", unaccounted(rows)));
            }
        }
        if self.simulated {
            lines.push(format!("simulated traffic: {}", self.sent()));
            lines.push("try, in another terminal: loadline usage --top 5   (cargo run -q -- usage --top 5)".to_owned());
        }
        lines
    }

    fn sent(&self) -> String {
        let simulate::Snapshot { sent, accepted, duplicates, invalid, future, late, conflict, other, refused, unavailable } =
            self.traffic.snapshot();
        format!(
            "sent={sent} accepted={accepted} duplicates={duplicates} invalid={invalid} future={future} late={late} conflict={conflict} \
             other={other} refused={refused} unavailable={unavailable}"
        )
    }

    fn print(&self, rows: Result<&[Row], &String>) {
        // Whoever read it may have read enough: what is served goes on.
        let _ = writeln!(stdout(), "{}", self.lines(rows).join("\n"));
    }

    fn lines(&self, rows: Result<&[Row], &String>) -> Vec<String> {
        match rows {
            Err(error) => vec![format!("status store=down error={:?}", clean(error))],
            Ok(rows) => {
                let (up, unaccounted) = (self.started.elapsed().as_secs(), unaccounted(rows));
                let status = format!("status uptime={up}s unaccounted={unaccounted} {}", self.sent());
                rows.iter().map(Row::plain).chain([status]).collect()
            }
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let Some(progress) = &self.progress else { return format!("{:<12}{:>12}", self.name.as_str(), "not opened") };
        let (behind, lag) = self.behind.map_or(("?".to_owned(), "?".to_owned()), |(records, lag)| {
            (records.to_string(), format!("{:.1}s", lag.as_secs_f64()))
        });
        format!(
            "{:<12}{:>12}{:>12}{:>12}{:>8}{:>8}{:>13}{:>9}{:>9}{:>10.0}{}",
            self.name.as_str(),
            progress.applied,
            progress.counted,
            progress.duplicates,
            progress.dead_lettered,
            progress.lost,
            progress.unaccounted(),
            behind,
            lag,
            self.per_second,
            progress.stopped.as_deref().map(|why| format!("  STOPPED: {}", clean(why))).unwrap_or_default(),
        )
    }

    fn plain(&self) -> String {
        let Some(progress) = &self.progress else { return format!("stream={} not opened", self.name) };
        let behind = self.behind.map_or("?".to_owned(), |(records, _)| records.to_string());
        format!(
            "stream={} applied={} counted={} duplicates={} dead={} lost={} unaccounted={} behind={behind} events_per_second={:.0}",
            self.name,
            progress.applied,
            progress.counted,
            progress.duplicates,
            progress.dead_lettered,
            progress.lost,
            progress.unaccounted(),
            self.per_second,
        )
    }
}

fn unaccounted(rows: &[Row]) -> i64 {
    rows.iter().filter_map(|row| row.progress.as_ref()).map(Progress::unaccounted).sum()
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
