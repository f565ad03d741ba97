//! What the console has been told. The same inputs at the same times make the same world, so it can be frozen and replayed.

use super::{
    board::Board,
    crash,
    drill::Proof,
    endpoint::{Endpoint, HISTORY_STEP},
    jobs::JobsView,
    ledger::Ledger,
    letters::Letters,
    listing::Listing,
    registry::Registry,
    remedy::{Plan, Run},
    report::Mode,
    standing::Knowledge,
    timeline::Timeline,
    usage::Usage,
};
use crate::{moment::Moment, text};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

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
    /// Models, as serving lists them.
    pub registry: Registry,
    /// What happened.
    pub timeline: Timeline,
    /// As of the last [`World::settle`].
    pub board: Board,
    /// Of that board.
    pub(super) listing: Option<Listing>,
    /// As of which all this is.
    pub now: Moment,
    /// Which endpoints were blind at the last settling.
    blind: Vec<bool>,
    /// Which were said to be down at the last passing of time.
    down: Vec<bool>,
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
            registry: Registry::default(),
            timeline: Timeline::default(),
            board: Board::default(),
            listing: None,
            now,
            blind: vec![false; targets.len()],
            down: vec![false; targets.len()],
            stepped: now.elapsed,
        }
    }

    /// Notes what time alone has changed; once a second is often enough.
    pub fn pass(&mut self, now: Moment) {
        for index in 0..self.endpoints.len() {
            self.notice_blindness(index, now);
        }
        self.notice_crashes(now);
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
        self.listing = None;
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

    fn notice_crashes(&mut self, now: Moment) {
        let open = crash::down(self, now).into_iter().filter(crash::Down::is_open);
        let open: BTreeMap<usize, crash::Down> = open.map(|down| (down.endpoint, down)).collect();
        for index in 0..self.endpoints.len() {
            let is = open.get(&index);
            if std::mem::replace(&mut self.down[index], is.is_some()) == is.is_some() {
                continue;
            }
            let endpoint = &self.endpoints[index];
            let text = match is {
                Some(down) => format!("opened {} {}", down.severity, crash::reason(endpoint)),
                None => format!("{} {} is up again", endpoint.name(), endpoint.address),
            };
            self.timeline.push(now, crash::ID, text);
        }
    }

    /// What is proven of a mode by one process.
    pub fn proof_at(&self, index: usize, mode: &str) -> Proof<'_> {
        let endpoint = &self.endpoints[index];
        let listed = || endpoint.drills.drill(mode).and_then(|drill| drill.last.as_ref());
        let control = endpoint.drills.controls.get(mode).filter(|run| run.is_under_way());
        let run = control.or_else(|| endpoint.drills.runs.get(mode)).or_else(listed);
        run.map_or(Proof::Never, |run| Proof::of(run, &endpoint.build))
    }

    /// What is proven of a mode by whoever tried last; what is being proven comes first.
    pub fn proof(&self, mode: &str) -> Proof<'_> {
        let proofs = (0..self.endpoints.len()).map(|index| self.proof_at(index, mode));
        let tried = proofs.filter_map(|proof| proof.run().map(|run| (proof, run)));
        tried.min_by_key(|(_, run)| (!run.is_under_way(), run.age(self.now))).map_or(Proof::Never, |(proof, _)| proof)
    }

    /// Runs of all processes, the process first.
    pub fn runs(&self) -> impl Iterator<Item = (usize, &Run)> {
        self.endpoints.iter().enumerate().flat_map(|(index, endpoint)| endpoint.runs.iter().map(move |run| (index, run)))
    }

    /// Plans that wait and have not expired.
    pub fn armed(&self) -> impl Iterator<Item = (usize, &Plan)> {
        let now = self.now.elapsed;
        let plans = self.endpoints.iter().enumerate();
        plans
            .flat_map(|(index, endpoint)| endpoint.armed.iter().map(move |plan| (index, plan)))
            .filter(move |(_, plan)| plan.expires() > now)
    }

    /// Names of the installations that the processes belong to: more than one, and the console looks at two at once.
    pub fn installations(&self) -> BTreeSet<&str> {
        let names = self.endpoints.iter().map(|endpoint| endpoint.installation.as_str());
        names.filter(|name| !name.is_empty()).collect()
    }

    /// The shortest that times are cut to for tests, and in how many processes they are.
    pub fn test_times(&self) -> Option<(Duration, usize)> {
        let cut = self.endpoints.iter().filter_map(|endpoint| endpoint.times_at_most);
        cut.clone().min().map(|shortest| (shortest, cut.count()))
    }

    /// When silence alone will next change what an endpoint is, by the console's `elapsed`.
    pub fn next_silence(&self, now: Moment) -> Option<Duration> {
        let times = self.endpoints.iter().flat_map(Endpoint::deadlines);
        times.filter(|time| *time > now.elapsed).min()
    }

    /// What the catalogue says of a mode; of the one that the console tells by itself there is always something.
    pub fn mode(&self, id: &str) -> Option<&Mode> {
        self.catalogue.get(id).or_else(|| (id == crash::ID).then(crash::mode))
    }

    /// How many endpoints are known so well.
    pub fn known(&self, knowledge: Knowledge) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.knowledge(self.now) == knowledge).count()
    }

    /// What time it is by the clock of a service, as far as that is known.
    pub fn time_of(&self, service: &str) -> Timestamp {
        self.endpoint_of(service).map_or(self.now.wall, |index| self.endpoints[index].its_time(self.now))
    }

    /// The first endpoint of a service that is up; otherwise one that is not known to be another's.
    pub fn endpoint_of(&self, service: &str) -> Option<usize> {
        let of_service = |endpoint: &Endpoint| endpoint.service == service;
        let up = |endpoint: &Endpoint| endpoint.link == super::endpoint::Link::Up;
        self.endpoints.iter().position(|endpoint| of_service(endpoint) && up(endpoint))
    }
}
