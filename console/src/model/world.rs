//! What the console has been told. The same inputs at the same times make the same world, so it can be frozen and replayed.

use super::{
    board::Board,
    endpoint::{Endpoint, HISTORY_STEP},
    jobs::JobsView,
    ledger::Ledger,
    letters::Letters,
    report::Mode,
    standing::Knowledge,
    timeline::Timeline,
    usage::Usage,
};
use crate::{moment::Moment, text};
use std::{collections::BTreeMap, time::Duration};

/// All facts.
#[derive(Debug, Clone)]
pub struct World {
    /// The processes, in the order of the command line.
    pub endpoints: Vec<Endpoint>,
    /// The modes, by id.
    pub catalogue: BTreeMap<String, Mode>,
    /// The books.
    pub ledger: Ledger,
    /// Accounts.
    pub usage: Usage,
    /// Background jobs.
    pub jobs: JobsView,
    /// Dead letters.
    pub letters: Letters,
    /// What happened.
    pub timeline: Timeline,
    /// As of the last [`World::settle`].
    pub board: Board,
    /// As of which all this is.
    pub now: Moment,
    /// Which endpoints were blind at the last settling.
    blind: Vec<bool>,
    /// When the last step of history was taken.
    stepped: Duration,
}

/// A process to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// The service expected there; empty: whatever it says.
    pub service: String,
}

impl World {
    /// Nothing heard yet.
    pub fn new(targets: &[Target], now: Moment) -> Self {
        Self {
            endpoints: targets.iter().map(|target| Endpoint::new(&target.address, &target.service, now)).collect(),
            catalogue: BTreeMap::new(),
            ledger: Ledger::default(),
            usage: Usage::default(),
            jobs: JobsView::default(),
            letters: Letters::default(),
            timeline: Timeline::default(),
            board: Board::default(),
            now,
            blind: vec![false; targets.len()],
            stepped: now.elapsed,
        }
    }

    /// Notes what time alone has changed; once a second is often enough.
    pub fn pass(&mut self, now: Moment) {
        for index in 0..self.endpoints.len() {
            self.notice_blindness(index, now);
        }
        if now.since(self.stepped) >= HISTORY_STEP {
            self.stepped = now.elapsed;
            for endpoint in &mut self.endpoints {
                endpoint.remember(now);
            }
        }
    }

    /// Draws up the board as of now. It follows from the facts alone, so it may be done as often or as seldom as it is looked at.
    pub fn settle(&mut self, now: Moment) {
        self.now = now;
        self.board = Board::of(self, now);
    }

    fn notice_blindness(&mut self, index: usize, now: Moment) {
        let endpoint = &self.endpoints[index];
        let blind = endpoint.knowledge(now) == Knowledge::Blind;
        if std::mem::replace(&mut self.blind[index], blind) == blind {
            return;
        }
        let (subject, address) = (endpoint.name().to_owned(), &endpoint.address);
        let text = match (blind, &endpoint.link) {
            (true, super::endpoint::Link::Down { error, .. }) => format!("{address} cannot be seen: {error}"),
            (true, _) => format!("{address} cannot be seen: silent for {}", text::age(endpoint.silence(now))),
            (false, _) => format!("{address} is seen again"),
        };
        self.timeline.push(now, &subject, text);
    }

    /// When silence alone will next change what an endpoint is, by the console's `elapsed`.
    pub fn next_silence(&self, now: Moment) -> Option<Duration> {
        let times = self.endpoints.iter().flat_map(Endpoint::deadlines);
        times.filter(|time| *time > now.elapsed).min()
    }

    /// How many endpoints are known so well.
    pub fn known(&self, knowledge: Knowledge) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.knowledge(self.now) == knowledge).count()
    }

    /// The first endpoint of a service that is up; otherwise one that is not known to be another's.
    pub fn endpoint_of(&self, service: &str) -> Option<usize> {
        let of_service = |endpoint: &Endpoint| endpoint.service == service;
        let up = |endpoint: &Endpoint| endpoint.link == super::endpoint::Link::Up;
        self.endpoints.iter().position(|endpoint| of_service(endpoint) && up(endpoint))
    }
}
