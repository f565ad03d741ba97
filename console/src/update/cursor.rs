//! The cursor of each screen: moved by rows, put on one, and sent to the next that is not as it should be.

use super::{able::row_actions, asking};
use crate::{
    model::{
        DrillLine, JobLine, Model, RegisteredLine,
        board::Row,
        drill::Proof,
        jobs::{Run, RunState},
        ui::{Overlay, Pane, Screen},
    },
    moment::Moment,
    msg::Effect,
};

/// Moves by so many rows, or lines of what is read, as far as it goes.
pub fn step(model: &mut Model, by: isize, now: Moment) -> Vec<Effect> {
    if let Some(Overlay::Actions { cursor }) = model.ui.overlay {
        let last = row_actions(model).len().saturating_sub(1);
        model.ui.overlay = Some(Overlay::Actions { cursor: cursor.saturating_add_signed(by).min(last) });
        return Vec::new();
    }
    let in_detail = model.ui.screen == Screen::Board && model.ui.pane == Pane::Detail;
    if model.ui.overlay.is_some() || in_detail {
        model.ui.scroll = model.ui.scroll.saturating_add_signed(by).min(1_000);
        return Vec::new();
    }
    match (model.ui.screen, model.ui.pane) {
        (Screen::Board, Pane::Services) => {
            let services: Vec<usize> = (0..model.shown().endpoints.len()).collect();
            model.ui.service.step(services.iter(), by);
        }
        (Screen::Board, Pane::Timeline) => {
            let last = model.shown().timeline.events().len().saturating_sub(1);
            model.ui.back = model.ui.back.saturating_add_signed(by.saturating_neg()).min(last);
        }
        (Screen::Board, _) => {
            let mut row = model.ui.row.clone();
            row.step(model.rows().iter().map(|row| &row.id), by);
            model.ui.row = row;
        }
        (Screen::Usage, _) => {
            let accounts: Vec<String> = model.accounts().into_iter().map(|account| account.account.clone()).collect();
            model.ui.account.step(accounts.iter(), by);
        }
        (Screen::Jobs, _) => {
            let lines: Vec<String> = model.job_lines().iter().map(JobLine::id).collect();
            model.ui.job.step(lines.iter(), by);
        }
        (Screen::Drills, _) => {
            let drills: Vec<String> = model.drill_lines().iter().map(DrillLine::id).collect();
            model.ui.drill.step(drills.iter(), by);
        }
        (Screen::Models, _) => {
            let lines: Vec<_> = model.registered_lines().iter().map(|line| line.id()).collect();
            model.ui.registered.step(lines.iter(), by);
        }
        (Screen::Letters, _) => {
            let letters: Vec<u64> = model.letters().into_iter().map(|letter| letter.id).collect();
            model.ui.letter.step(letters.iter(), by);
            let at_end = letters.last() == model.ui.letter.id();
            if by > 0 && at_end && model.replay.is_none() {
                return asking::next_page(model, now).into_iter().collect();
            }
        }
    }
    Vec::new()
}

/// Goes to the row at a place of what is listed.
pub fn select(model: &mut Model, place: usize) {
    match model.ui.screen {
        Screen::Board => {
            let mut row = model.ui.row.clone();
            row.hold(model.rows().iter().map(|row| &row.id), place);
            model.ui.row = row;
        }
        Screen::Usage => {
            let accounts: Vec<String> = model.accounts().into_iter().map(|account| account.account.clone()).collect();
            model.ui.account.hold(accounts.iter(), place);
        }
        Screen::Jobs => {
            let lines: Vec<String> = model.job_lines().iter().map(JobLine::id).collect();
            model.ui.job.hold(lines.iter(), place);
        }
        Screen::Letters => {
            let letters: Vec<u64> = model.letters().into_iter().map(|letter| letter.id).collect();
            model.ui.letter.hold(letters.iter(), place);
        }
        Screen::Drills => {
            let drills: Vec<String> = model.drill_lines().iter().map(DrillLine::id).collect();
            model.ui.drill.hold(drills.iter(), place);
        }
        Screen::Models => {
            let lines: Vec<_> = model.registered_lines().iter().map(|line| line.id()).collect();
            model.ui.registered.hold(lines.iter(), place);
        }
    }
}

/// To the next or previous row that is not as it should be, around the end.
///
/// # Errors
/// When there is none.
pub fn next_match(model: &mut Model, forward: bool) -> Result<(), String> {
    let (here, wrong) = wrong(model);
    let next = match forward {
        true => wrong.iter().find(|place| **place > here).or(wrong.first()),
        false => wrong.iter().rev().find(|place| **place < here).or(wrong.last()),
    };
    let place = next.ok_or_else(|| "nothing here is otherwise than it should be".to_owned())?;
    select(model, *place);
    Ok(())
}

/// Where the cursor is, and at which places something is not as it should be.
fn wrong(model: &Model) -> (usize, Vec<usize>) {
    fn those(rows: impl Iterator<Item = bool>) -> Vec<usize> {
        rows.enumerate().filter(|(_, wrong)| *wrong).map(|(place, _)| place).collect()
    }
    match model.ui.screen {
        Screen::Board => (model.cursor().unwrap_or(0), those(model.rows().into_iter().map(Row::counts))),
        Screen::Jobs => {
            let (lines, failed) = (model.job_lines(), |run: &Run| matches!(run.state, RunState::Failed | RunState::Interrupted));
            let ids: Vec<String> = lines.iter().map(JobLine::id).collect();
            let wrong = lines.iter().map(|line| match line {
                JobLine::Job(job) => job.run().is_some_and(failed),
                JobLine::Run(run) => failed(run),
            });
            (model.ui.job.place(ids.iter()).unwrap_or(0), those(wrong))
        }
        Screen::Drills => {
            let (lines, world) = (model.drill_lines(), model.shown());
            let ids: Vec<String> = lines.iter().map(DrillLine::id).collect();
            let proven = |line: &DrillLine<'_>| matches!(world.proof_at(line.endpoint, line.mode), Proof::Passed(_));
            (model.ui.drill.place(ids.iter()).unwrap_or(0), those(lines.iter().map(|line| !proven(line))))
        }
        Screen::Models => {
            let lines = model.registered_lines();
            let ids: Vec<_> = lines.iter().map(|line| line.id()).collect();
            let wrong = lines.iter().map(|line| match line {
                RegisteredLine::Empty(_) => true,
                RegisteredLine::Alias(of, alias) => {
                    alias.drifted || of.version(alias.version).is_none_or(|version| !version.problem.is_empty())
                }
                RegisteredLine::Version(_, version) => !version.problem.is_empty(),
            });
            (model.ui.registered.place(ids.iter()).unwrap_or(0), those(wrong))
        }
        // Of what is listed there each passes the filter, and nothing is worse than the rest.
        Screen::Usage => {
            let ids: Vec<String> = model.accounts().into_iter().map(|account| account.account.clone()).collect();
            (model.ui.account.place(ids.iter()).unwrap_or(0), (0..ids.len()).collect())
        }
        Screen::Letters => {
            let ids: Vec<u64> = model.letters().into_iter().map(|letter| letter.id).collect();
            (model.ui.letter.place(ids.iter()).unwrap_or(0), (0..ids.len()).collect())
        }
    }
}
