//! What can be done about what is selected: by which process, or why not.

use crate::{
    action::Action,
    model::{
        Model,
        board::RowId,
        drill::Drill,
        endpoint::{Endpoint, Link},
        remedy::{Offer, Run},
        report::Report,
        standing::{Knowledge, State},
        ui::Screen,
    },
};
use loadline_proto::health::Reversibility;

/// A remedy of the selected mode, and who has it.
#[derive(Debug, Clone, Copy)]
pub struct Aim<'a> {
    /// Of the selected row.
    pub mode: &'a str,
    /// The process that offers it.
    pub endpoint: usize,
    /// What it offers.
    pub offer: &'a Offer,
}

/// Why nothing at all can be done now.
fn still(model: &Model) -> Option<String> {
    if model.replay.is_some() {
        return Some("the past is shown".to_owned());
    }
    model.frozen.is_some().then(|| "the picture stands still; let it go first".to_owned())
}

/// Why this console may do nothing now.
fn read_only(model: &Model) -> Option<String> {
    let keys = model.keys.written(Action::Operate);
    model.ui.operate.is_none().then(|| format!("read-only: {keys} goes to operate mode"))
}

/// What stands between an operator and a process.
fn reach(model: &Model, endpoint: usize) -> Option<String> {
    let endpoint = &model.world.endpoints[endpoint];
    (endpoint.link != Link::Up).then(|| format!("{} {} is not connected", endpoint.name(), endpoint.address))
}

/// The mode that is selected.
pub fn mode(model: &Model) -> Result<&str, String> {
    let selected = match model.ui.screen {
        Screen::Board => model.selected_row().and_then(|row| match &row.id {
            RowId::Mode(id) => Some(id.as_str()),
            RowId::Endpoint(_) => None,
        }),
        Screen::Drills => model.selected_drill().map(|line| line.mode.as_str()),
        Screen::Usage | Screen::Jobs | Screen::Letters | Screen::Models => None,
    };
    selected.ok_or_else(|| "no failure mode is selected".to_owned())
}

/// Everybody who speaks of a mode.
fn reports<'a>(model: &'a Model, mode: &'a str) -> impl Iterator<Item = (usize, &'a Endpoint, &'a Report)> {
    let endpoints = model.world.endpoints.iter().enumerate();
    endpoints.filter_map(move |(index, endpoint)| endpoint.modes.get(mode).map(|report| (index, endpoint, report)))
}

/// Who offers a remedy of the selected mode: the process that the row is about, or else one that is seen.
fn offered<'a>(model: &'a Model, key: &str) -> Result<Aim<'a>, String> {
    let mode = mode(model)?;
    let source = model.selected_row().and_then(|row| row.source);
    let offers = reports(model, mode).filter_map(|(index, endpoint, report)| Some((index, endpoint, report.offer(key)?)));
    let preferred = offers.min_by_key(|(index, endpoint, offer)| {
        (Some(*index) != source, endpoint.knowledge(model.now) == Knowledge::Blind, offer.unavailable.is_some())
    });
    match preferred {
        Some((endpoint, _, offer)) => Ok(Aim { mode, endpoint, offer }),
        None if model.world.mode(mode).is_some_and(|mode| mode.remedies.iter().any(|known| known == key)) => {
            Err(format!("no process that was heard offers {key} for {mode}"))
        }
        None => Err(format!("{mode} has no remedy {key}")),
    }
}

/// The remedy of this key for the selected mode, or why it cannot be planned.
///
/// # Errors
/// Why not, in words.
pub fn remedy<'a>(model: &'a Model, key: &str) -> Result<Aim<'a>, String> {
    let aim = offered(model, key)?;
    let endpoint = &model.world.endpoints[aim.endpoint];
    let blind = endpoint.knowledge(model.now) == Knowledge::Blind;
    let blind = (blind && aim.offer.reversibility != Reversibility::Safe)
        .then(|| format!("{} cannot be seen, and it is not safe", endpoint.name()));
    let reasons = [aim.offer.unavailable.clone(), blind, reach(model, aim.endpoint), still(model), read_only(model)];
    reasons.into_iter().flatten().next().map_or(Ok(aim), Err)
}

/// What an offer of this key says, whether or not it can be planned.
pub fn offer<'a>(model: &'a Model, key: &str) -> Option<&'a Offer> {
    offered(model, key).ok().map(|aim| aim.offer)
}

/// The processes where the selected mode is open and nobody has it.
///
/// # Errors
/// Why it cannot be taken.
pub fn untaken(model: &Model) -> Result<(String, Vec<usize>), String> {
    let mode = mode(model)?;
    let open = reports(model, mode).filter(|(_, endpoint, report)| report.state == State::Open && endpoint.link == Link::Up);
    let open: Vec<usize> = open.map(|(index, ..)| index).collect();
    let taken = reports(model, mode).map(|(_, _, report)| report).find(|report| report.state == State::Acknowledged);
    let why = match (open.is_empty(), taken) {
        (false, _) => None,
        (true, Some(report)) => Some(format!("{} has it already", report.taken_by)),
        (true, None) => Some(format!("no process that is connected says that {mode} is open")),
    };
    let reasons = [why, still(model), read_only(model)];
    reasons.into_iter().flatten().next().map_or(Ok((mode.to_owned(), open)), Err)
}

