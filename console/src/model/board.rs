//! The board: every mode over all processes as one row, and a row for each process that cannot be seen.
//!
//! A row is OK only if each part that is to detect the mode is seen now and says so. Everything else shows the worst there is.

use super::{
    crash,
    report::{Mode, Report},
    standing::{Band, Knowledge, Severity, State},
    world::World,
};
use crate::moment::Moment;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Taken for a severity that nobody states: not known to be harmless.
const UNSTATED: Severity = Severity::P2;

/// What a row stands for. Selections hold on to it, not to a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowId {
    /// A process that cannot be seen, by its index; before the modes that are blind with it.
    Endpoint(usize),
    /// A failure mode.
    Mode(String),
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// A process says so.
    Says(State),
    /// The process is blind; this is what it said last.
    Blind(Option<State>),
    /// A part that is to detect it is not seen.
    Unseen(String),
}

/// A row of the board.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it stands for.
    pub id: RowId,
    /// Where it stands.
    pub band: Band,
    /// What it says.
    pub status: Status,
    /// The endpoint whose word this is.
    pub source: Option<usize>,
    /// For how long.
    pub lasts: Option<Duration>,
    /// Until data is lost.
    pub loss: Option<Duration>,
    /// How many processes speak of it.
    pub voices: usize,
    /// What the console itself has found, in place of a reading.
    pub found: Option<String>,
}

impl Row {
    /// Whether it counts: open, or not to be seen. What is suspected does not yet.
    pub fn counts(&self) -> bool {
        match &self.status {
            Status::Says(state) => state.is_active(),
            Status::Blind(_) => matches!(self.band, Band::Of(_)),
            Status::Unseen(_) => false,
        }
    }

    /// Whether it may be drawn as OK.
    pub fn is_ok(&self) -> bool {
        self.status == Status::Says(State::Ok) && self.band == Band::Ok
    }

    /// Lower is more urgent, within a band: what is lost first, what is open, what has lasted.
    fn urgency(&self) -> (Duration, bool, bool) {
        let active = matches!(&self.status, Status::Says(state) if state.is_active());
        (self.loss.unwrap_or(Duration::MAX), !active, !self.counts())
    }
}

/// All rows, the worst first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Board {
    /// In the order of the screen.
    pub rows: Vec<Row>,
    /// Their places in the order of their ids.
    by_id: Vec<usize>,
    tally: Tally,
}

/// What a frame asks of all rows again and again, counted once.
#[derive(Debug, Clone, Default, PartialEq)]
struct Tally {
    sizes: BTreeMap<Band, usize>,
    /// Of rows that count.
    counts: BTreeMap<Severity, usize>,
    suspects: usize,
    worst: Option<Worst>,
}

/// The worst that stands on the board, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worst {
    /// How bad.
    pub severity: Severity,
    /// Of the one that has lasted longest.
    pub lasts: Duration,
}

impl Board {
    /// As of now.
    pub fn of(world: &World, now: Moment) -> Self {
        let reported = world.endpoints.iter().flat_map(|endpoint| endpoint.modes.keys());
        // Before anything is known it would be the only row there is, and the cursor would stay on it.
        let known = !world.catalogue.is_empty() || world.endpoints.iter().any(|endpoint| endpoint.down.is_some());
        let crash = known.then(|| crash::ID.to_owned());
        let ids: BTreeSet<&String> = world.catalogue.keys().chain(reported).chain(&crash).collect();
        let knowledge: Vec<Knowledge> = world.endpoints.iter().map(|endpoint| endpoint.knowledge(now)).collect();
        let blind = (0..world.endpoints.len()).filter(|index| knowledge[*index] == Knowledge::Blind);
        // Ids and reports are in one order, so that each report is met once.
        let mut reports: Vec<_> = world.endpoints.iter().map(|endpoint| endpoint.modes.iter().peekable()).collect();
        let mut said: Vec<(usize, &Report)> = Vec::new();
        let modes = ids.into_iter().map(|id| {
            said.clear();
            said.extend(reports.iter_mut().enumerate().filter_map(|(index, of)| {
                let (_, report) = of.next_if(|(known, _)| *known == id)?;
                Some((index, report))
            }));
            mode_row(world, id, &said, &knowledge, now)
        });
        Self::sorted(blind.map(|index| endpoint_row(world, index, now)).chain(modes).collect())
    }

