//! What the operator looks at: screen, overlay, cursors, filters.

use super::{
    RegisteredId,
    board::RowId,
    hand::{Card, Sent},
    order::Order,
    selection::Selection,
    standing::Severity,
};
use crate::{keys::Chord, msg::Topic, view::theme::Look};
use std::{collections::BTreeMap, time::Duration};

/// A screen, one key away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "each is what it says")]
pub enum Screen {
    #[default]
    Board,
    Usage,
    Jobs,
    Letters,
    Drills,
    Models,
}

impl Screen {
    /// For titles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Board => "board",
            Self::Usage => "usage",
            Self::Jobs => "jobs",
            Self::Letters => "dead letters",
            Self::Drills => "drills",
            Self::Models => "models",
        }
    }

    /// What it shows is asked from time to time.
    pub fn topics(self) -> &'static [Topic] {
        match self {
            Self::Board => &[Topic::Drills],
            Self::Usage => &[Topic::Top],
            Self::Jobs => &[Topic::Jobs, Topic::Runs],
            Self::Letters => &[Topic::Letters],
            Self::Drills => &[Topic::Drills],
            Self::Models => &[Topic::Models],
        }
    }
}

/// A pane of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "each is what it says")]
pub enum Pane {
    #[default]
    Modes,
    Detail,
    Services,
    Timeline,
}

impl Pane {
    /// In the order of Tab.
    pub const ALL: [Self; 4] = [Self::Modes, Self::Detail, Self::Services, Self::Timeline];
}

/// What lies over the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlay {
    /// Every key.
    Help,
    /// Actions by name.
    Palette {
        /// Typed so far.
        text: String,
        /// Which of those found.
        cursor: usize,
    },
    /// A line for the filter.
    Filter {
        /// What it was, for Esc.
        before: String,
    },
    /// The detail of a row, where it has no pane.
    Detail,
    /// All that is known of what is selected.
    Describe,
    /// All that can be done about the selected row.
    Actions {
        /// Which of those.
        cursor: usize,
    },
    /// A line for a note to the server.
    Note {
        /// The mode it is about.
        mode: String,
        /// It mutes; otherwise it acknowledges.
        mute: bool,
        /// Typed so far.
        text: String,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ui {
    /// The screen.
    pub screen: Screen,
    /// What lies over it.
    pub overlay: Option<Overlay>,
    /// How far overlay or detail are scrolled.
    pub scroll: usize,
    /// The pane of the board that moves.
    pub pane: Pane,
    /// Which panes the terminal has no room for, in the order of [`Pane::ALL`].
    pub hidden: [bool; 4],
    /// Only this severity.
    pub band: Option<Severity>,
    /// Modes that are OK or planned are listed too.
    pub unfolded: bool,
    /// Cursor on the board.
    pub row: Selection<RowId>,
    /// Cursor among the services, by endpoint.
    pub service: Selection<usize>,
    /// How far the timeline is scrolled back.
    pub back: usize,
    /// Cursor on the usage screen, by account.
    pub account: Selection<String>,
    /// Cursor on the jobs screen, by [`super::JobLine::id`].
    pub job: Selection<String>,
    /// Cursor on the dead letters, by id.
    pub letter: Selection<u64>,
    /// Cursor among the drills, by [`super::DrillLine::id`].
    pub drill: Selection<String>,
    /// Cursor among the models.
    pub registered: Selection<RegisteredId>,
    /// Operate mode, until then by the console's `elapsed`; `None`: read-only.
    pub operate: Option<Duration>,
    /// What is about to be done.
    pub card: Option<Card>,
    /// What was sent and not answered yet, by ticket.
    pub sent: BTreeMap<u64, Sent>,
    /// Tickets given out.
    pub tickets: u64,
    /// The last key and when it was pressed: pressed again too soon it may be held down.
    pub pressed: Option<(Chord, Duration)>,
    /// When leaving was asked for last.
    pub leaving: Option<Duration>,
    /// A word to the operator, and since when.
    pub notice: Option<(String, Duration)>,
    /// How long the oldest input of the last frame had waited to be drawn.
    pub lag: Duration,
    /// When each topic was asked for last.
    pub asked: BTreeMap<Topic, Duration>,
    /// Accounts whose delivery is still to be asked for.
    pub deliveries: Vec<String>,
    /// When each alias was asked for last, by model and alias.
    pub aliases_asked: BTreeMap<(String, String), Duration>,
    /// Colours and signs.
    pub look: Look,
    filters: [String; 6],
    /// Which of its orders each screen has.
    orders: [usize; 6],
}

impl Ui {
    /// The filter of a screen.
    pub fn filter(&self, screen: Screen) -> &str {
        &self.filters[screen as usize]
    }

    /// Whether the terminal has no room for a pane.
    pub fn is_hidden(&self, pane: Pane) -> bool {
        self.hidden[pane as usize]
    }

    /// In which order a screen lists its rows; `None`: it has one only.
    pub fn order(&self, screen: Screen) -> Option<Order> {
        Order::of(screen).get(self.orders[screen as usize]).copied()
    }

    /// Goes to the next order of the screen that is shown, and from the last one to the first.
    pub fn turn_order(&mut self) {
        let order = &mut self.orders[self.screen as usize];
        *order = (*order + 1) % Order::of(self.screen).len().max(1);
    }

    /// The filter of the screen that is shown.
    pub fn filter_mut(&mut self) -> &mut String {
        &mut self.filters[self.screen as usize]
    }
}
