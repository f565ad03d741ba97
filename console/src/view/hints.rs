//! The bottom line: what can be pressed, or what the operator is told, or what is typed.

use crate::{
    action::{ACTIONS, Action, Entry, Place},
    model::{
        Model,
        ui::{Overlay, Screen},
    },
    text::cut,
    update::able::disabled,
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Draws the line; where its keys are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<(Rect, Action)> {
    let look = model.ui.look;
    let line = match (&model.ui.overlay, &model.ui.notice) {
        (Some(Overlay::Filter { .. }), _) => {
            let typed = model.ui.filter(model.ui.screen);
            Line::from_iter([
                Span::styled(" filter /", look.label()),
                Span::raw(typed.to_owned()),
                Span::styled(" ", look.selected()),
                Span::styled("  Enter keeps it, Esc does not", look.dim()),
            ])
        }
        (Some(Overlay::Note { mode, mute, text }), notice) => {
            let (what, how) = if *mute {
                (format!(" mute {mode} for "), "30m why, a day at most; 0 ends it")
            } else {
                (format!(" acknowledge {mode}: "), "a note for the others")
            };
            let how = notice.as_ref().map_or(how, |(notice, _)| notice.as_str());
            Line::from_iter([
                Span::styled(what, look.label()),
                Span::raw(text.clone()),
                Span::styled(" ", look.selected()),
                Span::styled(format!("  {how}; Enter sends it, Esc does not"), look.dim()),
            ])
        }
        (_, Some((notice, _))) => Line::styled(cut(&format!(" {notice}"), area.width.into()), look.strong()),
        _ => {
            let (line, keys) = hints(model, area.width.into());
            frame.render_widget(line, area);
            let at = |(from, to, action): (usize, usize, Action)| {
                let (from, to) = (u16::try_from(from).ok()?, u16::try_from(to).ok()?);
                Some((Rect { x: area.x + from, width: to - from, ..area }.intersection(area), action))
            };
            return keys.into_iter().filter_map(at).collect();
        }
    };
    frame.render_widget(line, area);
    Vec::new()
}

/// The line, and from which column to which each action is named.
fn hints(model: &Model, width: usize) -> (Line<'static>, Vec<(usize, usize, Action)>) {
    let look = model.ui.look;
    let (mut line, mut keys) = (Line::raw(" "), Vec::new());
    // How to leave is there however little room there is.
    let quit = hint(model, Action::Quit.entry());
    let room = width.saturating_sub(quit.width());
    // Elsewhere no row has a drill, and the keys of that screen need the room.
    if matches!(model.ui.screen, Screen::Board | Screen::Drills) && unproven(model) {
        let way = format!("nothing proven yet: {}", first_drill(model));
        line.push_span(Span::styled(format!("{}  ", cut(&way, room.saturating_sub(3))), look.label()));
    }
    let replaying = model.replay.is_some();
    let hinted = ACTIONS.iter().filter(|entry| !entry.hint.is_empty() && disabled(model, entry.action).is_none());
    // While the past is shown, its own keys come first.
    let (own, other): (Vec<_>, Vec<_>) = hinted.partition(|entry| replaying && entry.place == Place::Replay);
    for entry in own.into_iter().chain(other).filter(|entry| entry.action != Action::Quit) {
        let hint = hint(model, entry);
        if line.width() + hint.width() > room {
            break;
        }
        // Without the blanks behind it.
        keys.push((line.width(), line.width() + hint.width().saturating_sub(2), entry.action));
        line.spans.extend(hint.spans);
    }
    line.spans.extend(quit.spans);
    (line, keys)
}

fn hint(model: &Model, entry: &Entry) -> Line<'static> {
    let key = model.keys.keys(entry.action).first().map(ToString::to_string).unwrap_or_default();
    let key = if entry.hint == "band" { format!("{key}-5") } else { key };
    let look = model.ui.look;
    Line::from_iter([Span::styled(key, look.strong()), Span::styled(format!(" {}  ", entry.hint), look.dim())])
}

/// The way from here to the first drill: what is done already is left out.
fn first_drill(model: &Model) -> String {
    let key = |action| model.keys.written(action);
    let no_row = model.ui.screen == Screen::Board && model.selected_row().is_none();
    let unfold = no_row.then(|| format!("{} shows modes, ", key(Action::Fold)));
    let operate = model.ui.operate.is_none().then(|| format!("{} operates, ", key(Action::Operate)));
    format!("{}{}{} drills a row", unfold.unwrap_or_default(), operate.unwrap_or_default(), key(Action::Drill))
}

/// There are drills, and none was ever run.
fn unproven(model: &Model) -> bool {
    let books = || model.shown().endpoints.iter().map(|endpoint| &endpoint.drills);
    let drills = || books().flat_map(|book| book.listed.iter().flatten());
    let run = books().any(|book| !book.runs.is_empty() || !book.controls.is_empty());
    drills().next().is_some() && !run && drills().all(|drill| drill.last.is_none() && drill.control.is_none())
}