    /// From rows in the order of their ids, which decides between those that are as urgent.
    fn sorted(rows: Vec<Row>) -> Self {
        let mut numbered: Vec<(usize, Row)> = rows.into_iter().enumerate().collect();
        numbered.sort_by_key(|(_, row)| (row.band, row.urgency()));
        let mut by_id = vec![0; numbered.len()];
        for (place, (number, _)) in numbered.iter().enumerate() {
            by_id[*number] = place;
        }
        let rows: Vec<Row> = numbered.into_iter().map(|(_, row)| row).collect();
        Self { tally: Tally::of(&rows), rows, by_id }
    }

    /// Where the row of something is.
    pub fn place(&self, id: &RowId) -> Option<usize> {
        let found = self.by_id.binary_search_by(|place| self.rows[*place].id.cmp(id)).ok()?;
        Some(self.by_id[found])
    }

    /// The row of something.
    pub fn row(&self, id: &RowId) -> Option<&Row> {
        self.place(id).map(|place| &self.rows[place])
    }

    /// How many of a severity are open, or not to be seen.
    pub fn count(&self, severity: Severity) -> usize {
        self.tally.counts.get(&severity).copied().unwrap_or_default()
    }

    /// How many rows a band has, suspected ones included.
    pub fn size(&self, band: Band) -> usize {
        self.tally.sizes.get(&band).copied().unwrap_or_default()
    }

    /// How many are about to open.
    pub fn suspects(&self) -> usize {
        self.tally.suspects
    }

    /// The worst.
    pub fn worst(&self) -> Option<Worst> {
        self.tally.worst
    }
}

impl Tally {
    fn of(rows: &[Row]) -> Self {
        let mut tally = Self::default();
        for row in rows {
            *tally.sizes.entry(row.band).or_default() += 1;
            tally.suspects += usize::from(row.status == Status::Says(State::Suspect));
            if let (Band::Of(severity), true) = (row.band, row.counts()) {
                *tally.counts.entry(severity).or_default() += 1;
                let lasts = row.lasts.unwrap_or_default();
                tally.worst = Some(match tally.worst {
                    Some(worst) if worst.severity < severity => worst,
                    Some(worst) if worst.severity == severity => Worst { severity, lasts: worst.lasts.max(lasts) },
                    Some(_) | None => Worst { severity, lasts },
                });
            }
        }
        tally
    }
}

fn endpoint_row(world: &World, index: usize, now: Moment) -> Row {
    let endpoint = &world.endpoints[index];
    Row {
        id: RowId::Endpoint(index),
        band: Band::Of(endpoint.blind_severity()),
        status: Status::Blind(None),
        source: Some(index),
        lasts: Some(endpoint.silence(now)),
        loss: None,
        voices: 1,
        found: None,
    }
}

/// The worst that anybody says of a mode, or that nobody says although somebody should.
fn mode_row(world: &World, id: &str, said: &[(usize, &Report)], knowledge: &[Knowledge], now: Moment) -> Row {
    let mode = world.mode(id);
    let base = mode.and_then(|mode| mode.base).unwrap_or(UNSTATED);
    let mut voices = 0;
    let mut worst: Option<Row> = None;
    let mut consider = |band: Band, status: Status, source: Option<usize>, report: Option<&Report>| {
        let lasts = match (&status, source) {
            // Not for how long it was so, but for how long nobody has known.
            (Status::Blind(_), Some(index)) => Some(world.endpoints[index].silence(now)),
            _ => report.and_then(|report| report.lasts(now)),
        };
        let loss = report.and_then(|report| report.time_to_loss(now));
        // Its id is put in once it is known which of them it is.
        let row = Row { id: RowId::Mode(String::new()), band, status, source, lasts, loss, voices: 0, found: None };
        if worst.as_ref().is_none_or(|known| (row.band, row.urgency()) < (known.band, known.urgency())) {
            worst = Some(row);
        }
    };
    for &(index, report) in said {
        let endpoint = &world.endpoints[index];
        let owned = mode.is_none_or(|mode| mode.is_owned_by(&endpoint.service));
        // That somebody else does not detect it means nothing where the console does.
        let undetected = matches!(report.state, State::Planned | State::Unknown) && id == crash::ID;
        if undetected || (matches!(report.state, State::Planned) && !owned) {
            continue;
        }
        voices += 1;
        let severity = report.severity.unwrap_or(base);
        let (band, status) = match (knowledge[index], report.state) {
            (Knowledge::Blind | Knowledge::Waiting, State::Planned) => (Band::Planned, Status::Blind(Some(State::Planned))),
            (Knowledge::Blind | Knowledge::Waiting, state) => {
                // What was not open may be by now, and counts as much as the silence of its process; it is not taken for an outage.
                let severity = if state.is_active() { severity } else { base.max(endpoint.blind_severity()) };
                (Band::Of(severity), Status::Blind(Some(state)))
            }
            (Knowledge::Live | Knowledge::Late, state) => (band(state, severity), Status::Says(state)),
        };
        consider(band, status, Some(index), Some(report));
    }
    match mode {
        Some(_) if id == crash::ID => {}
        Some(mode) if mode.planned => consider(Band::Planned, Status::Says(State::Planned), None, None),
        Some(mode) => {
            if let Some(unseen) = unseen_owner(world, id, mode, knowledge) {
                consider(Band::Unknown, Status::Unseen(unseen), None, None);
            }
        }
        None => {}
    }
    if id == crash::ID {
        let own = crash_row(world, knowledge, now);
        voices += 1;
        if worst.as_ref().is_none_or(|known| (own.band, own.urgency()) <= (known.band, known.urgency())) {
            worst = Some(own);
        }
    }
    let row = worst.unwrap_or_else(|| Row {
        id: RowId::Mode(String::new()),
        band: Band::Unknown,
        status: Status::Unseen("nobody reports it".to_owned()),
        source: None,
        lasts: None,
        loss: None,
        voices: 0,
        found: None,
    });
    Row { id: RowId::Mode(id.to_owned()), voices, ..row }
}

