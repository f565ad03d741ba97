//! What the processes say becomes what is known.

mod deeds;

use crate::{
    model::{
        endpoint::{Endpoint, Link, Serving},
        report::{Mode, Report, timestamp},
        standing::{Severity, State},
        timeline::KEPT,
        world::World,
    },
    moment::Moment,
    msg::{Answer, Effect, Input, Topic, What},
    text::{clean, cleansed, clock, cut},
};
use deeds::{Happened, Rest};
use loadline_proto::{
    grpc_health::health_check_response::ServingStatus,
    health::{Frame, frame::Body},
};
use std::{collections::BTreeMap, time::Duration};

/// Columns of a drill's id in the timeline: it tells two of them apart, and the whole is in the detail.
const DRILL: usize = 9;
/// Most modes kept of one process or of the catalogue; more is told, not shown.
const MODES: usize = 100_000;

/// Takes one input. One from an endpoint that there is not changes nothing.
pub fn apply(world: &mut World, input: Input, now: Moment) -> Option<Effect> {
    let index = input.endpoint;
    let endpoint = world.endpoints.get_mut(index)?;
    match input.what {
        What::Link(link) => {
            endpoint.link = cleaned(link);
            if endpoint.link != Link::Up {
                endpoint.serving = Serving::Unsaid;
            }
            if let Link::Down { error, .. } = &endpoint.link {
                endpoint.fault = Some(error.clone());
                endpoint.goes_down(now);
            }
        }
        What::Serving(status) => {
            endpoint.serving = match ServingStatus::try_from(status) {
                Ok(ServingStatus::Serving) => Serving::Yes,
                Ok(ServingStatus::NotServing) => Serving::No,
                Ok(ServingStatus::Unknown | ServingStatus::ServiceUnknown) | Err(_) => Serving::Unsaid,
            };
            match endpoint.serving {
                Serving::No => endpoint.goes_down(now),
                Serving::Yes | Serving::Unsaid => endpoint.comes_up(),
            }
        }
        What::Catalogue(answer) => {
            for mode in answer.failure_modes.into_iter().take(MODES) {
                world.catalogue.insert(clean(&mode.id), Mode::from_wire(mode));
            }
        }
        What::Frame { watch, frame } => return take_frame(world, index, watch, *frame, now),
        What::Answer(answer) => take_answer(world, index, answer, now),
        What::Refused { topic: Topic::Drills, error } => endpoint.drills.error = Some(clean(&error)),
        What::Refused { topic, error } => *error_of(world, topic) = Some(clean(&error)),
        // What becomes of it is on the stream.
        What::Done { .. } | What::Failed { .. } => {}
    }
    None
}

fn cleaned(link: Link) -> Link {
    match link {
        Link::Down { error, retry_at } => Link::Down { error: clean(&error), retry_at },
        other => other,
    }
}

fn take_answer(world: &mut World, index: usize, answer: Answer, now: Moment) {
    match answer {
        Answer::Streams(answer) => world.ledger.take(answer, now),
        Answer::Top(answer) => world.usage.take_top(answer, now),
        Answer::Delivery(answer) => world.usage.take_delivery(*answer, now),
        Answer::Jobs(answer) => world.jobs.take_jobs(answer, now),
        Answer::Runs(answer) => world.jobs.take_runs(answer),
        Answer::Letters { more, answer } => world.letters.take(more, answer, now),
        Answer::Letter(letter) => world.letters.take_one(*letter),
        Answer::Models(answer) => world.registry.take(answer, now),
        Answer::Alias(answer) => world.registry.take_alias(*answer, now),
        Answer::Drills(answer) => {
            let endpoint = &mut world.endpoints[index];
            let then = endpoint.its_time(now);
            endpoint.drills.take(answer, then, now);
        }
    }
}

