//! What is asked when, and whom: the books always, the rest while its screen is shown.

use crate::{
    model::{
        Model,
        endpoint::{Endpoint, Link},
        letters::{PAGE, parse_filter},
        registry::Registered,
        ui::Screen,
        usage::TOP,
    },
    moment::Moment,
    msg::{Effect, Question, Topic},
};
use jiff::Timestamp;
use loadline_proto::{
    ingest::{GetDeadLetterRequest, ListDeadLettersRequest},
    query::{GetDeliveryRequest, ListTopAccountsRequest},
    rollup::ListRunsRequest,
};
use std::time::Duration;

/// Usage is asked for over this long.
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Runs shown.
const RUNS: u32 = 50;
/// Delivery rates asked for at a time, so that a long list does not burst.
const DELIVERIES_A_TICK: usize = 4;
/// Aliases asked for at a time, each of which is four calls.
const ALIASES_A_TICK: usize = 2;

/// How often a topic is asked for.
fn period(topic: Topic, screen: Screen) -> Duration {
    Duration::from_secs(match topic {
        Topic::Streams | Topic::Jobs | Topic::Runs => 1,
        // Serving asks the registry for it each time, which may be another program's.
        Topic::Letters | Topic::Models => 5,
        Topic::Top | Topic::Delivery | Topic::Letter | Topic::Alias => 10,
        Topic::Drills if screen == Screen::Drills => 2,
        Topic::Drills => 30,
    })
}

/// An answer that is older than this says nothing of now: as with frames, two and a half times what is promised.
pub fn late_after(topic: Topic, screen: Screen) -> Duration {
    period(topic, screen).mul_f64(2.5)
}

/// The questions that are due.
pub fn due(model: &mut Model, now: Moment) -> Vec<Effect> {
    let mut effects = Vec::new();
    let topics = std::iter::once(Topic::Streams).chain(model.ui.screen.topics().iter().copied());
    for topic in topics {
        let asked = model.ui.asked.get(&topic);
        if asked.is_none_or(|asked| now.since(*asked) >= period(topic, model.ui.screen)) {
            effects.extend(ask(model, question(model, topic, now), now));
            if topic == Topic::Drills {
                effects.extend(drills(model, now));
            }
        }
    }
    if model.ui.screen == Screen::Models {
        effects.extend(aliases(model, now));
    }
    if model.ui.screen == Screen::Usage {
        let pending = model.ui.deliveries.len().min(DELIVERIES_A_TICK);
        let accounts: Vec<String> = model.ui.deliveries.drain(..pending).collect();
        for account in accounts {
            let (from, to) = last_day(now);
            let request = GetDeliveryRequest { account, from, to, ..Default::default() };
            effects.extend(ask(model, Some(Question::Delivery(request)), now));
        }
    }
    effects
}

/// The next page of dead letters, if there is one.
pub fn next_page(model: &mut Model, now: Moment) -> Option<Effect> {
    let token = model.world.letters.next_page.clone();
    if token.is_empty() {
        return None;
    }
    // Asked once: the token is put back by the answer.
    model.world.letters.next_page.clear();
    let request = ListDeadLettersRequest { page_token: token, ..letters_request(model) };
    ask(model, Some(Question::Letters(request)), now)
}

/// The payload of one dead letter.
pub fn letter(model: &mut Model, id: u64, now: Moment) -> Option<Effect> {
    let effect = ask(model, Some(Question::Letter(GetDeadLetterRequest { id })), now);
    model.world.letters.unopened = effect.is_none().then(|| "no process of ingest is connected".to_owned());
    effect
}

fn ask(model: &mut Model, question: Option<Question>, now: Moment) -> Option<Effect> {
    let question = question?;
    let endpoint = model.world.endpoint_of(question.topic().service()?)?;
    model.ui.asked.insert(question.topic(), now.elapsed);
    Some(Effect::Ask { endpoint, question })
}

fn question(model: &Model, topic: Topic, now: Moment) -> Option<Question> {
    let (from, to) = last_day(now);
    Some(match topic {
        Topic::Streams => Question::Streams,
        Topic::Top => Question::Top(ListTopAccountsRequest { from, to, limit: TOP, ..Default::default() }),
        Topic::Jobs => Question::Jobs,
        Topic::Runs => Question::Runs(ListRunsRequest { page_size: RUNS, ..Default::default() }),
        // Later pages would be lost: somebody reads on.
        Topic::Letters if model.world.letters.letters.len() > PAGE as usize => return None,
        Topic::Letters => Question::Letters(letters_request(model)),
        Topic::Models => Question::Models,
        Topic::Delivery | Topic::Letter | Topic::Drills | Topic::Alias => return None,
    })
}

/// Each process for itself has drills.
pub fn drills(model: &mut Model, now: Moment) -> Vec<Effect> {
    let up = |(_, endpoint): &(usize, &Endpoint)| endpoint.link == Link::Up;
    let endpoints = model.world.endpoints.iter().enumerate().filter(up);
    let effects: Vec<Effect> = endpoints.map(|(endpoint, _)| Effect::Ask { endpoint, question: Question::Drills }).collect();
    // Nobody to ask: asked again at the next tick.
    if !effects.is_empty() {
        model.ui.asked.insert(Topic::Drills, now.elapsed);
    }
    effects
}

/// A few of the aliases that are due, those of the selected model first.
fn aliases(model: &mut Model, now: Moment) -> Vec<Effect> {
    let of_model = |model: &Registered| model.aliases.iter().map(|alias| (model.name.clone(), alias.name.clone())).collect();
    let listed: Vec<(String, String)> = model.world.registry.models.iter().flat_map::<Vec<_>, _>(of_model).collect();
    model.ui.aliases_asked.retain(|alias, _| listed.contains(alias));
    let selected = model.ui.registered.id().map(|id| id.model().to_owned());
    let asked = |alias: &(String, String)| model.ui.aliases_asked.get(alias).copied();
    let is_due = |alias: &(String, String)| asked(alias).is_none_or(|at| now.since(at) >= period(Topic::Alias, Screen::Models));
    // What was made harmless for the screen is no name that the server knows.
    let is_name =
        |alias: &(String, String)| ![&alias.0, &alias.1].into_iter().any(|name| name.contains(char::REPLACEMENT_CHARACTER));
    let mut due: Vec<(String, String)> = listed.into_iter().filter(is_name).filter(is_due).collect();
    due.sort_by_key(|alias| (selected.as_ref() != Some(&alias.0), asked(alias)));
    let mut effects = Vec::new();
    for alias in due.into_iter().take(ALIASES_A_TICK) {
        let question = Question::Alias { model: alias.0.clone(), alias: alias.1.clone() };
        // Nobody to ask: asked again at the next tick.
        if let Some(effect) = ask(model, Some(question), now) {
            model.ui.aliases_asked.insert(alias, now.elapsed);
            effects.push(effect);
        }
    }
    effects
}

fn letters_request(model: &Model) -> ListDeadLettersRequest {
    let (filter, _) = parse_filter(model.ui.filter(Screen::Letters));
    ListDeadLettersRequest { filter: Some(filter), page_size: PAGE, ..Default::default() }
}

fn last_day(now: Moment) -> (Option<prost_types::Timestamp>, Option<prost_types::Timestamp>) {
    let from = now.wall.checked_sub(jiff::SignedDuration::try_from(DAY).unwrap_or_default()).unwrap_or(Timestamp::MIN);
    (Some(wire(from)), Some(wire(now.wall)))
}

fn wire(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}