/// What the console itself has to say of crashed processes.
fn crash_row(world: &World, knowledge: &[Knowledge], now: Moment) -> Row {
    let id = RowId::Mode(crash::ID.to_owned());
    let row = Row {
        id,
        band: Band::Ok,
        status: Status::Says(State::Ok),
        source: None,
        lasts: None,
        loss: None,
        voices: 0,
        found: None,
    };
    let down = crash::down(world, now);
    // Those for which it is time first, then the worst, then what has lasted longest.
    let worst = down.iter().min_by_key(|down| (!down.is_open(), down.severity, std::cmp::Reverse(down.lasts)));
    if let Some(worst) = worst {
        let more = if down.len() > 1 { format!(", and {} more", down.len() - 1) } else { String::new() };
        return Row {
            band: Band::Of(worst.severity),
            status: Status::Says(if worst.is_open() { State::Open } else { State::Suspect }),
            source: Some(worst.endpoint),
            lasts: Some(worst.lasts),
            found: Some(format!("{}{more}", crash::reason(&world.endpoints[worst.endpoint]))),
            ..row
        };
    }
    match crash::untold(world, knowledge) {
        Some(index) => {
            let why = format!("{} is silent: whether it has crashed cannot be told", world.endpoints[index].name());
            Row { band: Band::Unknown, status: Status::Unseen(why), ..row }
        }
        None => Row { found: Some(format!("{} processes are seen", world.endpoints.len())), ..row },
    }
}

fn band(state: State, severity: Severity) -> Band {
    match state {
        State::Ok => Band::Ok,
        State::Planned => Band::Planned,
        State::Unknown | State::Foreign(_) => Band::Unknown,
        State::Suspect | State::Open | State::Acknowledged | State::Remediating | State::Verifying => Band::Of(severity),
    }
}

/// A service that is to detect the mode, of which no process is seen, or one whose process does not speak of it.
fn unseen_owner(world: &World, id: &str, mode: &Mode, knowledge: &[Knowledge]) -> Option<String> {
    let silent = world.endpoints.iter().enumerate().find(|(index, endpoint)| {
        let seen = matches!(knowledge[*index], Knowledge::Live | Knowledge::Late);
        seen && mode.is_owned_by(&endpoint.service) && !endpoint.modes.contains_key(id)
    });
    if let Some((_, endpoint)) = silent {
        return Some(format!("{} does not report it", endpoint.name()));
    }
    let reporting = |owner: &str| {
        let of_owner = |endpoint: &&super::endpoint::Endpoint| owner == "all" || endpoint.service == owner;
        world.endpoints.iter().filter(of_owner).any(|endpoint| endpoint.modes.contains_key(id))
    };
    let absent = mode.owners.iter().find(|owner| !reporting(owner))?;
    Some(format!("{absent} is not seen"))
}
