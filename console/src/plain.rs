//! The console as lines that are only ever added: for a screen reader, a log, a pipe.

use crate::{
    model::{
        Model,
        standing::{Band, Knowledge, Severity},
    },
    text::{age, status},
    update::yank::row_json,
};
use std::time::Duration;

/// The same status is said again after so long, so that silence means something.
const AGAIN: Duration = Duration::from_secs(60);

/// What has been said.
#[derive(Debug, Default)]
pub struct Plain {
    events: u64,
    status: String,
    said: Option<Duration>,
}

impl Plain {
    /// What there is to say since the last time.
    pub fn lines(&mut self, model: &Model) -> Vec<String> {
        let world = &model.world;
        let pushed = world.timeline.pushed();
        let new = usize::try_from(pushed - self.events).unwrap_or(usize::MAX);
        self.events = pushed;
        let events = world.timeline.events();
        let skip = events.len().saturating_sub(new);
        let mut lines: Vec<String> =
            events.skip(skip).map(|event| format!("{:.0} {} {}", event.at.wall, event.subject, event.text)).collect();
        let status = summary(model);
        let due = self.said.is_none_or(|said| model.now.since(said) >= AGAIN);
        if due || status != self.status {
            lines.push(format!("{:.0} STATUS {status}", model.now.wall));
            (self.status, self.said) = (status, Some(model.now.elapsed));
        }
        lines
    }
}

/// Counts in a line; nothing in it changes while nothing happens.
pub fn summary(model: &Model) -> String {
    let (world, board) = (&model.world, &model.world.board);
    let worst = board.worst().map_or("none".to_owned(), |worst| worst.severity.to_string());
    let counts: Vec<String> =
        Severity::ALL.into_iter().map(|severity| format!("{severity}={}", board.count(severity)).to_lowercase()).collect();
    let unaccounted = world.ledger.at.map_or("?".to_owned(), |_| world.ledger.unaccounted().to_string());
    let installations = world.installations().into_iter().map(|name| format!("installation={name} ")).collect::<String>();
    let test_times = world.test_times().map(|(shortest, _)| format!("test-times={} ", age(shortest))).unwrap_or_default();
    format!(
        "{installations}{test_times}worst={worst} {} suspect={} unknown={} planned={} ok={} live={}/{} blind={} unaccounted={unaccounted}",
        counts.join(" "),
        board.suspects(),
        board.size(Band::Unknown),
        board.size(Band::Planned),
        board.size(Band::Ok),
        world.known(Knowledge::Live) + world.known(Knowledge::Late),
        world.endpoints.len(),
        world.known(Knowledge::Blind),
    )
}

/// What a check found, and the exit code that says so to a monitoring system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is open, and everything that is to be seen is seen.
    Ok,
    /// The worst is P3 to P5, or something is suspected.
    Warning,
    /// P1 or P2.
    Critical,
    /// Nothing worse is known, but not everything is.
    Unknown,
}

impl Verdict {
    /// As of the last settling.
    pub fn of(model: &Model) -> Self {
        let (world, board) = (&model.world, &model.world.board);
        let seen = world.endpoints.iter().any(|endpoint| endpoint.position.is_some());
        let dark = world.known(Knowledge::Blind) + world.known(Knowledge::Waiting) + board.size(Band::Unknown) > 0;
        match board.worst().map(|worst| worst.severity) {
            // Of a system of which nothing at all is seen nothing can be said.
            _ if !seen => Self::Unknown,
            Some(Severity::P1 | Severity::P2) => Self::Critical,
            _ if dark || world.catalogue.is_empty() => Self::Unknown,
            Some(_) => Self::Warning,
            None if board.suspects() > 0 => Self::Warning,
            None => Self::Ok,
        }
    }

    /// 0, 1, 2, 3, as monitoring plug-ins have it.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// In capitals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// For a monitoring system: a line with figures, then a line for each row that is not as it should be.
pub fn report(model: &Model) -> String {
    let verdict = Verdict::of(model);
    let mut lines = vec![format!("LOADLINE {} - {}", verdict.name(), summary(model))];
    for row in wrong(model) {
        let json = row_json(&model.world, row);
        let word = |key: &str| json[key].as_str().unwrap_or("-").to_owned();
        let (severity, id, title) = (word("severity"), word("id"), word("title"));
        let whose = format!("{} {}", word("service"), word("address"));
        let found = row.found.as_ref().map(|found| format!(" {found}")).unwrap_or_default();
        lines.push(format!("{severity} {id} {title}: {}{found} ({})", status(&row.status), whose.trim()));
    }
    lines.join("\n")
}

fn wrong(model: &Model) -> impl Iterator<Item = &crate::model::board::Row> {
    model.world.board.rows.iter().filter(|row| !matches!(row.band, Band::Ok | Band::Planned))
}

/// The same for a program: everything on the board.
pub fn json(model: &Model) -> serde_json::Value {
    let world = &model.world;
    let rows: Vec<_> = world.board.rows.iter().map(|row| row_json(world, row)).collect();
    let endpoints: Vec<_> = world
        .endpoints
        .iter()
        .map(|endpoint| {
            serde_json::json!({
                "service": endpoint.service, "address": endpoint.address, "build": endpoint.build,
                "installation": Some(&endpoint.installation).filter(|name| !name.is_empty()),
                "times_at_most_seconds": endpoint.times_at_most.map(|longest| longest.as_secs_f64()),
                "knowledge": format!("{:?}", endpoint.knowledge(world.now)).to_lowercase(),
                "silent_seconds": endpoint.silence(world.now).as_secs_f64(),
            })
        })
        .collect();
    let verdict = Verdict::of(model);
    serde_json::json!({
        "verdict": verdict.name(), "code": verdict.code(),
        "worst": world.board.worst().map(|worst| worst.severity.to_string()),
        "unaccounted": world.ledger.at.map(|_| world.ledger.unaccounted().to_string()),
        "endpoints": endpoints, "modes": rows,
    })
}

/// The same for Prometheus, in its text format.
pub fn prometheus(model: &Model) -> String {
    let (world, board) = (&model.world, &model.world.board);
    let mut out = String::from("# TYPE loadline_check_code gauge\n");
    out.push_str(&format!("loadline_check_code {}\n", Verdict::of(model).code()));
    out.push_str("# TYPE loadline_check_failure_modes gauge\n");
    for severity in Severity::ALL {
        out.push_str(&format!("loadline_check_failure_modes{{severity=\"{severity}\"}} {}\n", board.count(severity)));
    }
    for (name, band) in [("unknown", Band::Unknown), ("planned", Band::Planned), ("ok", Band::Ok)] {
        out.push_str(&format!("loadline_check_failure_modes{{severity=\"{name}\"}} {}\n", board.size(band)));
    }
    out.push_str("# TYPE loadline_check_seen gauge\n");
    for endpoint in &world.endpoints {
        let seen = u8::from(matches!(endpoint.knowledge(world.now), Knowledge::Live | Knowledge::Late));
        let (service, address) = (label(&endpoint.service), label(&endpoint.address));
        out.push_str(&format!("loadline_check_seen{{service=\"{service}\",address=\"{address}\"}} {seen}\n"));
    }
    if world.ledger.at.is_some() {
        out.push_str("# TYPE loadline_check_unaccounted gauge\n");
        out.push_str(&format!("loadline_check_unaccounted {}\n", world.ledger.unaccounted()));
    }
    out
}

/// As the text format wants it: what a server calls itself must not end the label.
fn label(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
