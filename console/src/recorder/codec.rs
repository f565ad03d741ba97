//! A message as bytes, and back.

use crate::{
    keys::Chord,
    model::endpoint::Link,
    moment::Moment,
    msg::{AliasAnswer, Answer, Input, Mouse, MouseKind, Msg, Topic, What},
};
use loadline_proto::serving::{GetRouteRequest, GetRouteResponse, ListAliasHistoryResponse};
use prost::Message;
use ratatui::layout::{Position, Size};
use std::time::Duration;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it came.
    pub at: Moment,
    /// What it is.
    pub kind: Kind,
    /// From whom; 0 where that means nothing.
    pub endpoint: usize,
    /// The watch of a frame, the milliseconds of a retry, the number of a status or a topic.
    pub number: u64,
    /// A protobuf message, or text.
    pub data: Box<[u8]>,
}

macro_rules! kinds {
    ($($kind:ident = $name:literal),* $(,)?) => {
        /// What a record is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each is the message of its name")]
        pub enum Kind { $($kind),* }

        const KINDS: &[(Kind, &str)] = &[$((Kind::$kind, $name)),*];
    };
}

kinds! {
    Connecting = "connecting", Up = "up", Down = "down", Catalogue = "catalogue", Frame = "frame", Serving = "serving",
    Streams = "streams", Top = "top", Delivery = "delivery", Jobs = "jobs", Runs = "runs", Letters = "letters",
    MoreLetters = "more-letters", Letter = "letter", Drills = "drills", Models = "models", Alias = "alias", Refused = "refused", Key = "key", Repeat = "repeat", Mouse = "mouse", Paste = "paste", Tick = "tick",
}

impl Kind {
    /// As files have it.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// By that name.
    pub fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

impl Record {
    /// About what it takes in memory, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.data.len()
    }
}

/// `None` for what is not recorded.
pub fn encode(at: Moment, msg: &Msg) -> Option<Record> {
    let record = |kind, endpoint, number, data: Vec<u8>| Some(Record { at, kind, endpoint, number, data: data.into() });
    match msg {
        Msg::Input(Input { endpoint, what }) => {
            let (kind, number, data) = encode_what(what)?;
            record(kind, *endpoint, number, data)
        }
        Msg::Key(chord) => record(Kind::Key, 0, 0, chord.to_string().into_bytes()),
        Msg::Repeat(chord) => record(Kind::Repeat, 0, 0, chord.to_string().into_bytes()),
        Msg::Mouse(mouse) => record(Kind::Mouse, 0, 0, encode_mouse(*mouse).into_bytes()),
        Msg::Paste(text) => record(Kind::Paste, 0, 0, text.clone().into_bytes()),
        Msg::Tick => record(Kind::Tick, 0, 0, Vec::new()),
        Msg::Resized | Msg::Quit | Msg::Suspend | Msg::Drawn { .. } | Msg::Focus(_) => None,
    }
}

fn encode_what(what: &What) -> Option<(Kind, u64, Vec<u8>)> {
    Some(match what {
        What::Link(Link::Connecting) => (Kind::Connecting, 0, Vec::new()),
        What::Link(Link::Up) => (Kind::Up, 0, Vec::new()),
        What::Link(Link::Down { error, retry_at }) => (Kind::Down, millis(*retry_at), error.clone().into_bytes()),
        What::Catalogue(message) => (Kind::Catalogue, 0, message.encode_to_vec()),
        What::Frame { watch, frame } => (Kind::Frame, *watch, frame.encode_to_vec()),
        What::Serving(status) => (Kind::Serving, u64::from(status.cast_unsigned()), Vec::new()),
        What::Refused { topic, error } => (Kind::Refused, *topic as u64, error.clone().into_bytes()),
        What::Answer(answer) => encode_answer(answer),
        // To the operator of then; what was done is on the stream.
        What::Done { .. } | What::Failed { .. } => return None,
    })
}

fn encode_answer(answer: &Answer) -> (Kind, u64, Vec<u8>) {
    let (kind, data) = match answer {
        Answer::Streams(message) => (Kind::Streams, message.encode_to_vec()),
        Answer::Top(message) => (Kind::Top, message.encode_to_vec()),
        Answer::Delivery(message) => (Kind::Delivery, message.encode_to_vec()),
        Answer::Jobs(message) => (Kind::Jobs, message.encode_to_vec()),
        Answer::Runs(message) => (Kind::Runs, message.encode_to_vec()),
        Answer::Letters { more: false, answer } => (Kind::Letters, answer.encode_to_vec()),
        Answer::Letters { more: true, answer } => (Kind::MoreLetters, answer.encode_to_vec()),
        Answer::Letter(message) => (Kind::Letter, message.encode_to_vec()),
        Answer::Drills(message) => (Kind::Drills, message.encode_to_vec()),
        Answer::Models(message) => (Kind::Models, message.encode_to_vec()),
        Answer::Alias(answer) => (Kind::Alias, encode_alias(answer)),
    };
    (kind, 0, data)
}

