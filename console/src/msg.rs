//! What goes into the core and what comes out of it. The core does nothing else.

use crate::{keys::Chord, model::endpoint::Link, text::clean};
use loadline_proto::{
    health::{
        AbortRemedyRequest, AcknowledgeRequest, DrillRun, ExecuteRemedyRequest, Frame, ListCatalogueResponse, ListDrillsResponse,
        ModeStatus, MuteRequest, PlanRemedyRequest, RemedyPlan, RemedyRun, StartDrillRequest, StopDrillRequest,
        UndoRemedyRequest,
    },
    ingest::{DeadLetter, GetDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse, ListStreamsResponse},
    query::{GetDeliveryRequest, GetDeliveryResponse, ListTopAccountsRequest, ListTopAccountsResponse},
    rollup::{ListJobsResponse, ListRunsRequest, ListRunsResponse},
    serving::{GetRouteResponse, ListAliasHistoryResponse, ListModelsResponse},
};
use ratatui::layout::{Position, Size};
use std::time::Duration;

/// Something that came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Msg {
    /// From a process that is watched.
    Input(Input),
    /// A key was pressed.
    Key(Chord),
    /// A key is held down, and the terminal says so.
    Repeat(Chord),
    /// The mouse was used.
    Mouse(Mouse),
    /// Text was pasted: it is never taken for keys.
    Paste(String),
    /// The terminal has another size.
    Resized,
    /// The terminal is looked at again, or no more.
    Focus(bool),
    /// Time has passed.
    Tick,
    /// The process is to end, or the terminal is gone.
    Quit,
    /// The shell wants the terminal.
    Suspend,
    /// A frame was drawn.
    Drawn {
        /// The oldest input in it, if there was one, had waited so long.
        waited: Option<Duration>,
        /// What only a frame knows.
        seen: Seen,
    },
}

/// What a frame had room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// What is read on it can be scrolled so far.
    pub deepest: usize,
    /// Which panes of the board it has not, in the order of [`crate::model::ui::Pane::ALL`].
    pub hidden: [bool; 4],
}

/// What was done with the mouse, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mouse {
    /// What.
    pub kind: MouseKind,
    /// Where, from the upper left corner.
    pub at: Position,
    /// Size of the terminal.
    pub screen: Size,
}

/// What a mouse can do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MouseKind {
    /// Its left button was pressed.
    Click,
    /// Its wheel was turned up.
    Up,
    /// And down.
    Down,
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
    /// Something asked for was done, or has begun.
    Done {
        /// What was asked.
        ticket: u64,
        /// What came of it.
        done: Done,
    },
    /// It was not done, or nobody knows.
    Failed {
        /// What was asked.
        ticket: u64,
        /// Why.
        failure: Failure,
    },
}

/// What changes something on a server, or asks for a plan to do so.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is the request of its name")]
pub enum Act {
    Plan(PlanRemedyRequest),
    Execute(ExecuteRemedyRequest),
    Abort(AbortRemedyRequest),
    Undo(UndoRemedyRequest),
    Acknowledge(AcknowledgeRequest),
    Mute(MuteRequest),
    StartDrill(StartDrillRequest),
    StopDrill(StopDrillRequest),
}

/// What comes of an act.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is the answer of its name")]
pub enum Done {
    Plan(Box<RemedyPlan>),
    Run(Box<RemedyRun>),
    Mode(Box<ModeStatus>),
    Drill(Box<DrillRun>),
}

/// Why an act was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In the server's words where it has some.
    pub text: String,
    /// The server has refused, or was never asked: nothing was done. Otherwise nobody knows.
    pub refused: bool,
}

impl Failure {
    /// Nothing was done.
    pub fn refused(text: &str) -> Self {
        Self { text: clean(text), refused: true }
    }

    /// It may have been done.
    pub fn unknown(text: &str) -> Self {
        Self { text: clean(text), refused: false }
    }
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
    /// What can be proven.
    Drills,
    /// The models of the registry.
    Models,
    /// An alias of one of these.
    Alias {
        /// The model.
        model: String,
        /// Its alias.
        alias: String,
    },
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
    Drills(ListDrillsResponse),
    Models(ListModelsResponse),
    Alias(Box<AliasAnswer>),
}

/// All that serving says of one alias.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AliasAnswer {
    /// The model.
    pub model: String,
    /// Its alias.
    pub alias: String,
    /// Which other versions get its requests.
    pub route: GetRouteResponse,
    /// What it named, the newest first.
    pub changes: ListAliasHistoryResponse,
    /// What the gate said, the newest first.
    pub evaluations: ListAliasHistoryResponse,
    /// Its routes, the newest first.
    pub routes: ListAliasHistoryResponse,
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
    Drills,
    Models,
    Alias,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Streams,
        Self::Top,
        Self::Delivery,
        Self::Jobs,
        Self::Runs,
        Self::Letters,
        Self::Letter,
        Self::Drills,
        Self::Models,
        Self::Alias,
    ];

    /// The service that answers it; `None`: each process for itself.
    pub fn service(self) -> Option<&'static str> {
        match self {
            Self::Streams | Self::Letters | Self::Letter => Some("ingest"),
            Self::Top | Self::Delivery => Some("query"),
            Self::Jobs | Self::Runs => Some("rollup"),
            Self::Models | Self::Alias => Some("serving"),
            Self::Drills => None,
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
            Self::Drills => Topic::Drills,
            Self::Models => Topic::Models,
            Self::Alias { .. } => Topic::Alias,
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
    /// Do something; the answer carries the ticket.
    Act {
        /// Who is to do it.
        endpoint: usize,
        /// For the answer.
        ticket: u64,
        /// What.
        act: Act,
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
