//! Accounts that are not apart (AN-10): what closes, for whom, and how it opens again.

use crate::{
    operator::{DONE, Operator, until},
    world::{HOUR, MINUTE, Published as _, World, bill, noon, time},
};
use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour, Timestamp,
    archive::{Part, Totals},
    event::Currency,
    question::{LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use loadline_health::Monitor;
use loadline_history::{History, HistoryError, PartWriter};
use loadline_proto::{
    health::{Severity, State, remedy_run::Outcome},
    query::{
        ExplainUsageRequest, GetDeliveryRequest, GetUsageRequest, ListTopAccountsRequest, WatchUsageRequest,
        usage_service_client::UsageServiceClient,
    },
};
use loadline_query::{ACCESS, Query, detect::DETECTS, remedies};
use loadline_runtime::{Shutdown, errors::reason};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tonic::{Code, Status, service::RoutesBuilder, transport::Channel};

/// How long rounds have to be clean; two minutes in the product. Half of it is longer than the desk's pause between two runs.
const CLEAR: Duration = Duration::from_secs(24);

/// A history that gives everybody the same rows, when it leaks.
struct Leaky {
    history: Arc<dyn History>,
    leaks: AtomicBool,
}

impl Leaky {
    fn rows(&self, query: &UsageQuery) -> Vec<UsageRow> {
        let usage = Usage { events: 1, messages: 1, ..Usage::default() };
        let row = UsageRow { hour: Some(query.from), channel: None, country: None, currency: Some(Currency::UNKNOWN), usage };
        if self.leaks.load(SeqCst) { vec![row] } else { Vec::new() }
    }
}

#[async_trait]
impl History for Leaky {
    async fn prepare(&self) -> Result<(), HistoryError> {
        self.history.prepare().await
    }

    async fn probe(&self) -> Result<(), HistoryError> {
        self.history.probe().await
    }

    async fn probe_writing(&self) -> Result<(), HistoryError> {
        self.history.probe_writing().await
    }

    async fn claim(&self, store: &str) -> Result<(), HistoryError> {
        self.history.claim(store).await
    }

    async fn begin(&self, part: &Part) -> Result<Box<dyn PartWriter>, HistoryError> {
        self.history.begin(part).await
    }

    async fn totals(&self, part: &Part) -> Result<Totals, HistoryError> {
        self.history.totals(part).await
    }

    async fn usage(&self, _: &AccountScope, _: &[Part], query: &UsageQuery) -> Result<Vec<UsageRow>, HistoryError> {
        Ok(self.rows(query))
    }

    async fn delivery(
        &self,
        _: &AccountScope,
        _: &[Part],
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>), HistoryError> {
        Ok((self.rows(query).into_iter().map(|row| UsageRow { hour: None, currency: None, ..row }).collect(), Vec::new()))
    }

    async fn account_totals(
        &self,
        _: &AccountScope,
        _: &[Part],
        _: Hour,
        _: Hour,
        _: &UsageFilter,
    ) -> Result<HashMap<(AccountId, Currency), Usage>, HistoryError> {
        Ok(HashMap::new())
    }

    async fn compact(&self, parts: &[Part]) -> Result<u64, HistoryError> {
        self.history.compact(parts).await
    }

    async fn sweep(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
        self.history.sweep(keep, older_than).await
    }

    fn caveats(&self) -> Vec<String> {
        self.history.caveats()
    }
}

/// Yesterday is archived, as far as the store knows.
const ARCHIVED: &str = "INSERT INTO archived_part (day, number, token, hourly_rows, hourly, latency_rows, latency, archived_at)
    SELECT 20777, 0, 'leaky', 0, sums, 0, '[]', 0
    FROM (SELECT '[\"0\",\"0\",\"0\",\"0\",\"0\",\"0\",\"0\",\"0\",\"0\",\"0\"]' AS sums) AS zeros";

struct Scene {
    operator: Operator,
    history: Arc<Leaky>,
    shutdown: Shutdown,
    _world: World,
}

impl Scene {
    /// A service that looks every second, over a history that can be made to leak.
    async fn over(world: World) -> Self {
        world.count([bill("one", noon().minus(MINUTE)).event()]).await;
        world.tamper(ARCHIVED).await;
        let shutdown = Shutdown::new();
        let history = Arc::new(Leaky { history: world.history.clone(), leaks: AtomicBool::new(false) });
        let mut parts = world.parts(&shutdown);
        parts.history = history.clone();
        parts.settings.isolation_every = Duration::from_secs(1);
        parts.settings.times_at_most = CLEAR;
        let query = Query::new(parts);
        let monitor = Monitor::new("query", "test", DETECTS).unwrap();
        monitor.wait_at_most(CLEAR);
        remedies::install(&monitor, &query, vec![]);
        let mut routes = RoutesBuilder::default();
        query.routes(&mut routes);
        let operator = Operator::at(&monitor, ACCESS, routes, world.store.clone()).await;
        tokio::spawn(async move { query.detect(&monitor).await.unwrap() });
        Self { operator, history, shutdown, _world: world }
    }

    fn client(&self) -> UsageServiceClient<Channel> {
        UsageServiceClient::new(self.operator.channel.clone())
    }

    /// By every method.
    async fn answers(&self) -> Vec<Result<(), Status>> {
        let (mut client, usage) = (self.client(), usage());
        let GetUsageRequest { account, from, to, .. } = usage.clone();
        let delivery = GetDeliveryRequest { account: account.clone(), from, to, ..GetDeliveryRequest::default() };
        let ranking = ListTopAccountsRequest { from, to, ..ListTopAccountsRequest::default() };
        let watch = WatchUsageRequest { usage: Some(usage.clone()), min_interval: None };
        vec![
            client.get_usage(usage).await.map(drop),
            client.get_delivery(delivery).await.map(drop),
            client.list_top_accounts(ranking).await.map(drop),
            client.watch_usage(watch).await.map(drop),
            client.explain_usage(ExplainUsageRequest { account, hour: from }).await.map(drop),
        ]
    }

    /// Some of the answers may still be refused while it opens.
    async fn is_open(&self) -> bool {
        self.answers().await.iter().all(Result::is_ok)
    }

    async fn is_closed(&self) -> bool {
        let answers = self.answers().await;
        let closed = |answer: &Result<(), Status>| answer.as_ref().is_err_and(is_breach);
        assert!(answers.iter().all(closed) || answers.iter().all(Result::is_ok), "{answers:?}");
        answers.iter().all(closed)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

fn usage() -> GetUsageRequest {
    let (from, to) = (Some(time(noon().minus(HOUR))), Some(time(noon())));
    GetUsageRequest { account: "acme".to_owned(), from, to, ..GetUsageRequest::default() }
}

fn is_breach(status: &Status) -> bool {
    status.code() == Code::Unavailable && reason(status).as_deref() == Some("ISOLATION_BREACH")
}

async fn rows_of_others_close_account_data_until_the_remedy_finds_none(world: World) {
    let scene = Scene::over(world).await;
    let Scene { operator, history, .. } = &scene;
    operator.sees("AN-10", State::Ok).await;
    assert!(!scene.is_closed().await);
    let watch = WatchUsageRequest { usage: Some(usage()), min_interval: None };
    let mut watched = scene.client().watch_usage(watch).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    let early = operator.plan("AN-10", "Q", "").await.unwrap();
    assert_eq!((early.confirm.as_str(), early.effects[1].count), ("y", 0));

    history.leaks.store(true, SeqCst);
    operator.sees("AN-10", State::Open).await;
    let open = operator.monitor.status("AN-10").unwrap();
    assert_eq!(open.severity(), Severity::P1);
    assert!(open.evidence.unwrap().value >= 1.0);
    assert!(scene.is_closed().await);
    assert!(is_breach(&watched.message().await.unwrap_err()), "a watch that began before ends");
    let moved = operator.execute(&early).await.unwrap_err();
    assert_eq!(reason(&moved).as_deref(), Some("WORLD_MOVED"), "{moved:?}");

    let plan = operator.plan("AN-10", "Q", "account data").await.unwrap();
    assert_eq!(plan.effects[1].count, 1);
    assert_eq!(reason(&operator.confirm(&plan, "yes").await.unwrap_err()).as_deref(), Some("WRONG_CONFIRM"));
    let run = operator.execute(&plan).await.unwrap();
    let failed = operator.ends(&run, Outcome::Failed).await;
    assert!(failed.note.contains("stays closed"), "{failed:?}");
    assert!(scene.is_closed().await);

    history.leaks.store(false, SeqCst);
    tokio::time::sleep(CLEAR / 2).await;
    assert!(scene.is_closed().await, "a clean round opens nothing before its time");
    let plan = operator.plan("AN-10", "Q", "").await.unwrap();
    let run = operator.execute(&plan).await.unwrap();
    until("an answer", async || scene.is_open().await).await;
    assert_ne!(operator.run(&run).await.outcome(), Outcome::Verified, "the mode closes by its own signal, later");
    let ended = operator.ends(&run, Outcome::Verified).await;
    assert!(ended.actual.iter().any(|effect| effect.text == "closure lifted" && effect.count == 1), "{ended:?}");
    assert!(!scene.is_closed().await);
    let story = operator.story("Q").await;
    assert_eq!(story[story.len() - 3..], DONE, "{story:?}");
    assert!(story.contains(&"remedy.finish FAILED".to_owned()), "{story:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_others_close_account_data_until_the_remedy_finds_none_on_sqlite() {
    rows_of_others_close_account_data_until_the_remedy_finds_none(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_others_close_account_data_until_the_remedy_finds_none_on_postgres() {
    rows_of_others_close_account_data_until_the_remedy_finds_none(World::on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_data_opens_by_itself_when_rounds_were_clean_for_the_clear_time() {
    let scene = Scene::over(World::new().await).await;
    scene.history.leaks.store(true, SeqCst);
    scene.operator.sees("AN-10", State::Open).await;
    assert!(scene.is_closed().await);
    scene.history.leaks.store(false, SeqCst);
    until("an answer", async || scene.is_open().await).await;
    // By the same readings, at the same time.
    scene.operator.sees("AN-10", State::Ok).await;
}
