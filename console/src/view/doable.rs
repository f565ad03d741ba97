//! What is done and can be done about a mode: who looks after it, its remedies, what its drill has shown.

use super::{
    actions, proof,
    sheet::{LABEL, Sheet},
};
use crate::{
    action::Action,
    model::{Model, drill::Proof, report::Report},
    moment::Moment,
    text::clock,
    update::{
        able::{disabled, row_actions},
        aim,
    },
};
use ratatui::style::Style;

/// Who has taken or muted it, and what they say.
pub fn looked_after(sheet: &mut Sheet, report: &Report, now: Moment) {
    let muted = report.muted_for(now);
    let note = if report.note.is_empty() { String::new() } else { format!(": {}", report.note) };
    if !report.taken_by.is_empty() {
        sheet.plain("ACK BY", &format!("{}{}", report.taken_by, if muted.is_none() { note.as_str() } else { "" }));
    }
    if let Some(left) = muted {
        sheet.plain("MUTED", &format!("for {} more{note}", clock(left)));
    }
}

/// What drills have shown of it.
pub fn proven(sheet: &mut Sheet, model: &Model, id: &str) {
    sheet.gap();
    let world = model.shown();
    let proof = world.proof(id);
    let (words, style) = proof::long(proof, sheet.look, world.now);
    sheet.say("PROOF", &words, style);
    if proof == Proof::Never && aim::has_drill(model, id) {
        let hint = format!("{} runs its drill", model.keys.written(Action::Drill));
        let dim = sheet.look.dim();
        sheet.say("", &hint, dim);
    }
}

/// Its remedies, each with the reason where it is off.
pub fn remedies(sheet: &mut Sheet, model: &Model) {
    let actions: Vec<Action> = row_actions(model).into_iter().filter(|action| action.remedy().is_some()).collect();
    if actions.is_empty() {
        return;
    }
    sheet.gap();
    let reasons: Vec<_> = actions.iter().map(|action| disabled(model, *action)).collect();
    // What holds for all of them is said once.
    let common = reasons.iter().all(|reason| *reason == reasons[0]);
    let dim = sheet.look.dim();
    for (place, (action, reason)) in actions.into_iter().zip(&reasons).enumerate() {
        let (label, line) = (if place == 0 { "ACTIONS" } else { "" }, actions::short(model, action, reason.is_some(), 1));
        match line.width() + LABEL < sheet.width {
            true => sheet.put(label, line),
            // What becomes of a mistake is at its end, and is never cut off.
            false => sheet.say(label, &line.to_string(), if reason.is_some() { dim } else { Style::new() }),
        }
        if let Some(reason) = reason.as_ref().filter(|_| !common) {
            sheet.say("", &format!("  - {reason}"), dim);
        }
    }
    if let Some(Some(reason)) = reasons.first().filter(|_| common) {
        sheet.say("", &format!("off: {reason}"), dim);
    }
}
