//! In which order rows are listed: one choice a screen, and one key that goes to the next.

use super::{
    board::{Row, RowId},
    drill::{DrillRun, Proof},
    jobs::{Job, Run, RunState},
    letters::Letter,
    ui::Screen,
    usage::{AccountUse, Usage},
    world::World,
};
use crate::moment::Moment;
use jiff::Timestamp;
use std::{cmp::Reverse, time::Duration};

/// By what rows are listed. Those that are alike in it stay as they are listed without a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "`name` says each")]
pub enum Order {
    Severity,
    Newest,
    Id,
    Proof,
    Messages,
    Account,
    Delivered,
    P99,
    Name,
    State,
    Took,
    Reason,
}

impl Order {
    /// Those of a screen, the one that it begins with first. None: there is one order only.
    pub fn of(screen: Screen) -> &'static [Self] {
        match screen {
            Screen::Board => &[Self::Severity, Self::Newest, Self::Id, Self::Proof],
            Screen::Usage => &[Self::Messages, Self::Delivered, Self::P99, Self::Account],
            Screen::Jobs => &[Self::Newest, Self::State, Self::Took, Self::Name],
            Screen::Letters => &[Self::Id, Self::Newest, Self::Reason, Self::Account],
            Screen::Drills => &[Self::Id, Self::Proof],
            Screen::Models => &[],
        }
    }

    /// For titles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Severity => "sev",
            Self::Newest => "newest",
            Self::Id => "id",
            Self::Proof => "proof",
            Self::Messages => "messages",
            Self::Account => "account",
            Self::Delivered => "delivered",
            Self::P99 => "p99",
            Self::Name => "name",
            Self::State => "state",
            Self::Took => "took",
            Self::Reason => "reason",
        }
    }
}

/// Places on the board, which stand by severity and then by the time to loss.
pub fn places(places: &mut [usize], order: Order, world: &World) {
    let rows = &world.board.rows;
    match order {
        Order::Newest => places.sort_by_key(|place| rows[*place].lasts.unwrap_or(Duration::MAX)),
        Order::Id => places.sort_by_key(|place| &rows[*place].id),
        Order::Proof => places.sort_by_cached_key(|place| proof_of(world, &rows[*place])),
        _ => {}
    }
}

fn proof_of(world: &World, row: &Row) -> (u8, Reverse<Duration>) {
    match &row.id {
        RowId::Mode(id) => worth(world.proof(id), world.now),
        // Nothing can be proven of it.
        RowId::Endpoint(_) => (u8::MAX, Reverse(Duration::ZERO)),
    }
}

/// What asks most for a drill comes first, and of that the oldest.
pub fn worth(proof: Proof<'_>, now: Moment) -> (u8, Reverse<Duration>) {
    let rank = match proof {
        Proof::Failed(_) => 0,
        Proof::Void(_) => 1,
        Proof::Never => 2,
        Proof::Old(_) => 3,
        Proof::Test(_) => 4,
        Proof::Running(_) => 5,
        Proof::Passed(_) => 6,
    };
    (rank, Reverse(proof.run().map_or(Duration::ZERO, |run: &DrillRun| run.age(now))))
}

/// Accounts, which stand by their messages. Those of which nothing is known come last.
pub fn accounts(accounts: &mut [&AccountUse], order: Order, usage: &Usage) {
    let delivery = |account: &str| usage.delivery.get(account);
    match order {
        Order::Account => accounts.sort_by_key(|account| &account.account),
        Order::Delivered => accounts.sort_by(|one, other| {
            let rate = |account: &str| delivery(account).and_then(|delivery| delivery.rate).unwrap_or(f64::INFINITY);
            rate(&one.account).total_cmp(&rate(&other.account))
        }),
        // Of an option nothing is the least, and here it is the most of what is reversed.
        Order::P99 => accounts.sort_by_key(|account| Reverse(delivery(&account.account).and_then(|delivery| delivery.p99))),
        _ => {}
    }
}

/// What has failed comes first.
fn rank(state: Option<RunState>) -> u8 {
    match state {
        Some(RunState::Failed) => 0,
        Some(RunState::Interrupted) => 1,
        Some(RunState::Foreign(_)) => 2,
        Some(RunState::Running) => 3,
        Some(RunState::Queued) => 4,
        Some(RunState::Cancelled) => 5,
        Some(RunState::Succeeded) => 6,
        None => 7,
    }
}

/// Jobs, which stand as the server lists them, by the run that is under way or ended last. `now` is by its clock.
pub fn jobs(jobs: &mut [&Job], order: Order, now: Timestamp) {
    match order {
        Order::Name => jobs.sort_by_key(|job| &job.name),
        Order::State => jobs.sort_by_key(|job| rank(job.run().map(|run| run.state))),
        Order::Took => jobs.sort_by_key(|job| Reverse(job.run().and_then(|run| run.lasts(now)))),
        _ => {}
    }
}

/// Runs, the newest of which stands first.
pub fn runs(runs: &mut [&Run], order: Order, now: Timestamp) {
    match order {
        Order::Name => runs.sort_by_key(|run| &run.job),
        Order::State => runs.sort_by_key(|run| rank(Some(run.state))),
        Order::Took => runs.sort_by_key(|run| Reverse(run.lasts(now))),
        _ => {}
    }
}

/// Dead letters, which stand as the server lists them.
pub fn letters(letters: &mut [&Letter], order: Order) {
    match order {
        Order::Newest => letters.sort_by_key(|letter| Reverse(letter.recorded_at)),
        Order::Reason => letters.sort_by_key(|letter| &letter.reason),
        Order::Account => letters.sort_by_key(|letter| &letter.account),
        _ => {}
    }
}
