//! An archive that dies before and after each of its calls on history: the store is the embedded one, which no proxy is
//! before. What PostgreSQL sees of it is ended statement by statement in the scenarios.

#![allow(clippy::unwrap_used)]

mod world;

use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour, Timestamp,
    archive::{Part, Totals},
    event::Currency,
    question::{LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use loadline_history::{History, HistoryError, PartWriter, Rows};
use loadline_store::RunState;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};
use world::{Leading, World, ten_days};

/// Every end of every call on history that an archive makes.
const ENDS: [&str; 12] =
    ["begin", "begun", "write", "written", "finish", "finished", "count", "counted", "merge", "merged", "sweep", "swept"];

/// The end that is not passed.
#[derive(Default)]
struct Way {
    halt: Mutex<&'static str>,
    reached: Notify,
}

impl Way {
    async fn pass(&self, end: &'static str) {
        if *self.halt.lock().unwrap() == end {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
async fn dead_at_any_call_on_history_an_archive_leaves_every_event_in_one_place() {
    let way = Arc::new(Way::default());
    let given = way.clone();
    let world = World::over(move |history| Arc::new(Halting { history, way: given })).await;
    ten_days(&world).await;
    for end in ENDS {
        *way.halt.lock().unwrap() = end;
        let leading = Leading::start(world.leader("one", world.jobs()));
        world.enqueue("archive", end).await;
        timeout(Duration::from_secs(30), way.reached.notified()).await.unwrap_or_else(|_| panic!("`{end}` was not reached"));
        leading.die();
        // A day that is not in a listed part is hot, and the other way round.
        let (hot, old) = world.events("acme").await;
        assert_eq!(hot + old, 100, "{hot} hot and {old} archived after a death at `{end}`");
        let conservation = world.store.conservation().await.unwrap();
        assert_eq!(conservation.counted, conservation.usage_events, "after a death at `{end}`");
    }
    *way.halt.lock().unwrap() = "";
    let leading = Leading::start(world.leader("one", world.jobs()));
    let run = world.ended(&world.enqueue("archive", "last").await).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_eq!(world.events("acme").await, (40, 60));
    leading.stop().await;
}

struct Halting {
    history: Arc<dyn History>,
    way: Arc<Way>,
}

struct HaltingWriter {
    writer: Box<dyn PartWriter>,
    way: Arc<Way>,
}

#[async_trait]
impl PartWriter for HaltingWriter {
    async fn write(&mut self, rows: Rows) -> Result<(), HistoryError> {
        self.way.pass("write").await;
        self.writer.write(rows).await?;
        self.way.pass("written").await;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Totals, HistoryError> {
        self.way.pass("finish").await;
        let totals = self.writer.finish().await?;
        self.way.pass("finished").await;
        Ok(totals)
    }
}

#[async_trait]
impl History for Halting {
    async fn prepare(&self) -> Result<(), HistoryError> {
        self.history.prepare().await
    }

    async fn probe(&self) -> Result<(), HistoryError> {
        self.history.probe().await
    }

    async fn begin(&self, part: &Part) -> Result<Box<dyn PartWriter>, HistoryError> {
        self.way.pass("begin").await;
        let writer = self.history.begin(part).await?;
        self.way.pass("begun").await;
        Ok(Box::new(HaltingWriter { writer, way: self.way.clone() }))
    }

    async fn totals(&self, part: &Part) -> Result<Totals, HistoryError> {
        self.way.pass("count").await;
        let totals = self.history.totals(part).await?;
        self.way.pass("counted").await;
        Ok(totals)
    }

    async fn usage(&self, scope: &AccountScope, parts: &[Part], query: &UsageQuery) -> Result<Vec<UsageRow>, HistoryError> {
        self.history.usage(scope, parts, query).await
    }

    async fn delivery(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>), HistoryError> {
        self.history.delivery(scope, parts, query).await
    }

    async fn account_totals(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
    ) -> Result<HashMap<(AccountId, Currency), Usage>, HistoryError> {
        self.history.account_totals(scope, parts, from, to, filter).await
    }

    async fn compact(&self, parts: &[Part]) -> Result<u64, HistoryError> {
        self.way.pass("merge").await;
        let merged = self.history.compact(parts).await?;
        self.way.pass("merged").await;
        Ok(merged)
    }

    async fn sweep(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
        self.way.pass("sweep").await;
        let swept = self.history.sweep(keep, older_than).await?;
        self.way.pass("swept").await;
        Ok(swept)
    }

    fn caveats(&self) -> Vec<String> {
        self.history.caveats()
    }
}
