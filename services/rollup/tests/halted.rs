//! An archive that dies before and after each of its calls on history: the store is the embedded one, which no proxy is
//! before. What PostgreSQL sees of it is ended statement by statement in the scenarios.

#![allow(clippy::unwrap_used)]

mod world;

use async_trait::async_trait;
use loadline_domain::archive::Part;
use loadline_store::RunState;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;
use world::{
    Leading, World, ten_days,
    watched::{Eye, Watched},
};

/// Every end of every call on history that an archive makes, and the tidying after it.
const ENDS: [(&str, [&str; 4]); 3] = [
    ("archive", ["begin", "begun", "write", "written"]),
    ("archive", ["finish", "finished", "count", "counted"]),
    ("tidy_history", ["merge", "merged", "sweep", "swept"]),
];

/// The end that is not passed.
#[derive(Default)]
struct Way {
    halt: Mutex<&'static str>,
    reached: Notify,
}

#[async_trait]
impl Eye for Way {
    async fn sees(&self, end: &'static str, _: &Part) {
        self.tidies(end).await;
    }

    async fn tidies(&self, end: &'static str) {
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
    let world = World::over(move |history| Arc::new(Watched { history, eye: given })).await;
    ten_days(&world).await;
    for (job, end) in ENDS.iter().flat_map(|(job, ends)| ends.iter().map(move |end| (*job, *end))) {
        if end == "merge" {
            // Without a day that is archived there is nothing to tidy.
            archived_whole(&world, &way).await;
        }
        *way.halt.lock().unwrap() = end;
        let leading = Leading::start(world.leader("one", world.jobs()));
        world.enqueue(job, end).await;
        timeout(Duration::from_secs(30), way.reached.notified()).await.unwrap_or_else(|_| panic!("`{end}` was not reached"));
        leading.die();
        // A day that is not in a listed part is hot, and the other way round.
        let (hot, old) = world.events("acme").await;
        assert_eq!(hot + old, 100, "{hot} hot and {old} archived after a death at `{end}`");
        let conservation = world.store.conservation().await.unwrap();
        assert_eq!(conservation.counted, conservation.usage_events, "after a death at `{end}`");
    }
    archived_whole(&world, &way).await;
}

async fn archived_whole(world: &World, way: &Way) {
    *way.halt.lock().unwrap() = "";
    let leading = Leading::start(world.leader("one", world.jobs()));
    let run = world.ended(&world.enqueue("archive", &Uuid::now_v7().to_string()).await).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_eq!(world.events("acme").await, (40, 60));
    leading.stop().await;
}
