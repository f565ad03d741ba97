//! What goes into the core and what comes out of it. The core does nothing else.

use crate::{keys::Chord, model::endpoint::Link};
use loadline_proto::{
    health::{Frame, ListCatalogueResponse},
    ingest::{DeadLetter, GetDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse, ListStreamsResponse},
    query::{GetDeliveryRequest, GetDeliveryResponse, ListTopAccountsRequest, ListTopAccountsResponse},
    rollup::{ListJobsResponse, ListRunsRequest, ListRunsResponse},
};
use std::time::Duration;

/// Something that came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Msg {
    /// From a process that is watched.
    Input(Input),
    /// A key was pressed.
    Key(Chord),
    /// Text was pasted: it is never taken for keys.
    Paste(String),
    /// The terminal has another size.
    Resized,
    /// Time has passed.
    Tick,
    /// The process is to end, or the terminal is gone.
    Quit,
    /// The shell wants the terminal.
    Suspend,
    /// Frames were drawn: the oldest input in the last one had waited so long.
    Drawn(Duration),
}

/// From one process.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Index of its endpoint.
    pub endpoint: usize,
    /// What it is.
    pub what: What,
}

/// What a process, or the connection to it, said.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The connection changed.
    Link(Link),
    /// The catalogue.
    Catalogue(ListCatalogueResponse),
    /// A frame of this watch.
    Frame {
        /// Which watch of this endpoint.
        watch: u64,
        /// The frame.
        frame: Box<Frame>,
    },
    /// Status of the process by `grpc.health.v1`.
    Serving(i32),
    /// An answer.
    Answer(Answer),
    /// No answer, and why.
    Refused {
        /// To what.
        topic: Topic,
        /// Why, in words.
        error: String,
    },
}

/// What is asked from time to time.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// How far the streams are.
    Streams,
    /// Who uses most.
    Top(ListTopAccountsRequest),
    /// What became of an account's messages.
    Delivery(GetDeliveryRequest),
    /// The background jobs.
    Jobs,
    /// Their runs.
    Runs(ListRunsRequest),
    /// What could not be counted.
    Letters(ListDeadLettersRequest),
    /// One of these with its payload.
    Letter(GetDeadLetterRequest),
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each answers the question of its name")]
pub enum Answer {
    Streams(ListStreamsResponse),
    Top(ListTopAccountsResponse),
    Delivery(Box<GetDeliveryResponse>),
    Jobs(ListJobsResponse),
    Runs(ListRunsResponse),
    Letters {
        /// It adds to the pages before.
        more: bool,
        answer: ListDeadLettersResponse,
    },
    Letter(Box<DeadLetter>),
}

/// A question without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the question of its name")]
pub enum Topic {
    Streams,
    Top,
    Delivery,
    Jobs,
    Runs,
    Letters,
    Letter,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Streams, Self::Top, Self::Delivery, Self::Jobs, Self::Runs, Self::Letters, Self::Letter];

    /// The service that answers it.
    pub fn service(self) -> &'static str {
        match self {
            Self::Streams | Self::Letters | Self::Letter => "ingest",
            Self::Top | Self::Delivery => "query",
            Self::Jobs | Self::Runs => "rollup",
        }
    }
}

impl Question {
    /// What it is about.
    pub fn topic(&self) -> Topic {
        match self {
            Self::Streams => Topic::Streams,
            Self::Top(_) => Topic::Top,
            Self::Delivery(_) => Topic::Delivery,
            Self::Jobs => Topic::Jobs,
            Self::Runs(_) => Topic::Runs,
            Self::Letters(_) => Topic::Letters,
            Self::Letter(_) => Topic::Letter,
        }
    }
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Watch anew, from a snapshot; its frames carry this number.
    Resync {
        /// Whom.
        endpoint: usize,
        /// The number of the new watch.
        watch: u64,
    },
    /// Connect now instead of later.
    Reconnect(usize),
    /// Ask.
    Ask {
        /// Whom.
        endpoint: usize,
        /// What.
        question: Question,
    },
    /// Put into the clipboard.
    Copy(String),
    /// Write the recording to a file.
    Save,
    /// Draw everything anew.
    Redraw,
    /// Go to the background.
    Suspend,
    /// End.
    Quit,
}
