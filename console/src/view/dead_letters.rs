//! Dead letters: how many of which kind, and each with its reason.

use super::{
    pane::{Hit, NOTHING_PASSES, awaited, hits, lines, mark, pane, scrolled, shortened},
    theme::Look,
    title::{old, title},
};
use crate::{
    action::Action,
    model::{Model, letters::Letter, report::span},
    msg::Topic,
    text::{age, cut, fit, grouped, right},
};
use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Widths by the room there is; a sequence is shown where there is room for it.
#[derive(Debug, Clone, Copy)]
struct Columns {
    stream: usize,
    sequence: usize,
    account: usize,
    why: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let (stream, sequence, account) = match width {
            0..70 => (8, 0, 10),
            70..100 => (10, 0, 14),
            100.. => (10, 12, 20),
        };
        // Mark, id, age, reason, and the blanks between.
        let used = stream + sequence + usize::from(sequence > 0) + account + 30;
        Self { stream, sequence, account, why: width.saturating_sub(used) }
    }

    fn heading(self) -> String {
        let sequence = if self.sequence > 0 { right("SEQUENCE", self.sequence) + " " } else { String::new() };
        let (stream, account) = (fit("STREAM", self.stream), fit("ACCOUNT", self.account));
        format!(
            " {} {} {stream} {sequence}{} {account} {}",
            right("ID", 8),
            right("AGE", 4),
            fit("REASON", 12),
            cut("WHY", self.why)
        )
    }

    fn line(self, look: Look, letter: &Letter, now: Timestamp, mark: &str) -> Line<'static> {
        // From when it was appended to the log, by the clock of who keeps it.
        let old = letter.recorded_at.map_or("-".to_owned(), |at| age(span(at, now)));
        let sequence = if self.sequence > 0 { right(&letter.sequence.to_string(), self.sequence) + " " } else { String::new() };
        let account = if letter.account.is_empty() { "-" } else { &letter.account };
        Line::from_iter([
            Span::raw(format!("{mark}{} {} ", right(&letter.id.to_string(), 8), right(&old, 4))),
            Span::raw(format!("{} {sequence}", fit(&letter.stream, self.stream))),
            Span::styled(fit(&letter.reason, 12) + " ", look.label()),
            Span::raw(fit(account, self.account) + " "),
            Span::styled(cut(&letter.detail, self.why), look.dim()),
        ])
    }
}

/// Draws the screen; where its rows are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let (look, world) = (model.ui.look, model.shown());
    let all = &world.letters;
    let title = title(model, "DEAD LETTERS", old(model, Topic::Letters, all.at), Span::raw(""), area);
    let inner = pane(frame, look, area, title, true);
    let width = usize::from(inner.width);
    let columns = Columns::of(width);
    let mut drawn = vec![totals(model, width)];
    if let Some(error) = &all.error {
        drawn.push(Line::styled(cut(&format!(" {error}"), width), look.blind()));
    }
    drawn.push(Line::styled(columns.heading(), look.dim()));
    let letters = model.letters();
    let ids: Vec<u64> = letters.iter().map(|letter| letter.id).collect();
    let cursor = model.ui.letter.place(ids.iter()).unwrap_or(0);
    let room = usize::from(inner.height).saturating_sub(drawn.len());
    let (first, head, now) = (scrolled(cursor, letters.len(), room), drawn.len(), world.time_of("ingest"));
    for (place, letter) in letters.iter().enumerate().skip(first).take(room) {
        let line = columns.line(look, letter, now, mark(place == cursor));
        drawn.push(if place == cursor { line.patch_style(look.selected()) } else { line });
    }
    let hits = hits(inner, 0, (head..drawn.len()).zip(first..));
    if all.at.is_none() {
        drawn.push(awaited(model, "ingest"));
    } else if letters.is_empty() && !all.letters.is_empty() {
        drawn.push(Line::styled(NOTHING_PASSES, look.dim()));
    }
    lines(frame, inner, drawn);
    hits
}

/// How many are open, by reason, and that not all of them are listed while they are not.
fn totals(model: &Model, width: usize) -> Line<'static> {
    let (look, all) = (model.ui.look, &model.shown().letters);
    let totals: Vec<String> = all.totals.iter().map(|(reason, count)| format!("{reason} {}", grouped(*count))).collect();
    let totals = match (all.at, totals.is_empty()) {
        (None, _) => "not known yet".to_owned(),
        (Some(_), true) => "none".to_owned(),
        (Some(_), false) => totals.join("  "),
    };
    let mut line = Line::from_iter([Span::styled(" open: ", look.label()), Span::raw(totals)]);
    if !all.next_page.is_empty() {
        let key = model.keys.keys(Action::Bottom).first().map(ToString::to_string).unwrap_or_default();
        let text = format!("  only {} are listed, {key} fetches more", grouped(all.letters.len() as u64));
        line.push_span(Span::styled(text, look.blind()));
    }
    shortened(line, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_as_wide_as_what_is_below_it_at_any_width() {
        for width in 60..250 {
            let columns = Columns::of(width);
            let line = columns.line(Look::default(), &Letter { detail: "x".repeat(300), ..letter() }, Timestamp::UNIX_EPOCH, " ");
            assert_eq!(line.width(), width);
            let (heading, line) = (columns.heading(), line.to_string());
            assert_eq!(heading.find("WHY"), line.find('x'), "{heading}\n{line}");
        }
    }

    fn letter() -> Letter {
        Letter {
            id: 12_345_678,
            stream: "BILLING".to_owned(),
            sequence: 7,
            reason: "undecodable".to_owned(),
            detail: String::new(),
            account: String::new(),
            event_time: None,
            recorded_at: None,
        }
    }
}
