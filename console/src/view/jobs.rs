//! Background jobs with their schedules, and their runs with progress.

use super::{
    pane::{Hit, NOTHING_PASSES, awaited, hits, lines, mark, pane, scrolled},
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

/// Widths by the room there is; one of 0 is not shown.
#[derive(Debug, Clone, Copy)]
struct Columns {
    width: usize,
    job: usize,
    schedule: usize,
    last: usize,
    gauge: usize,
    by: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let (job, schedule, last, gauge, by) = match width {
            0..70 => (14, 12, 18, 8, 0),
            70..100 => (20, 14, 26, 8, 10),
            100.. => (20, 16, 26, 16, 10),
        };
        Self { width, job, schedule, last, gauge, by }
    }

    /// For what a job does: what the other columns leave.
    fn description(self) -> usize {
        self.width.saturating_sub(self.job + self.schedule + self.last + 14)
    }

    /// For what a run does, or came to.
    fn what(self) -> usize {
        let by = if self.by > 0 { self.by + 1 } else { 0 };
        self.width.saturating_sub(self.job + self.gauge + by + 36)
    }

    fn heading(self) -> String {
        let what = if self.description() >= LEAST { "WHAT" } else { "" };
        let (job, schedule) = (fit("JOB", self.job), fit("SCHEDULE", self.schedule));
        format!(" {job} {schedule} {} {} {what}", right("NEXT IN", 9), fit("LAST", self.last))
    }

    fn heading_of_runs(self) -> String {
        let by = if self.by > 0 { fit("BY", self.by) + " " } else { String::new() };
        let (job, done) = (fit("RUN OF", self.job), fit("DONE", self.gauge + 5));
        let what = if self.what() >= LEAST { "WHAT" } else { "" };
        format!(" {job} {} {} {} {done} {by}{what}", fit("STATE", 12), right("ENDED", 5), right("TOOK", 8))
    }
}

/// Fewer columns of words say nothing.
const LEAST: usize = 8;

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
    let columns = Columns::of(inner.width.into());
    let listed = model.job_lines();
    let ids: Vec<String> = listed.iter().map(JobLine::id).collect();
    let cursor = model.ui.job.place(ids.iter()).unwrap_or(0);
    let mut drawn = Vec::new();
    if let Some(error) = &jobs.error {
        drawn.push(Line::styled(cut(&format!(" {error}"), columns.width), look.blind()));
    }
    drawn.push(Line::styled(columns.heading(), look.dim()));
    // Times of runs are by the clock of who ran them.
    let now = world.time_of("rollup");
    let (mut at, mut rows) = (0, Vec::new());
    for (place, listed) in listed.iter().enumerate() {
        if matches!(listed, JobLine::Run(_)) && (place == 0 || matches!(ids.get(place - 1), Some(id) if id.starts_with("job "))) {
            drawn.push(Line::default());
            drawn.push(Line::styled(columns.heading_of_runs(), look.dim()));
        }
        if place == cursor {
            at = drawn.len();
        }
        rows.push((drawn.len(), place));
        let line = match listed {
            JobLine::Job(job) => job_line(model, job, now, columns, mark(place == cursor)),
            JobLine::Run(run) => run_line(model, run, now, columns, mark(place == cursor)),
        };
        drawn.push(if place == cursor { line.patch_style(look.selected()) } else { line });
    }
    if jobs.at.is_none() {
        drawn.push(awaited(model, "rollup"));
    } else if listed.is_empty() && !jobs.jobs.is_empty() {
        drawn.push(Line::styled(NOTHING_PASSES, look.dim()));
    }
    let first = scrolled(at, drawn.len(), inner.height.into());
    lines(frame, inner, drawn.into_iter().skip(first));
    hits(inner, first, rows)
}

fn zone(name: &str) -> &str {
    if name.is_empty() { "UTC" } else { name }
}

fn job_line(model: &Model, job: &Job, now: Timestamp, columns: Columns, mark: &str) -> Line<'static> {
    let schedule = if job.schedule.is_empty() { "on request" } else { &job.schedule };
    let next = job.next_at.map_or("-".to_owned(), |next| until(next, now));
    let (last, style) = match (&job.current, &job.last) {
        (Some(run), _) => (format!("{} now", run.state.name()), model.ui.look.label()),
        (None, Some(run)) => (ended(run, now), style(model, run.state)),
        (None, None) => ("never".to_owned(), model.ui.look.dim()),
    };
    let (name, schedule) = (fit(&job.name, columns.job), fit(schedule, columns.schedule));
    let room = columns.description();
    let what = if room >= LEAST { cut(&job.description, room) } else { String::new() };
    Line::from_iter([
        Span::raw(format!("{mark}{name} {schedule} {} ", right(&next, 9))),
        Span::styled(fit(&last, columns.last) + " ", style),
        Span::styled(what, model.ui.look.dim()),
    ])
}

fn run_line(model: &Model, run: &Run, now: Timestamp, columns: Columns, mark: &str) -> Line<'static> {
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
    let by = if columns.by > 0 { fit(&run.by, columns.by) + " " } else { String::new() };
    let what = if columns.what() >= LEAST { cut(&what, columns.what()) } else { String::new() };
    Line::from_iter([
        Span::raw(format!("{mark}{} ", fit(&run.job, columns.job))),
        Span::styled(fit(&run.state.name(), 12) + " ", style(model, run.state)),
        Span::raw(format!("{} {} ", right(&ago, 5), right(&took, 8))),
        Span::styled(gauge(share, columns.gauge), look.bar()),
        Span::raw(format!(" {percent} {by}")),
        Span::styled(what, look.dim()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_stand_over_their_columns_and_within_the_pane() {
        for width in 56..250 {
            let columns = Columns::of(width);
            for heading in [columns.heading(), columns.heading_of_runs()] {
                assert!(heading.trim_end().len() <= width, "{width}: {heading}");
            }
        }
        let columns = Columns::of(118);
        assert_eq!((columns.heading().find("WHAT"), columns.description()), (Some(76), 42));
        assert_eq!(columns.heading_of_runs().find("WHAT"), Some(118 - columns.what()));
    }
}
