//! The view-model: what was heard ([`World`]), what the operator looks at ([`Ui`]), and the recorded past.

pub mod board;
pub mod crash;
pub mod drill;
pub mod endpoint;
pub mod hand;
pub mod jobs;
pub mod ledger;
pub mod letters;
pub mod listing;
pub mod order;
pub mod registry;
pub mod remedy;
pub mod report;
pub mod selection;
pub mod standing;
pub mod timeline;
pub mod ui;
pub mod usage;
pub mod world;

use crate::{action::KeyMap, moment::Moment, recorder::Recorder};
use board::Row;
use letters::Letter;
use listing::Listing;
use order::Order;
use registry::{Alias, Registered, Version};
use std::{borrow::Cow, time::Duration};
use ui::{Screen, Ui};
use world::{Target, World};

/// Everything that a frame is drawn from.
#[derive(Debug)]
pub struct Model {
    /// As of the last message.
    pub now: Moment,
    /// The present.
    pub world: World,
    /// The picture that is held still.
    pub frozen: Option<Box<World>>,
    /// The past that is looked at.
    pub replay: Option<Box<Replay>>,
    /// What the operator looks at.
    pub ui: Ui,
    /// Which keys do what.
    pub keys: KeyMap,
    /// The past.
    pub recorder: Recorder,
    /// No connections: a file is looked at.
    pub offline: bool,
    /// The services run in this process: who leaves ends them.
    pub hosting: bool,
}

/// A look at the past.
#[derive(Debug)]
pub struct Replay {
    /// As it was.
    pub world: World,
    /// Which time is shown, by the recording's `elapsed`.
    pub at: Duration,
    /// It goes on by itself.
    pub playing: bool,
    /// Records already in `world`.
    pub applied: usize,
}

/// A line of the jobs screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JobLine<'a> {
    /// A job.
    Job(&'a jobs::Job),
    /// A run.
    Run(&'a jobs::Run),
}

impl JobLine<'_> {
    /// What selections hold on to.
    pub fn id(&self) -> String {
        match self {
            Self::Job(job) => format!("job {}", job.name),
            Self::Run(run) => format!("run {}", run.id),
        }
    }
}

/// A line of the drills screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrillLine<'a> {
    /// The process that has it.
    pub endpoint: usize,
    /// What it proves.
    pub mode: &'a String,
}

impl DrillLine<'_> {
    /// What selections hold on to.
    pub fn id(&self) -> String {
        format!("{} {}", self.mode, self.endpoint)
    }
}

/// A line of the models screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RegisteredLine<'a> {
    /// A model with nothing in it.
    Empty(&'a Registered),
    /// An alias of a model.
    Alias(&'a Registered, &'a Alias),
    /// A version of a model.
    Version(&'a Registered, &'a Version),
}

/// What selections hold on to among the models.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the line of its name")]
pub enum RegisteredId {
    Empty(String),
    Alias(String, String),
    Version(String, u64),
}

impl RegisteredId {
    /// The model that it is of.
    pub fn model(&self) -> &str {
        match self {
            Self::Empty(model) | Self::Alias(model, _) | Self::Version(model, _) => model,
        }
    }
}

impl<'a> RegisteredLine<'a> {
    /// The model that it is of.
    pub fn model(self) -> &'a Registered {
        match self {
            Self::Empty(model) | Self::Alias(model, _) | Self::Version(model, _) => model,
        }
    }

    /// What selections hold on to.
    pub fn id(self) -> RegisteredId {
        let model = self.model().name.clone();
        match self {
            Self::Empty(_) => RegisteredId::Empty(model),
            Self::Alias(_, alias) => RegisteredId::Alias(model, alias.name.clone()),
            Self::Version(_, version) => RegisteredId::Version(model, version.number),
        }
    }

    /// All that a filter may look for in it.
    fn text(self) -> String {
        let model = &self.model().name;
        match self {
            Self::Empty(_) => model.clone(),
            Self::Alias(_, alias) => format!("{model} {} v{}", alias.name, alias.version),
            Self::Version(of, version) => {
                let aliases: Vec<&str> = of.aliases_of(version.number).collect();
                let said = version.properties.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
                let (aliases, said) = (aliases.join(" "), said.join(" "));
                format!("{model} v{} {} {} {aliases} {said}", version.number, version.sha256, version.problem)
            }
        }
    }
}

