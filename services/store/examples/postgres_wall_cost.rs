//! What row-level security costs a question: a month of an account's hours, asked over and over by a role that bypasses it and by one
//! that is held to it, in turns.
//!
//! ```text
//! cargo run -p loadline-store --example postgres_wall_cost
//! ```
#![allow(clippy::unwrap_used)] // a measurement: what fails ends it

#[path = "../tests/postgres_server.rs"]
mod postgres_server;

use loadline_domain::{
    AccountId, AccountScope, Hour,
    question::{Grain, GroupBy, UsageFilter, UsageQuery},
};
use loadline_store::{Options, Store as _, UsageTable as _, postgres::PostgresStore};
use postgres_server::PostgresServer;
use sqlx::{Connection as _, PgConnection, raw_sql};
use std::time::{Duration, Instant};

const ROUNDS: usize = 20;
const CALLS: usize = 100;
const HOURS: i32 = 730;

#[tokio::main]
async fn main() {
    let server = PostgresServer::start_with(&["shared_preload_libraries=pg_stat_statements"]).await;
    // Nothing is kept in memory: the statement reads all hours.
    let options = Options { kept_rows: 0, ..Options::default() };
    let service = PostgresStore::connect(&server.service_url(), options).unwrap();
    let above = PostgresStore::connect(&server.url(), options).unwrap();
    service.migrate().await.unwrap();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let rows = "CREATE EXTENSION pg_stat_statements;
         SELECT loadline_make_day(day) FROM generate_series(490000 / 24, 490729 / 24) AS day;
         INSERT INTO usage_hourly
         SELECT 'account-' || account, 490000 + hour, channel, 'DE', 'EUR', 9, 9, 9, 90000, 1, 1, 1, 1, 1, 1
         FROM generate_series(1, 200) AS account, generate_series(0, 729) AS hour, generate_series(1, 2) AS channel;
         INSERT INTO usage_daily SELECT account, hour / 24, channel, country, currency, sum(events), sum(messages), sum(segments),
             sum(amount_micros), 1, 1, 1, 1, 1, 1 FROM usage_hourly GROUP BY 1, 2, 3, 4, 5;
         VACUUM ANALYZE";
    for statement in rows.split(';') {
        raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    for grain in [Grain::Hour, Grain::Day] {
        let (mut bypassing, mut held) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (b, h) = (&mut bypassing, &mut held);
            let turns = if round % 2 == 0 { [(&above, b), (&service, h)] } else { [(&service, h), (&above, b)] };
            for (store, times) in turns {
                ask(store, grain, round, times).await;
            }
        }
        println!("{grain:?}: {:?} bypassing, {:?} held to the wall, as the caller waits", middle(bypassing), middle(held));
    }
    // The server's own time, without this program's: the mean of the statements that took most.
    let means = "SELECT rolname || ': ' || round(mean_exec_time::numeric, 3) || ' ms, ' || calls || ' times'
         FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid WHERE query LIKE '%AS wall' ORDER BY left(query, 20), 1";
    let means: Vec<String> = sqlx::query_scalar(means).fetch_all(&mut connection).await.unwrap();
    means.iter().for_each(|mean| println!("{mean}"));
}

async fn ask(store: &PostgresStore, grain: Grain, round: usize, times: &mut Vec<Duration>) {
    let from = 490_000 / 24 * 24 + 24;
    for call in 0..CALLS {
        let account = AccountId::new(&format!("account-{}", 1 + (round * CALLS + call) % 200)).unwrap();
        let query = UsageQuery {
            account: account.clone(),
            from: Hour::from_index(from),
            to: Hour::from_index(from + (HOURS - 24) / 24 * 24),
            filter: UsageFilter::default(),
            group_by: GroupBy::default(),
            grain,
        };
        let began = Instant::now();
        let (rows, _) = store.usage(&AccountScope::of([account]).unwrap(), &query).await.unwrap();
        times.push(began.elapsed());
        assert!(!rows.is_empty());
    }
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
