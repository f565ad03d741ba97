//! What is about to be done: what it would do, how it is confirmed, and for how long it can be.

use super::{
    pane::{lines, overlay},
    proof::seconds,
    sheet::Sheet,
};
use crate::{
    model::{
        Model,
        hand::{Card, Intent, Stage},
        remedy::{Change, Plan, takes_y},
    },
    text::{clock, cut, grouped},
};
use loadline_proto::health::Reversibility;
use ratatui::{Frame, text::Line};

const COLUMNS: u16 = 76;

/// Draws it over the screen.
pub fn draw(model: &Model, frame: &mut Frame<'_>, card: &Card) {
    let look = model.ui.look;
    let width = COLUMNS.min(frame.area().width).saturating_sub(2);
    let text = text(model, card, width.into());
    let rows = u16::try_from(text.len()).unwrap_or(u16::MAX).saturating_add(2);
    let title = match card.intent {
        Intent::Remedy { plan: None, .. } => "PLAN REQUESTED",
        Intent::Remedy { .. } => "PLAN",
        Intent::Undo { .. } => "UNDO",
        Intent::Drill { .. } => "DRILL",
    };
    let title = format!(" {title}  {} ", card.words());
    let title = Line::styled(cut(&title, width.into()), look.strong());
    // What confirms it is at the end: on a low screen the effects are cut, never that.
    let inner = overlay(frame, look, title, COLUMNS, rows);
    let skip = text.len().saturating_sub(inner.height.into());
    lines(frame, inner, text.into_iter().skip(skip));
}

fn text(model: &Model, card: &Card, width: usize) -> Vec<Line<'static>> {
    let mut sheet = Sheet::new(model.ui.look, width);
    if let Some(endpoint) = model.world.endpoints.get(card.endpoint) {
        sheet.plain("ASKS", &format!("{} {}", endpoint.name(), endpoint.address));
    }
    match &card.intent {
        Intent::Remedy { plan: Some(plan), .. } => of_plan(&mut sheet, plan),
        Intent::Remedy { plan: None, .. } => sheet.plain("PLAN", "awaited; nothing is done by it"),
        Intent::Undo { plan, .. } => {
            sheet.plain("TAKES", "back what this remedy did:");
            changes(&mut sheet, "DID", &plan.changes);
        }
        Intent::Drill { control, fault, remedy, severity, .. } => {
            let fault = if *control { "none: nothing may open" } else { fault.as_str() };
            sheet.plain("FAULT", fault);
            sheet.plain("REMEDY", if remedy.is_empty() { "none: it must close by itself" } else { remedy });
            if let Some(severity) = severity {
                let style = sheet.look.severity(*severity);
                sheet.say("CAUSES", &format!("{severity} {}, on purpose", severity.meaning()), style);
            }
        }
    }
    sheet.gap();
    standing(&mut sheet, model, card);
    sheet.lines
}

fn of_plan(sheet: &mut Sheet, plan: &Plan) {
    if !plan.target.is_empty() {
        sheet.plain("TARGET", &plan.target);
    }
    changes(sheet, "EFFECT", &plan.changes);
    let undo = plan.undo_within.map(|time| format!(", within {} of its end", clock(time))).unwrap_or_default();
    let words = match plan.reversibility {
        Reversibility::Safe => "safe: twice is as good as once".to_owned(),
        Reversibility::Undoable => format!("can be taken back{undo}"),
        Reversibility::LossPossible => format!("LOSS POSSIBLE{undo}"),
        Reversibility::Irreversible => "IRREVERSIBLE: cannot be taken back".to_owned(),
        Reversibility::Unspecified => "not known here: taken for irreversible".to_owned(),
    };
    let style = if takes_y(plan.reversibility) { sheet.look.good() } else { sheet.look.bad() };
    sheet.say("MISTAKE", &words, style);
    if let Some(expected) = plan.expected {
        sheet.plain("TAKES", &format!("about {}", seconds(expected)));
    }
    if !plan.world.is_empty() {
        let by = if plan.by.is_empty() { String::new() } else { format!(", planned by {}", plan.by) };
        let style = sheet.look.dim();
        sheet.say("WORLD", &format!("{}{by}", cut(&plan.world, 40)), style);
    }
}

fn changes(sheet: &mut Sheet, label: &str, changes: &[Change]) {
    for (place, change) in changes.iter().enumerate() {
        let label = if place == 0 { label } else { "" };
        sheet.plain(label, &format!("{}: {}", change.text, grouped(change.count)));
    }
    if changes.is_empty() {
        sheet.plain(label, "none is stated");
    }
}

/// Which of several counts is to be typed, by what it counts.
fn counted_by(card: &Card, count: &str) -> String {
    let Intent::Remedy { plan: Some(plan), .. } = &card.intent else { return "the count of the plan".to_owned() };
    let of = plan.changes.iter().find(|change| change.count.to_string() == count);
    of.map_or("the count of the plan".to_owned(), |change| format!("the count of `{}`", cut(&change.text, 40)))
}

/// How far it is, and what the operator can do.
fn standing(sheet: &mut Sheet, model: &Model, card: &Card) {
    let look = sheet.look;
    match &card.stage {
        Stage::Planning { since, .. } => {
            sheet.plain("STATE", &format!("requested {} ago, no answer yet; Esc gives up", clock(model.now.since(*since))));
        }
        Stage::Ready { expires, .. } => {
            let left = expires.saturating_sub(model.now.elapsed);
            sheet.plain("EXPIRES", &format!("in {}", clock(left)));
            match card.confirm() {
                Some("y") => sheet.say("CONFIRM", "y does it, Esc gives up", look.strong()),
                Some(count) => {
                    sheet.say("CONFIRM", &format!("type {}", counted_by(card, count)), look.strong());
                    sheet.say("", &format!("then Enter: {}_   Esc gives up", card.typed), look.strong());
                }
                None => {}
            }
        }
        Stage::Over(why) => {
            sheet.say("OVER", why, look.bad());
            sheet.plain("", "Enter or Esc closes this");
        }
    }
    if let Some(word) = &card.word {
        sheet.say("", word, look.blind());
    }
}