fn error_of(world: &mut World, topic: Topic) -> &mut Option<String> {
    match topic {
        Topic::Streams => &mut world.ledger.error,
        Topic::Top | Topic::Delivery => &mut world.usage.error,
        Topic::Jobs | Topic::Runs => &mut world.jobs.error,
        Topic::Models => &mut world.registry.error,
        Topic::Alias => &mut world.registry.alias_error,
        Topic::Letter => &mut world.letters.unopened,
        Topic::Letters | Topic::Drills => &mut world.letters.error,
    }
}

/// What a frame is to the ones before it.
enum Order {
    /// It goes on from there, or starts anew with a snapshot.
    Next,
    /// It came before, or belongs to a watch that was given up.
    Old,
    /// Something between is missing, or nothing was there to go on from.
    Gap,
}

fn order(endpoint: &Endpoint, watch: u64, frame: &Frame) -> Order {
    let snapshot = matches!(frame.body, Some(Body::Snapshot(_)));
    match &endpoint.position {
        _ if watch != endpoint.watch => Order::Old,
        None if snapshot => Order::Next,
        None => Order::Gap,
        Some((boot, seq)) if *boot == frame.boot_id && frame.seq <= *seq => Order::Old,
        // A newer snapshot of the same boot, or one of a new boot, needs nothing before it.
        Some(_) if snapshot => Order::Next,
        Some((boot, seq)) if *boot == frame.boot_id && frame.seq == seq.wrapping_add(1) => Order::Next,
        Some(_) => Order::Gap,
    }
}

fn take_frame(world: &mut World, index: usize, watch: u64, frame: Frame, now: Moment) -> Option<Effect> {
    let endpoint = &mut world.endpoints[index];
    match (order(endpoint, watch, &frame), &frame.body) {
        (Order::Old, _) => {
            endpoint.ignored += 1;
            None
        }
        (Order::Gap, _) => Some(resync(endpoint, index)),
        // A body of a newer server could say anything: what was known may not hold.
        (Order::Next, None) => Some(resync(endpoint, index)),
        (Order::Next, Some(_)) => {
            note_changes(world, index, frame, now);
            None
        }
    }
}

fn resync(endpoint: &mut Endpoint, index: usize) -> Effect {
    endpoint.gaps += 1;
    endpoint.watch += 1;
    endpoint.position = None;
    Effect::Resync { endpoint: index, watch: endpoint.watch }
}

fn note_changes(world: &mut World, index: usize, frame: Frame, now: Moment) {
    let endpoint = &mut world.endpoints[index];
    let sent = timestamp(frame.sent_at.as_ref()).unwrap_or(now.wall);
    endpoint.skew = sent.duration_since(now.wall).as_secs_f64();
    endpoint.heard = Some(now.elapsed);
    endpoint.next_within = frame.next_within.and_then(|within| Duration::try_from(within).ok()).unwrap_or(Duration::from_secs(1));
    endpoint.position = Some((frame.boot_id, frame.seq));
    if !frame.service.is_empty() {
        endpoint.service = clean(&frame.service);
    }
    endpoint.build = clean(&frame.build);
    endpoint.installation = clean(&frame.installation);
    endpoint.times_at_most = frame.times_at_most.and_then(|longest| Duration::try_from(longest).ok());
    endpoint.comes_up();
    let mut changes = Vec::new();
    let (modes, whole) = match frame.body {
        Some(Body::Snapshot(snapshot)) => {
            let rest = Rest { runs: snapshot.runs, armed: snapshot.armed, drills: snapshot.drills, load: snapshot.load };
            endpoint.take_caller(snapshot.caller);
            rest.replace(endpoint, sent, now);
            (snapshot.modes, true)
        }
        Some(Body::Delta(delta)) => {
            let rest = Rest { runs: delta.runs, armed: delta.armed, drills: delta.drills, load: delta.load };
            rest.add(endpoint, sent, now, &mut changes);
            (delta.modes, false)
        }
        Some(Body::Heartbeat(_)) | None => return,
    };
    let modes =
        modes.into_iter().map(|mut status| (cleansed(std::mem::take(&mut status.id)), Report::from_wire(status, sent, now)));
    let passed_over = take_modes(endpoint, modes.collect(), whole, now, &mut changes);
    world.timeline.pass_over(passed_over);
    for (subject, text) in changes {
        world.timeline.push(now, &subject, text);
    }
}