impl Model {
    /// Nothing heard yet.
    pub fn new(targets: &[Target], keys: KeyMap, now: Moment) -> Self {
        Self {
            now,
            world: World::new(targets, now),
            frozen: None,
            replay: None,
            ui: Ui::default(),
            keys,
            recorder: Recorder::new(targets.to_vec(), now),
            offline: false,
            hosting: false,
        }
    }

    /// What is on screen: the past, the picture held still, or the present.
    pub fn shown(&self) -> &World {
        match (&self.replay, &self.frozen) {
            (Some(replay), _) => &replay.world,
            (None, Some(frozen)) => frozen,
            (None, None) => &self.world,
        }
    }

    /// What is so now, whatever is on screen; a recording has no other present than what is shown of it.
    pub fn present(&self) -> &World {
        if self.offline { self.shown() } else { &self.world }
    }

    /// Finds the rows that pass band, filter and folds, for all that asks for them until the board is drawn up again.
    pub fn list(&mut self) {
        let listing = Listing::of(self.shown(), &self.ui);
        let shown = match (&mut self.replay, &mut self.frozen) {
            (Some(replay), _) => &mut replay.world,
            (None, Some(frozen)) => frozen,
            (None, None) => &mut self.world,
        };
        shown.listing = Some(listing);
    }

