//! Background jobs with their schedules, and their runs with progress.

use super::{
    pane::{Hit, hits, lines, mark, pane, scrolled},
    plot::gauge,
    title::{old, title},
};
use crate::{
    model::{
        JobLine, Model,
        jobs::{Job, Run, RunState},
        report::span,
    },
    msg::Topic,
    text::{age, clock, cut, fit, grouped, right},
};
use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

const GAUGE: usize = 16;

/// Draws the screen; where its rows are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let (look, world) = (model.ui.look, model.shown());
    let jobs = &world.jobs;
    let leader = match (jobs.at, jobs.leader.as_str()) {
        (None, _) => "who runs them is not known yet".to_owned(),
        (Some(_), "") => "nobody runs them".to_owned(),
        (Some(_), leader) => format!("run by {leader}"),
    };
    let rest = Span::styled(format!("{leader}, times of schedules in {}", zone(&jobs.time_zone)), look.dim());
    let inner = pane(frame, look, area, title(model, "JOBS", old(model, Topic::Jobs, jobs.at), rest, area), true);
    let width = usize::from(inner.width);
    let listed = model.job_lines();
    let ids: Vec<String> = listed.iter().map(JobLine::id).collect();
    let cursor = model.ui.job.place(ids.iter()).unwrap_or(0);
    let mut drawn = Vec::new();
    if let Some(error) = &jobs.error {
        drawn.push(Line::styled(format!(" {error}"), look.blind()));
    }
    drawn.push(Line::styled(format!(" {} {} {} LAST", fit("JOB", 20), fit("SCHEDULE", 16), right("NEXT IN", 9)), look.dim()));
    // Times of runs are by the clock of who ran them.
    let now = world.time_of("rollup");
    let (mut at, mut rows) = (0, Vec::new());
    for (place, listed) in listed.iter().enumerate() {
        if matches!(listed, JobLine::Run(_)) && (place == 0 || matches!(ids.get(place - 1), Some(id) if id.starts_with("job "))) {
            drawn.push(Line::default());
            let gap = " ".repeat(GAUGE + 6);
            let heading = format!(
                " {} {} {} {} {gap} {} WHAT",
                fit("RUN OF", 20),
                fit("STATE", 12),
                right("ENDED", 5),
                right("TOOK", 8),
                fit("BY", 10)
            );
            drawn.push(Line::styled(heading, look.dim()));
        }
        if place == cursor {
            at = drawn.len();
        }
        rows.push((drawn.len(), place));
        let line = match listed {
            JobLine::Job(job) => job_line(model, job, now, mark(place == cursor)),
            JobLine::Run(run) => run_line(model, run, now, width, mark(place == cursor)),
        };
        drawn.push(if place == cursor { line.patch_style(look.selected()) } else { line });
    }
    let first = scrolled(at, drawn.len(), inner.height.into());
    lines(frame, inner, drawn.into_iter().skip(first));
    hits(inner, first, rows)
}

fn zone(name: &str) -> &str {
    if name.is_empty() { "UTC" } else { name }
}

fn job_line(model: &Model, job: &Job, now: Timestamp, mark: &str) -> Line<'static> {
    let schedule = if job.schedule.is_empty() { "on request" } else { &job.schedule };
    let next = job.next_at.map_or("-".to_owned(), |next| until(next, now));
    let (last, style) = match (&job.current, &job.last) {
        (Some(run), _) => (format!("{} now", run.state.name()), model.ui.look.label()),
        (None, Some(run)) => (ended(run, now), style(model, run.state)),
        (None, None) => ("never".to_owned(), model.ui.look.dim()),
    };
    Line::from_iter([
        Span::raw(format!("{mark}{} {} {} ", fit(&job.name, 20), fit(schedule, 16), right(&next, 9))),
        Span::styled(fit(&last, 26) + " ", style),
        Span::styled(job.description.clone(), model.ui.look.dim()),
    ])
}

fn run_line(model: &Model, run: &Run, now: Timestamp, width: usize, mark: &str) -> Line<'static> {
    let look = model.ui.look;
    let took = match (run.took(), run.started) {
        (Some(took), _) if took.as_secs() < 10 => format!("{:.1}s", took.as_secs_f64()),
        (Some(took), _) => clock(took),
        (None, Some(started)) => clock(span(started, now)),
        (None, None) => "-".to_owned(),
    };
    let ago = run.finished.map_or("now".to_owned(), |finished| age(span(finished, now)));
    let share = run.share();
    let percent = match share {
        Some(share) => format!("{:>3.0}%", (share * 100.0).floor()),
        None if run.done > 0 => fit(&grouped(run.done), 4),
        None => "    ".to_owned(),
    };
    let attempt = if run.attempt > 1 { format!("try {}: ", run.attempt) } else { String::new() };
    let what = format!("{attempt}{}", if run.note.is_empty() { &run.result } else { &run.note });
    Line::from_iter([
        Span::raw(format!("{mark}{} ", fit(&run.job, 20))),
        Span::styled(fit(&run.state.name(), 12) + " ", style(model, run.state)),
        Span::raw(format!("{} {} ", right(&ago, 5), right(&took, 8))),
        Span::styled(gauge(share, GAUGE), look.bar()),
        Span::raw(format!(" {percent}  {} ", fit(&run.by, 10))),
        Span::styled(cut(&what, width.saturating_sub(84)), look.dim()),
    ])
}

fn style(model: &Model, state: RunState) -> Style {
    let look = model.ui.look;
    match state {
        RunState::Failed | RunState::Interrupted => look.bad(),
        RunState::Succeeded => look.good(),
        RunState::Running | RunState::Queued => look.label(),
        RunState::Cancelled => look.dim(),
        RunState::Foreign(_) => look.blind(),
    }
}

fn ended(run: &Run, now: Timestamp) -> String {
    let ago = run.finished.map(|finished| format!(" {} ago", age(span(finished, now))));
    format!("{}{}", run.state.name(), ago.unwrap_or_default())
}

fn until(next: Timestamp, now: Timestamp) -> String {
    if next <= now { "due".to_owned() } else { clock(span(now, next)) }
}
