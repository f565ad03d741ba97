//! What is known of an account, a job, a run, a dead letter or a drill, in words and whole: a list has no room for it.

use super::{
    proof::{self, times},
    sheet::Sheet,
};
use crate::{
    model::{
        JobLine, Model,
        jobs::{Job, Run},
        letters::Letter,
        report::span,
        ui::Screen,
    },
    text::{age, clock, counted, grouped},
};
use jiff::Timestamp;

/// Of what is selected on the screen that is shown; nothing where the board or models have words of their own.
pub fn of_selected(sheet: &mut Sheet, model: &Model) {
    match model.ui.screen {
        Screen::Usage => account(sheet, model),
        Screen::Jobs => {
            let now = model.shown().time_of("rollup");
            match model.selected_job() {
                Some(JobLine::Job(job)) => of_job(sheet, job, now),
                Some(JobLine::Run(run)) => of_run(sheet, run, now),
                None => {}
            }
        }
        Screen::Letters => {
            model.selected_letter().into_iter().for_each(|letter| of_letter(sheet, letter, model.shown().time_of("ingest")));
        }
        Screen::Drills => drill(sheet, model),
        Screen::Board | Screen::Models => {}
    }
}

/// When it was, and how long ago by the same clock.
fn at(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or("not known".to_owned(), |time| format!("{} UTC, {} ago", time.strftime("%F %T"), age(span(time, now))))
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn account(sheet: &mut Sheet, model: &Model) {
    let world = model.shown();
    let Some(account) = model.selected_account() else { return };
    sheet.plain("ACCOUNT", &account.account);
    let (messages, segments) =
        (counted(account.messages, "message", "messages"), counted(account.segments, "segment", "segments"));
    sheet.plain("USED", &format!("{messages}, {segments} in the last 24 h"));
    for (place, (currency, micros)) in account.amounts.iter().enumerate() {
        sheet.plain(if place == 0 { "AMOUNT" } else { "" }, &super::usage::amount(currency, *micros));
    }
    let Some(delivery) = world.usage.delivery.get(&account.account) else {
        let dim = sheet.look.dim();
        sheet.say("DELIVERY", "not asked yet", dim);
        return;
    };
    let share = |share: Option<f64>| share.map_or("not known".to_owned(), |share| format!("{:.2} %", share * 100.0));
    let old = age(world.now.since(delivery.at));
    sheet.plain(
        "DELIVERY",
        &format!("{} of those with a final report; {} have one; {old} old", share(delivery.rate), share(delivery.maturity)),
    );
    if let Some(p99) = delivery.p99 {
        sheet.plain("", &format!("99 of 100 within {}", proof::seconds(p99)));
    }
}

fn of_job(sheet: &mut Sheet, job: &Job, now: Timestamp) {
    sheet.plain("JOB", &job.name);
    sheet.plain("WHAT", &job.description);
    let next =
        job.next_at.map(|next| if next <= now { ", due".to_owned() } else { format!(", next in {}", clock(span(now, next))) });
    sheet.plain("SCHEDULE", &format!("{}{}", or(&job.schedule, "on request"), next.unwrap_or_default()));
    for (label, run) in [("NOW", &job.current), ("LAST", &job.last)] {
        if let Some(run) = run {
            sheet.gap();
            sheet.plain(label, &run.state.name());
            of_run(sheet, run, now);
        }
    }
}

fn of_run(sheet: &mut Sheet, run: &Run, now: Timestamp) {
    let tried = if run.attempt > 1 { format!(", try {}", run.attempt) } else { String::new() };
    sheet.plain("RUN", &format!("{} of {}, asked for by {}{tried}", run.id, run.job, or(&run.by, "nobody known")));
    sheet.plain("STATE", &run.state.name());
    sheet.plain("BEGAN", &at(run.started, now));
    if run.finished.is_some() {
        sheet.plain("ENDED", &at(run.finished, now));
    }
    if let Some(took) = run.lasts(now) {
        let of = if run.total > 0 { format!(" of {}", grouped(run.total)) } else { String::new() };
        sheet.plain("TOOK", &format!("{}, {}{of} done", proof::seconds(took), grouped(run.done)));
    }
    for (label, text) in [("NOTE", &run.note), ("WITH", &run.parameters), ("RESULT", &run.result)] {
        if !text.is_empty() {
            sheet.plain(label, text);
        }
    }
}

fn of_letter(sheet: &mut Sheet, letter: &Letter, now: Timestamp) {
    let bad = sheet.look.bad();
    sheet.say("REASON", &letter.reason, bad);
    sheet.plain("WHY", &letter.detail);
    sheet.plain("ACCOUNT", &or(&letter.account, "not told by its payload"));
    sheet.plain("STOOD", &format!("in {} at {}", letter.stream, grouped(letter.sequence)));
    sheet.plain("RECORDED", &at(letter.recorded_at, now));
    sheet.plain("EVENT", &at(letter.event_time, now));
}

/// What a drill does, and what it has proven, with its fault and without.
fn drill(sheet: &mut Sheet, model: &Model) {
    let (look, world) = (model.ui.look, model.shown());
    let Some(listed) = model.selected_drill() else { return };
    let endpoint = &world.endpoints[listed.endpoint];
    let drill = endpoint.drills.drill(listed.mode);
    sheet.plain("MODE", &format!("{} {}", listed.mode, world.mode(listed.mode).map_or("", |mode| &mode.title)));
    sheet.plain("BY", &format!("{} {}", endpoint.name(), endpoint.address));
    if let Some(drill) = drill {
        sheet.plain("FAULT", &drill.fault);
        sheet.plain("REMEDY", &or(&drill.remedy, "none: it must close by itself"));
        if let Some(why) = &drill.unavailable {
            sheet.say("OFF", why, look.blind());
        }
    }
    let (words, style) = proof::long(world.proof_at(listed.endpoint, listed.mode), look, world.now);
    sheet.say("PROOF", &words, style);
    let control = endpoint.drills.controls.get(listed.mode).or_else(|| drill.and_then(|drill| drill.control.as_ref()));
    let control = control.map(|run| format!("{} {} ago: {} {}", run.found(), age(run.age(world.now)), times(run), run.detail));
    sheet.plain("CONTROL", control.as_deref().unwrap_or("never run without its fault"));
}
