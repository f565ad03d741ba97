//! The one way in which anything changes: `update(&mut Model, Msg, now) -> Vec<Effect>`. It does no I/O and reads no clock.

pub mod able;
pub mod aim;
pub mod asking;
pub mod attend;
pub mod card;
pub mod cursor;
pub mod input;
pub mod keys;
pub mod mouse;
pub mod past;
pub mod typing;
pub mod yank;

use crate::{
    model::{
        DrillLine, JobLine, Model,
        ui::{Overlay, Pane, Screen},
    },
    moment::Moment,
    msg::{Answer, Effect, Input, Msg, What},
    text::clean,
};
use std::time::Duration;

/// For how long a word to the operator stays.
const NOTICE: Duration = Duration::from_secs(6);

/// Takes a message. What follows from the passing of time is drawn by [`settle`].
pub fn update(model: &mut Model, msg: Msg, now: Moment) -> Vec<Effect> {
    model.now = now;
    if !model.offline {
        model.recorder.push(now, &msg);
    }
    match msg {
        Msg::Input(Input { what: What::Done { ticket, done }, .. }) => {
            card::done(model, ticket, done, now);
            Vec::new()
        }
        Msg::Input(Input { what: What::Failed { ticket, failure }, .. }) => {
            card::failed(model, ticket, failure, now);
            Vec::new()
        }
        Msg::Input(input) => {
            let top = matches!(input.what, What::Answer(Answer::Top(_)));
            let effect = input::apply(&mut model.world, input, now);
            if top {
                model.ui.deliveries = model.world.usage.accounts.iter().map(|account| account.account.clone()).collect();
            }
            effect.into_iter().collect()
        }
        Msg::Key(chord) => {
            settle(model, now);
            let effects = keys::press(model, chord, now);
            cursors(model);
            effects
        }
        Msg::Repeat(chord) => {
            settle(model, now);
            let effects = keys::repeat(model, chord, now);
            cursors(model);
            effects
        }
        Msg::Mouse(mouse) => {
            settle(model, now);
            let effects = mouse::used(model, mouse, now);
            cursors(model);
            effects
        }
        Msg::Focus(there) => {
            if !there {
                card::lapse(model, "the terminal was left");
            }
            Vec::new()
        }
        Msg::Paste(text) => {
            paste(model, &text);
            Vec::new()
        }
        Msg::Tick => tick(model, now),
        Msg::Resized => Vec::new(),
        Msg::Quit => vec![Effect::Quit],
        Msg::Suspend => {
            card::lapse(model, "the terminal was left");
            vec![Effect::Suspend]
        }
        Msg::Drawn { waited, seen } => {
            model.ui.lag = waited.unwrap_or(model.ui.lag);
            model.ui.scroll = model.ui.scroll.min(seen.deepest);
            model.ui.hidden = seen.hidden;
            if model.ui.is_hidden(model.ui.pane) {
                model.ui.pane = Pane::Modes;
            }
            card::drawn(model, now);
            Vec::new()
        }
    }
}

/// Brings the board and the cursors up to what is known; before drawing, once for all messages.
pub fn settle(model: &mut Model, now: Moment) {
    model.now = now;
    model.world.settle(now);
    cursors(model);
}

/// Brings the lists and the cursors in them up to what is shown of them.
fn cursors(model: &mut Model) {
    model.list();
    let mut row = model.ui.row.clone();
    row.settle(model.rows().iter().map(|row| &row.id));
    model.ui.row = row;
    match model.ui.screen {
        Screen::Board => {}
        Screen::Usage => {
            let mut account = model.ui.account.clone();
            account.settle(model.accounts().iter().map(|account| &account.account));
            model.ui.account = account;
        }
        Screen::Jobs => {
            let jobs: Vec<_> = model.job_lines().iter().map(JobLine::id).collect();
            model.ui.job.settle(jobs.iter());
        }
        Screen::Letters => {
            let mut letter = model.ui.letter.clone();
            letter.settle(model.letters().iter().map(|letter| &letter.id));
            model.ui.letter = letter;
        }
        Screen::Models => {
            let lines: Vec<_> = model.registered_lines().iter().map(|line| line.id()).collect();
            model.ui.registered.settle(lines.iter());
        }
        Screen::Drills => {
            let drills: Vec<_> = model.drill_lines().iter().map(DrillLine::id).collect();
            model.ui.drill.settle(drills.iter());
        }
    }
}

fn tick(model: &mut Model, now: Moment) -> Vec<Effect> {
    model.world.pass(now);
    card::pass(model, now);
    if model.ui.notice.as_ref().is_some_and(|(_, since)| now.since(*since) >= NOTICE) {
        model.ui.notice = None;
    }
    if let Some(replay) = model.replay.as_mut().filter(|replay| replay.playing) {
        let at = replay.at + Duration::from_secs(1);
        past::seek(model, at);
    }
    if model.offline { Vec::new() } else { asking::due(model, now) }
}

/// Pasted text goes where text is typed, and nowhere else: it is no key presses.
fn paste(model: &mut Model, pasted: &str) {
    let pasted = clean(pasted);
    if let Some(card) = &mut model.ui.card {
        card.word = Some("pasted text confirms nothing: type it".to_owned());
        return;
    }
    match &mut model.ui.overlay {
        Some(Overlay::Note { text, .. }) => text.push_str(&pasted),
        Some(Overlay::Palette { text, cursor }) => {
            text.push_str(&pasted);
            *cursor = 0;
        }
        Some(Overlay::Filter { .. }) => model.ui.filter_mut().push_str(&pasted),
        _ => model.ui.notice = Some(("pasted text is not taken for keys".to_owned(), model.now.elapsed)),
    }
}
