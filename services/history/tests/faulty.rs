//! A history behind faults: each kind of fault on the calls that archive and answers live from, and none of them longer than its
//! time.
#![allow(clippy::unwrap_used)] // a test may panic, its helpers too

#[path = "../../fault/tests/both/mod.rs"]
mod both;

use both::{Both, HELD, TTL};
use loadline_domain::{
    AccountId, AccountScope, Day, Timestamp,
    archive::{Part, Totals},
    event::{Channel, Country, Currency},
    question::{Grain, GroupBy, UsageFilter, UsageQuery},
    usage::{Usage, UsageKey},
};
use loadline_fault::{Calls, Kind};
use loadline_history::{History, HistoryError, Options, Rows, behind, open};
use tokio::time::timeout;

fn day() -> Day {
    "2026-03-01T00:00:00Z".parse::<Timestamp>().unwrap().day()
}

fn part(token: &str) -> Part {
    Part { day: day(), number: 0, token: token.to_owned() }
}

fn rows() -> Vec<(UsageKey, Usage)> {
    let key = UsageKey {
        account: AccountId::new("acme").unwrap(),
        hour: day().first_hour(),
        channel: Channel::SMS,
        country: Country::parse("DE").unwrap(),
        currency: Currency::parse("EUR").unwrap(),
    };
    vec![(key, Usage { events: 3, messages: 3, ..Usage::default() })]
}

type World = Both<dyn History>;

impl World {
    /// With one part, `whole`.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = open(&format!("file:{}", folder.path().display()), Options::default()).unwrap();
        let world = Self::of(plain, behind, folder);
        world.faulty.prepare().await.unwrap();
        world.write("whole").await.unwrap();
        world
    }

    async fn write(&self, token: &str) -> Result<Totals, HistoryError> {
        let mut writer = self.faulty.begin(&part(token)).await?;
        writer.write(Rows::Hourly(rows())).await?;
        writer.write(Rows::Daily(rows())).await?;
        writer.finish().await
    }

    async fn events(&self, account: &str) -> Result<i64, HistoryError> {
        let query = UsageQuery {
            account: AccountId::new(account).unwrap(),
            from: day().first_hour(),
            to: day().end().hour(),
            filter: UsageFilter::default(),
            group_by: GroupBy::default(),
            grain: Grain::Hour,
        };
        let rows = self.faulty.usage(&AccountScope::All, &[part("whole")], &query).await?;
        Ok(rows.iter().map(|row| row.usage.events).sum())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_that_fails_is_not_made_and_says_whether_a_retry_helps() {
    let world = World::new().await;
    let injected = world.inject(Kind::Error, Calls::all_but(&[]));
    let errors = [
        world.faulty.prepare().await.unwrap_err(),
        world.faulty.probe().await.unwrap_err(),
        world.write("new").await.unwrap_err(),
        world.faulty.totals(&part("whole")).await.unwrap_err(),
        world.events("acme").await.unwrap_err(),
        world.faulty.compact(&[]).await.unwrap_err(),
        world.faulty.sweep(&[], day().end()).await.unwrap_err(),
    ];
    assert!(errors.iter().all(HistoryError::is_retryable), "{errors:?}");
    assert_eq!(injected.met(), errors.len() as u64);
    drop(injected);
    assert!(matches!(world.plain.totals(&part("new")).await, Err(HistoryError::Missing(_))), "it was not begun");
    let injected = world.inject(Kind::Break, Calls::only(&["begin"]));
    let lasting = world.write("new").await.unwrap_err();
    assert!(!lasting.is_retryable() && lasting.to_string().contains("fault injected by test"), "{lasting}");
    drop(injected);
    assert_eq!(world.write("new").await.unwrap().hourly_rows, 1, "its end is the fault's end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_was_begun_meets_faults_at_each_of_its_steps() {
    let world = World::new().await;
    for calls in ["write", "finish"] {
        let only: &'static [&'static str] = if calls == "write" { &["write"] } else { &["finish"] };
        let injected = world.inject(Kind::Error, Calls::only(only));
        assert!(world.write(calls).await.is_err());
        assert_eq!(injected.met(), 1, "{calls}");
        assert!(matches!(world.plain.totals(&part(calls)).await, Err(HistoryError::Missing(_))), "{calls} left a part");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_whose_last_reply_is_lost_is_there() {
    let world = World::new().await;
    let injected = world.inject(Kind::DropReply, Calls::only(&["finish"]));
    assert!(world.write("new").await.unwrap_err().is_retryable());
    assert_eq!((world.plain.totals(&part("new")).await.unwrap().hourly_rows, injected.met()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupted_sums_are_wrong_in_the_answer_alone() {
    let world = World::new().await;
    let injected = world.inject(Kind::Corrupt, Calls::only(&["totals", "usage"]));
    let (seen, right) = (world.faulty.totals(&part("whole")).await.unwrap(), world.plain.totals(&part("whole")).await.unwrap());
    assert_eq!(seen.hourly, right.hourly.map(|sum| sum + 1));
    assert_eq!((world.events("acme").await.unwrap(), injected.met()), (3, 1), "an answer has nothing to corrupt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_held_for_as_long_as_its_fault_lasts_and_no_other_account_waits() {
    for kind in [Kind::Hang, Kind::Delay(TTL)] {
        let world = World::new().await;
        let injected = world.inject(kind, Calls::only(&["usage"]).about("acme"));
        let held = world.events("acme");
        tokio::pin!(held);
        assert!(timeout(HELD, &mut held).await.is_err(), "{kind:?} holds nothing");
        assert_eq!(timeout(TTL, world.events("other")).await.unwrap().unwrap(), 0);
        assert_eq!(injected.met(), 1);
        drop(injected);
        assert_eq!(timeout(TTL, held).await.unwrap().unwrap(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_time_ends_a_fault_that_nobody_takes_away() {
    let world = World::new().await;
    let injected = world.inject_for(HELD, Kind::Hang, Calls::all_but(&[]));
    timeout(TTL, world.faulty.probe()).await.unwrap().unwrap();
    assert!(!injected.is_active() && world.faults.active().is_empty());
    assert_eq!((world.events("acme").await.unwrap(), injected.met()), (3, 1));
}