    /// Places on the board of the rows that pass; as found before, unless something else is asked for by now.
    fn places(&self) -> Cow<'_, [usize]> {
        match self.shown().listing.as_ref().filter(|listing| listing.is_for(&self.ui)) {
            Some(listing) => Cow::Borrowed(&listing.places),
            None => Cow::Owned(Listing::of(self.shown(), &self.ui).places),
        }
    }

    /// Rows of the board that pass band, filter and folds.
    pub fn rows(&self) -> Vec<&Row> {
        let rows = &self.shown().board.rows;
        self.places().iter().map(|place| &rows[*place]).collect()
    }

    /// Where the cursor is among these rows.
    pub fn cursor(&self) -> Option<usize> {
        self.cursor_among(&self.places())
    }

    fn cursor_among(&self, places: &[usize]) -> Option<usize> {
        let held = self.ui.row.id().and_then(|id| self.shown().board.place(id));
        let found = held.and_then(|place| match self.ui.order(Screen::Board) {
            // Places stand as the board has them.
            Some(Order::Severity) => places.binary_search(&place).ok(),
            _ => places.iter().position(|known| *known == place),
        });
        self.ui.row.within(found, places.len())
    }

    /// The row under the cursor.
    pub fn selected_row(&self) -> Option<&Row> {
        let places = self.places();
        let place = places[self.cursor_among(&places)?];
        self.shown().board.rows.get(place)
    }

    /// Accounts that pass the filter, in the order of their screen.
    pub fn accounts(&self) -> Vec<&usage::AccountUse> {
        let filter = self.ui.filter(Screen::Usage).to_lowercase();
        let accounts = self.shown().usage.accounts.iter();
        let mut listed: Vec<_> = accounts.filter(|account| has_words(|| account.account.clone(), &filter)).collect();
        if let Some(order) = self.ui.order(Screen::Usage) {
            order::accounts(&mut listed, order, &self.shown().usage);
        }
        listed
    }

    /// Jobs, then runs, that pass the filter, in the order of their screen.
    pub fn job_lines(&self) -> Vec<JobLine<'_>> {
        let filter = self.ui.filter(Screen::Jobs).to_lowercase();
        let jobs = &self.shown().jobs;
        let text = |run: &jobs::Run| format!("{} {} {} {} {}", run.job, run.state.name(), run.by, run.note, run.id);
        let mut of_jobs: Vec<_> = jobs.jobs.iter().filter(|job| has_words(|| job.name.clone(), &filter)).collect();
        let mut of_runs: Vec<_> = jobs.runs.iter().filter(|run| has_words(|| text(run), &filter)).collect();
        if let Some(order) = self.ui.order(Screen::Jobs) {
            let now = self.shown().time_of("rollup");
            order::jobs(&mut of_jobs, order, now);
            order::runs(&mut of_runs, order, now);
        }
        of_jobs.into_iter().map(JobLine::Job).chain(of_runs.into_iter().map(JobLine::Run)).collect()
    }

    /// What can be proven: each mode that has a drill or a result in a process, in the order of their screen.
    pub fn drill_lines(&self) -> Vec<DrillLine<'_>> {
        let filter = self.ui.filter(Screen::Drills).to_lowercase();
        let mut lines = Vec::new();
        for (index, endpoint) in self.shown().endpoints.iter().enumerate() {
            let book = &endpoint.drills;
            let listed = book.listed.iter().flatten().map(|drill| &drill.mode);
            let modes: std::collections::BTreeSet<&String> = listed.chain(book.runs.keys()).collect();
            lines.extend(modes.into_iter().map(|mode| DrillLine { endpoint: index, mode }));
        }
        lines.retain(|line| has_words(|| self.drill_text(*line), &filter));
        lines.sort_by_key(|line| (line.mode, line.endpoint));
        if self.ui.order(Screen::Drills) == Some(Order::Proof) {
            let world = self.shown();
            lines.sort_by_cached_key(|line| order::worth(world.proof_at(line.endpoint, line.mode), world.now));
        }
        lines
    }

    /// All that a filter may look for in a drill.
    fn drill_text(&self, line: DrillLine<'_>) -> String {
        let world = self.shown();
        let endpoint = &world.endpoints[line.endpoint];
        let title = world.catalogue.get(line.mode).map_or("", |mode| &mode.title);
        let drill = endpoint.drills.drill(line.mode);
        let fault = drill.map_or("", |drill| &drill.fault);
        let found = world.proof_at(line.endpoint, line.mode).run().map(drill::DrillRun::found).unwrap_or_default();
        format!("{} {title} {} {fault} {found}", line.mode, endpoint.name())
    }

    /// Of each model its aliases, then its versions, that pass the filter.
    pub fn registered_lines(&self) -> Vec<RegisteredLine<'_>> {
        let filter = self.ui.filter(Screen::Models).to_lowercase();
        let mut lines = Vec::new();
        for model in &self.shown().registry.models {
            if model.aliases.is_empty() && model.versions.is_empty() {
                lines.push(RegisteredLine::Empty(model));
            }
            lines.extend(model.aliases.iter().map(|alias| RegisteredLine::Alias(model, alias)));
            lines.extend(model.versions.iter().map(|version| RegisteredLine::Version(model, version)));
        }
        lines.retain(|line| has_words(|| line.text(), &filter));
        lines
    }

    /// The line under the cursor.
    pub fn selected_registered(&self) -> Option<RegisteredLine<'_>> {
        let lines = self.registered_lines();
        let ids: Vec<RegisteredId> = lines.iter().map(|line| line.id()).collect();
        lines.get(self.ui.registered.place(ids.iter())?).copied()
    }

    /// The account under the cursor.
    pub fn selected_account(&self) -> Option<&usage::AccountUse> {
        let accounts = self.accounts();
        let place = self.ui.account.place(accounts.iter().map(|account| &account.account))?;
        accounts.get(place).copied()
    }

    /// The job or run under the cursor.
    pub fn selected_job(&self) -> Option<JobLine<'_>> {
        let lines = self.job_lines();
        let ids: Vec<String> = lines.iter().map(JobLine::id).collect();
        lines.get(self.ui.job.place(ids.iter())?).copied()
    }

    /// The dead letter under the cursor.
    pub fn selected_letter(&self) -> Option<&Letter> {
        let letters = self.letters();
        let place = self.ui.letter.place(letters.iter().map(|letter| &letter.id))?;
        letters.get(place).copied()
    }

    /// The drill under the cursor.
    pub fn selected_drill(&self) -> Option<DrillLine<'_>> {
        let lines = self.drill_lines();
        let ids: Vec<String> = lines.iter().map(DrillLine::id).collect();
        lines.get(self.ui.drill.place(ids.iter())?).copied()
    }

    /// Dead letters that have all the words of the filter which the server was not asked for, in the order of their screen.
    pub fn letters(&self) -> Vec<&Letter> {
        let (_, words) = letters::parse_filter(self.ui.filter(Screen::Letters));
        let letters = self.shown().letters.letters.iter();
        let has_words = |letter: &&Letter| {
            let text = format!("{} {} {} {} {}", letter.id, letter.stream, letter.reason, letter.account, letter.detail);
            let text = text.to_lowercase();
            words.iter().all(|word| text.contains(word))
        };
        let mut listed: Vec<_> = letters.filter(has_words).collect();
        if let Some(order) = self.ui.order(Screen::Letters) {
            order::letters(&mut listed, order);
        }
        listed
    }
}

/// Whether a text has each word of a filter, in whatever case. Without a word none is made: there may be many rows.
fn has_words(text: impl FnOnce() -> String, filter: &str) -> bool {
    let mut words = filter.split_whitespace().peekable();
    words.peek().is_none() || {
        let text = text().to_lowercase();
        words.all(|word| text.contains(word))
    }
}