/// Its messages one after another, each with its length.
fn encode_alias(answer: &AliasAnswer) -> Vec<u8> {
    let of = GetRouteRequest { model: answer.model.clone(), alias: answer.alias.clone() };
    let mut data = of.encode_length_delimited_to_vec();
    data.extend(answer.route.encode_length_delimited_to_vec());
    for history in [&answer.changes, &answer.evaluations, &answer.routes] {
        data.extend(history.encode_length_delimited_to_vec());
    }
    data
}

fn decode_alias(mut data: &[u8]) -> Option<AliasAnswer> {
    let data = &mut data;
    let GetRouteRequest { model, alias } = GetRouteRequest::decode_length_delimited(&mut *data).ok()?;
    let route = GetRouteResponse::decode_length_delimited(&mut *data).ok()?;
    let mut history = || ListAliasHistoryResponse::decode_length_delimited(&mut *data).ok();
    Some(AliasAnswer { model, alias, route, changes: history()?, evaluations: history()?, routes: history()? })
}

const MOUSE: [(MouseKind, &str); 3] = [(MouseKind::Click, "click"), (MouseKind::Up, "up"), (MouseKind::Down, "down")];

/// What was done, at which column and row, on a terminal of so many: `click 12 5 120 40`. What is there depends on its size.
fn encode_mouse(Mouse { kind, at, screen }: Mouse) -> String {
    let name = MOUSE.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name);
    format!("{name} {} {} {} {}", at.x, at.y, screen.width, screen.height)
}

fn decode_mouse(text: &str) -> Option<Mouse> {
    let (name, numbers) = text.split_once(' ')?;
    let (kind, _) = MOUSE.iter().find(|(_, known)| *known == name)?;
    let numbers: Vec<u16> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [x, y, width, height] = numbers[..] else { return None };
    Some(Mouse { kind: *kind, at: Position { x, y }, screen: Size { width, height } })
}

/// `None` for bytes that are no such message.
pub fn decode(record: &Record) -> Option<Msg> {
    let data = &record.data;
    let text = || String::from_utf8_lossy(data).into_owned();
    let what = match record.kind {
        Kind::Key => return text().parse::<Chord>().ok().map(Msg::Key),
        Kind::Repeat => return text().parse::<Chord>().ok().map(Msg::Repeat),
        Kind::Mouse => return decode_mouse(&text()).map(Msg::Mouse),
        Kind::Paste => return Some(Msg::Paste(text())),
        Kind::Tick => return Some(Msg::Tick),
        Kind::Connecting => What::Link(Link::Connecting),
        Kind::Up => What::Link(Link::Up),
        Kind::Down => What::Link(Link::Down { error: text(), retry_at: Duration::from_millis(record.number) }),
        Kind::Catalogue => What::Catalogue(message(data)?),
        Kind::Frame => What::Frame { watch: record.number, frame: Box::new(message(data)?) },
        Kind::Serving => What::Serving(u32::try_from(record.number).ok()?.cast_signed()),
        Kind::Refused => What::Refused { topic: *Topic::ALL.get(usize::try_from(record.number).ok()?)?, error: text() },
        Kind::Streams => What::Answer(Answer::Streams(message(data)?)),
        Kind::Top => What::Answer(Answer::Top(message(data)?)),
        Kind::Delivery => What::Answer(Answer::Delivery(Box::new(message(data)?))),
        Kind::Jobs => What::Answer(Answer::Jobs(message(data)?)),
        Kind::Runs => What::Answer(Answer::Runs(message(data)?)),
        Kind::Letters => What::Answer(Answer::Letters { more: false, answer: message(data)? }),
        Kind::MoreLetters => What::Answer(Answer::Letters { more: true, answer: message(data)? }),
        Kind::Letter => What::Answer(Answer::Letter(Box::new(message(data)?))),
        Kind::Drills => What::Answer(Answer::Drills(message(data)?)),
        Kind::Models => What::Answer(Answer::Models(message(data)?)),
        Kind::Alias => What::Answer(Answer::Alias(Box::new(decode_alias(data)?))),
    };
    Some(Msg::Input(Input { endpoint: record.endpoint, what }))
}

fn message<M: Message + Default>(data: &[u8]) -> Option<M> {
    M::decode(data).ok()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