/// Takes what it says of modes, and what of that is worth a line; hands back how many more would be, which no timeline keeps.
fn take_modes(endpoint: &mut Endpoint, modes: Vec<(String, Report)>, whole: bool, now: Moment, happened: &mut Happened) -> usize {
    let before = if whole { std::mem::take(&mut endpoint.modes) } else { BTreeMap::new() };
    let service = endpoint.name().to_owned();
    let is_news = |(id, report): &&(String, Report)| change(before.get(id), report).is_some();
    // The first snapshot of a process in trouble may have thousands.
    let news = if whole && modes.len() > KEPT { modes.iter().take(MODES).filter(is_news).count() } else { 0 };
    let (too_many, mut passed_over) = (news.saturating_sub(KEPT), 0);
    for (id, report) in modes {
        if endpoint.modes.len() >= MODES {
            happened.push((service.clone(), format!("reports more than {MODES} modes; the rest is not shown")));
            break;
        }
        let known = if whole { before.get(&id) } else { endpoint.modes.get(&id) };
        match change(known, &report) {
            Some(_) if passed_over < too_many => passed_over += 1,
            Some(change) => happened.push((id.clone(), format!("{} ({service})", change.text(now)))),
            None => {}
        }
        endpoint.modes.insert(id, report);
    }
    passed_over
}

/// What is worth a line of the timeline.
enum Change<'a> {
    /// First heard of, and open.
    Is(&'a Report),
    Opened(&'a Report),
    Closed(&'a Report),
    Turned(State, State),
    Raised(Severity, Severity, &'a str),
}

/// What of that it is, if anything.
fn change<'a>(before: Option<&'a Report>, after: &'a Report) -> Option<Change<'a>> {
    let Some(before) = before else { return after.state.is_active().then_some(Change::Is(after)) };
    match (before.state, after.state) {
        (old, new) if old == new => match (before.severity?, after.severity?) {
            (old, new) if old != new && after.state.is_active() => Some(Change::Raised(old, new, &after.rule)),
            _ => None,
        },
        (old, State::Ok) if old.is_active() => Some(Change::Closed(before)),
        (old, State::Open) if !old.is_active() => Some(Change::Opened(after)),
        // Suspicion comes and goes; it is on the board while it lasts.
        (_, State::Suspect) | (State::Suspect, State::Ok) => None,
        (old, new) => Some(Change::Turned(old, new)),
    }
}

impl Change<'_> {
    fn text(&self, now: Moment) -> String {
        match self {
            Self::Is(report) => format!("is {}{}", report.state, opened(report)),
            Self::Opened(report) => format!("opened{}", opened(report)),
            Self::Closed(was) => {
                let lasted = was.lasts(now).map(|lasted| format!(" after {}", clock(lasted)));
                format!("closed{}", lasted.unwrap_or_default())
            }
            Self::Turned(old, new) => format!("{old} → {new}"),
            Self::Raised(old, new, rule) => format!("{old} → {new}: {}", new.without(rule)),
        }
    }
}

/// How bad, by what reading, and because of which drill.
fn opened(report: &Report) -> String {
    let severity = report.severity.map(|severity| format!(" {severity}")).unwrap_or_default();
    let drill = if report.drill.is_empty() { String::new() } else { format!(" by drill {}", cut(&report.drill, DRILL)) };
    format!("{severity}{}{drill}", reading(report))
}

fn reading(report: &Report) -> String {
    report.evidence.as_ref().map(|evidence| format!(" {} {}", evidence.compared(true), evidence.unit)).unwrap_or_default()
}