/// The processes that detect the selected mode.
///
/// # Errors
/// Why it cannot be muted.
pub fn mutable(model: &Model) -> Result<(String, Vec<usize>), String> {
    let mode = mode(model)?;
    let detecting =
        reports(model, mode).filter(|(_, endpoint, report)| report.state != State::Planned && endpoint.link == Link::Up);
    let detecting: Vec<usize> = detecting.map(|(index, ..)| index).collect();
    let why = detecting.is_empty().then(|| format!("no process that is connected detects {mode}"));
    let reasons = [why, still(model), read_only(model)];
    reasons.into_iter().flatten().next().map_or(Ok((mode.to_owned(), detecting)), Err)
}

/// The last run of the selected mode that can still be taken back.
///
/// # Errors
/// Why there is none.
pub fn undoable(model: &Model) -> Result<(usize, &Run), String> {
    let mode = mode(model)?;
    let undoable = |(_, run): &(usize, &Run)| run.plan.mode == mode && run.undo_within(model.now).is_some();
    let run = model.world.runs().filter(undoable).min_by_key(|(_, run)| run.ended(model.now));
    let (endpoint, run) = run.ok_or_else(|| format!("no run for {mode} can be taken back"))?;
    let reasons = [reach(model, endpoint), still(model), read_only(model)];
    reasons.into_iter().flatten().next().map_or(Ok((endpoint, run)), Err)
}

/// What can be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnderWay {
    /// A run of a remedy, and what it does.
    Run(String, String),
    /// A drill, and of which mode.
    Drill(String, String),
}

/// The run or drill of the selected mode that is under way; otherwise the only one there is.
///
/// # Errors
/// Why none is to be ended.
pub fn under_way(model: &Model) -> Result<(usize, UnderWay), String> {
    let all = all_under_way(model);
    let selected = mode(model).ok();
    let own = all.iter().find(|(_, mode, _)| selected == Some(mode.as_str()));
    let (endpoint, _, what) = own.or(if all.len() == 1 { all.first() } else { None }).cloned().ok_or_else(|| {
        if all.is_empty() {
            "nothing is under way".to_owned()
        } else {
            "several are under way: select the mode of one".to_owned()
        }
    })?;
    let reasons = [reach(model, endpoint), still(model), read_only(model)];
    reasons.into_iter().flatten().next().map_or(Ok((endpoint, what)), Err)
}

/// Each with the process that does it and the mode it is for.
fn all_under_way(model: &Model) -> Vec<(usize, String, UnderWay)> {
    let runs = model.world.runs().filter(|(_, run)| run.is_under_way()).map(|(endpoint, run)| {
        let what = UnderWay::Run(run.id.clone(), format!("{} {}", run.plan.key, run.plan.title));
        (endpoint, run.plan.mode.clone(), what)
    });
    let drills = model.world.endpoints.iter().enumerate().flat_map(|(index, endpoint)| {
        let runs = endpoint.drills.runs.values().chain(endpoint.drills.controls.values());
        runs.filter(|run| run.is_under_way()).map(move |run| {
            let what = UnderWay::Drill(run.id.clone(), run.mode.clone());
            (index, run.mode.clone(), what)
        })
    });
    // A drill presses its remedy itself: who ends it ends the drill.
    drills.chain(runs).collect()
}

/// The drill of the selected mode, and who has it.
///
/// # Errors
/// Why it cannot be started.
pub fn drill(model: &Model) -> Result<(usize, &Drill), String> {
    let mode = mode(model)?;
    let (index, drill) = match model.ui.screen {
        Screen::Drills => model.selected_drill().map(|line| (line.endpoint, drill_at(model, line.endpoint, mode))),
        _ => (0..model.world.endpoints.len())
            .map(|index| (index, drill_at(model, index, mode)))
            .filter(|(_, drill)| drill.is_some())
            .min_by_key(|(_, drill)| drill.is_some_and(|drill| drill.unavailable.is_some())),
    }
    .unwrap_or((0, None));
    let drill = drill.ok_or_else(|| no_drill(model, mode))?;
    let reasons = [drill.unavailable.clone(), reach(model, index), still(model), read_only(model)];
    reasons.into_iter().flatten().next().map_or(Ok((index, drill)), Err)
}

/// Whether some process can prove it.
pub fn has_drill(model: &Model, mode: &str) -> bool {
    (0..model.world.endpoints.len()).any(|index| drill_at(model, index, mode).is_some())
}

fn drill_at<'a>(model: &'a Model, index: usize, mode: &str) -> Option<&'a Drill> {
    model.world.endpoints.get(index)?.drills.drill(mode)
}

fn no_drill(model: &Model, mode: &str) -> String {
    let endpoints = &model.world.endpoints;
    match endpoints.iter().find_map(|endpoint| endpoint.drills.error.as_ref()) {
        _ if endpoints.iter().any(|endpoint| endpoint.drills.listed.is_some()) => format!("no process has a drill of {mode}"),
        Some(error) => format!("drills: {error}"),
        None => "no process has said which drills it has".to_owned(),
    }
}
