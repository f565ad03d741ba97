//! What the wall keeps apart when the statements above it are wrong.

use super::*;
use crate::{
    Options,
    contract::{Owner, Subject, billing, noon, receipt},
    postgres::{PostgresStore, postgres_server::PostgresServer, usage},
};
use loadline_domain::Hour;
use loadline_proto::event::DeliveryStatus;
use sqlx::{AssertSqlSafe, Connection as _, raw_sql};

/// Two accounts with hours, latency, a mark and a letter each, and rolled up days.
async fn two_accounts(server: &PostgresServer) -> Subject {
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for (account, events) in [("acme", 2), ("globex", 5)] {
        for i in 0..events {
            owner.count(&[billing(&format!("{account}-{i}"), account, noon())]).await;
        }
        owner.count(&[receipt(&format!("{account}-r"), account, noon(), DeliveryStatus::Delivered)]).await;
    }
    let leadership = subject.lead("rollup", "test", std::time::Duration::from_secs(600)).await.unwrap().unwrap();
    subject.roll_up(&leadership, 10).await.unwrap();
    // Marked again, and a letter: the same event with other content.
    for account in ["acme", "globex"] {
        let mut changed = billing(&format!("{account}-0"), account, noon());
        changed.segments += 1;
        owner.count(&[changed, billing(&format!("{account}-late"), account, noon())]).await;
    }
    subject
}

/// Runs one of the statements that answer, as it stands or with its condition on the account lost; returns accounts' events.
async fn events(url: &str, statement: &str, broken: bool) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let (whole, filtered) = (statement.contains("unnest($9::int[]"), statement.contains("cardinality($9"));
    let statement = match broken {
        true => statement.replace("rolled.account = $3", "$3::text <> ''").replace("marked.account = $3", "true"),
        false => statement.to_owned(),
    };
    let statement = if broken { statement.replace("account = $3", "$3::text <> ''") } else { statement };
    let (from, to) = (noon().day().start().hour(), Hour::from_index(noon().day().start().hour().index() + 24));
    let mut asked = sqlx::query_as(AssertSqlSafe(statement))
        .bind(from.start().micros())
        .bind(to.start().micros())
        .bind("acme")
        .bind(0_i64)
        .bind(i64::MAX)
        .bind(from.index())
        .bind(to.index())
        .bind("acme");
    if whole {
        asked = asked.bind(Vec::<i32>::new()).bind(Vec::<i64>::new());
    }
    if filtered {
        asked = asked.bind(Vec::<i16>::new()).bind(Vec::<String>::new()).bind(Vec::<String>::new());
    }
    let (_, _, _, _, _, _, _, lines): usage::Answer = asked.fetch_one(&mut connection).await.unwrap();
    crate::lines::rows(&lines).unwrap().iter().map(|row| row.usage.events).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_lost_its_condition_gives_nothing_of_another_account() {
    let server = PostgresServer::start().await;
    two_accounts(&server).await;
    for statement in usage::STATEMENTS {
        let right = events(&server.service_url(), statement, false).await;
        assert_eq!(right, 4, "{statement}");
        assert_eq!(events(&server.service_url(), statement, true).await, right, "{statement}");
        // The bug is one: without the wall it gives both accounts' rows.
        assert!(events(&server.url(), statement, true).await > right, "{statement}");
    }
}

/// Rows of a table, in a transaction that says so.
async fn seen(connection: &mut PgConnection, sight: &str, table: &str) -> Result<i64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let say = sqlx::query("SELECT set_config('loadline.account', $1, true)").bind(sight);
    say.execute(&mut *transaction).await?;
    let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(count).fetch_one(&mut *transaction).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_with_an_account_is_behind_the_wall() {
    let server = PostgresServer::start().await;
    two_accounts(&server).await;
    let mut connection = PgConnection::connect(&server.service_url()).await.unwrap();
    let tables =
        "SELECT table_name::text FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'account'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    assert!(tables.len() >= 5, "{tables:?}");
    for table in tables {
        let all = seen(&mut connection, "every account", &table).await.unwrap();
        let acme = seen(&mut connection, "acme", &table).await.unwrap();
        let globex = seen(&mut connection, "globex", &table).await.unwrap();
        // Each day's hours are a table; most of those have no rows.
        if all == 0 && table.ends_with(|last: char| last.is_ascii_digit()) {
            continue;
        }
        assert!(acme > 0 && globex > 0 && acme + globex == all, "{table}: {acme} and {globex} of {all}");
        assert_eq!(seen(&mut connection, "nobody", &table).await.unwrap(), 0, "{table}");
        // Whoever says nothing is told so, also where a transaction before it said something.
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let refused = sqlx::query_scalar::<_, i64>(count).fetch_one(&mut connection).await;
        assert!(refused.unwrap_err().to_string().contains("no account is in sight"), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_nobody_known_is_counted_in_every_answer() {
    let server = PostgresServer::start().await;
    two_accounts(&server).await;
    let mut connection = PgConnection::connect(&server.service_url()).await.unwrap();
    let unknown = "SET loadline.account TO 'every account'; UPDATE dead_letter SET account = NULL WHERE account = 'globex'";
    raw_sql(unknown).execute(&mut connection).await.unwrap();
    assert_eq!(seen(&mut connection, "acme", "dead_letter").await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sees_one_account_changes_no_other() {
    let server = PostgresServer::start().await;
    two_accounts(&server).await;
    let mut connection = PgConnection::connect(&server.service_url()).await.unwrap();
    let own = seen(&mut connection, "acme", "usage_hourly").await.unwrap();
    raw_sql("SET loadline.account TO 'acme'").execute(&mut connection).await.unwrap();
    let changed = raw_sql("UPDATE usage_hourly SET events = 0").execute(&mut connection).await.unwrap();
    assert_eq!(changed.rows_affected(), own as u64);
    let given = raw_sql("UPDATE usage_daily SET account = 'globex', day = 0").execute(&mut connection).await;
    assert!(given.unwrap_err().to_string().contains("row-level security"));
    let added = raw_sql("INSERT INTO dirty_day (account, day, version) VALUES ('globex', 1, 1)").execute(&mut connection).await;
    assert!(added.unwrap_err().to_string().contains("row-level security"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_bypasses_the_wall_is_a_finding() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let service = PostgresStore::connect(&subject.url, Options::default()).unwrap();
    assert_eq!(service.gap_in_the_wall().await.unwrap(), None);
    let above = PostgresStore::connect(&server.url(), Options::default()).unwrap();
    let gap = above.gap_in_the_wall().await.unwrap().unwrap();
    assert!(gap.contains("postgres bypasses row-level security"), "{gap}");
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    raw_sql("ALTER TABLE usage_daily NO FORCE ROW LEVEL SECURITY").execute(&mut connection).await.unwrap();
    let gap = service.gap_in_the_wall().await.unwrap().unwrap();
    assert!(gap.contains("off for usage_daily;"), "{gap}");
}

#[test]
fn a_caller_of_one_account_sees_that_account_alone() {
    let account = |name| AccountId::new(name).unwrap();
    let one = AccountScope::of([account("acme")]).unwrap();
    let two = AccountScope::of([account("acme"), account("globex")]).unwrap();
    assert_eq!(sight(&one, &account("acme")).unwrap(), account("acme"));
    assert_eq!(sight(&two, &account("globex")).unwrap(), account("globex"));
    assert_eq!(sight(&AccountScope::All, &account("globex")).unwrap(), account("globex"));
    assert!(matches!(sight(&one, &account("globex")), Err(StoreError::OutOfScope(_))));
    assert!(AccountId::new("every account").is_err(), "no account may be named as all of them are");
}
