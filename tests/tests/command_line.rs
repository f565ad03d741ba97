//! The command line against a running node: what it prints, what programs read of it, and its exit codes.

use anyhow::{Context as _, Result};
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::health::{PlanRemedyRequest, failure_mode_service_client::FailureModeServiceClient};
use loadline_tests::{
    binaries,
    command::{self, Finished},
    ports::{self, Ready},
    process::Process,
    questions,
    service::{Program, Service, Settings},
};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{fs, path::PathBuf, process::Command, time::Duration};
use tempfile::TempDir;
use tonic::transport::Endpoint;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn now() -> Timestamp {
    SystemClock.now()
}

/// A node without traffic, and a folder for files.
struct Node {
    service: Service,
    folder: TempDir,
}

impl Node {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let service = Service::start(Settings::new(Program::Node, &file("log.db"), &file("store.db"))).await?;
        Ok(Self { service, folder })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binaries::ours("loadline")?);
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1");
        command.env("LOADLINE_INGEST", self.service.ingest_address().to_string());
        command.env("LOADLINE_QUERY", self.service.query_address().to_string());
        Ok(command)
    }

    async fn run(&self, arguments: &[&str]) -> Result<Finished> {
        command::run(self.command(arguments)?, PATIENCE).await
    }

    /// Runs it with `--json`, wants this exit code, and reads what it printed.
    async fn json(&self, code: i32, arguments: &[&str]) -> Result<Value> {
        let printed = self.run(&[arguments, &["--json"]].concat()).await?.with_code(code)?;
        serde_json::from_str(&printed).with_context(|| format!("no JSON: {printed}"))
    }

    fn write(&self, name: &str, lines: &[String]) -> Result<PathBuf> {
        let file = self.folder.path().join(name);
        fs::write(&file, lines.join("\n") + "\n")?;
        Ok(file)
    }

    /// Waits until a stream is applied to this sequence.
    async fn applied(&self, stream: &str, sequence: u64) -> Result<()> {
        let applied = |stream: &loadline_proto::ingest::Stream| {
            stream.progress.as_ref().is_some_and(|progress| progress.applied >= sequence)
        };
        questions::stream_until(&self.service.ingest()?, stream, PATIENCE, applied).await.map(drop)
    }
}

fn line(account: &str, id: &str, at: Timestamp) -> String {
    json!({"billing": {"event_id": id, "account": account, "occurred_at": at.to_string(), "channel": "sms", "country": "DE",
        "currency": "EUR", "messages": 1, "segments": 2, "amount": "0.0075"}})
    .to_string()
}

#[tokio::test]
async fn a_file_of_ndjson_is_published_once_and_every_line_accounted_for() -> Result<()> {
    let node = Node::start().await?;
    let mut lines: Vec<String> = (0..500).map(|n| line("acme", &format!("e-{n}"), now())).collect();
    lines[100] = line("acme", "late", now().minus(HOUR * 49));
    lines[200] = "{not json".to_owned();
    lines[300] = lines[299].clone();
    lines[400] = line("", "nobody", now());
    let file = node.write("events.ndjson", &lines)?.display().to_string();
    let report = node.json(1, &["publish", &file]).await?;
    assert_eq!((&report["accepted"], &report["duplicates"], &report["lines"]), (&json!(496), &json!(1), &json!(500)), "{report}");
    assert_eq!(report["rejected"], json!({"INVALID": 1, "LATE": 1, "UNREADABLE": 1}));
    let rejected = |line: u64| report["rejections"].as_array()?.iter().find(|rejection| rejection["line"] == line);
    assert_eq!(rejected(101).context("line 101")?["field"], "billing.occurred_at");
    assert_eq!(rejected(201).context("line 201")?["reason"], "UNREADABLE");
    assert_eq!(rejected(401).context("line 401")?["field"], "billing.account");

    node.applied("BILLING", 496).await?;
    let again = node.json(1, &["publish", &file]).await?;
    assert_eq!((&again["accepted"], &again["duplicates"]), (&json!(0), &json!(497)), "{again}");
    let text = node.run(&["publish", &file]).await?;
    assert!(text.output.contains("duplicates") && text.output.contains("497"), "{}", text.output);
    assert!(text.errors.contains("line 201"), "{}", text.errors);
    Ok(())
}

#[tokio::test]
async fn a_file_of_csv_is_published_with_receipts() -> Result<()> {
    let node = Node::start().await?;
    let at = now().minus(HOUR);
    let mut lines = vec![
        "type,event_id,message_id,account,occurred_at,submitted_at,reported_at,channel,country,currency,messages,segments,amount,status"
            .to_owned(),
    ];
    for n in 0..50 {
        lines.push(format!("billing,m-{n},,\"acme\",{at},,,sms,DE,EUR,1,1,0.05,"));
        lines.push(format!("receipt,,m-{n},acme,,{at},{},sms,DE,,,,,delivered", at.plus(Duration::from_secs(2))));
    }
    let file = node.write("events.csv", &lines)?.display().to_string();
    let report = node.json(0, &["publish", &file]).await?;
    assert_eq!((&report["accepted"], &report["complete"]), (&json!(100), &json!(true)), "{report}");
    node.applied("BILLING", 50).await?;
    node.applied("DLR", 50).await?;
    let delivery = node.json(0, &["usage", "acme", "--delivery"]).await?;
    assert_eq!(delivery["total"]["receipts"]["delivered"], 50, "{delivery}");
    assert_eq!(delivery["total"]["delivery_rate"], 1.0);
    let wrong = node.write("wrong.csv", &["type,acount".to_owned(), "billing,acme".to_owned()])?;
    let refused = node.run(&["publish", &wrong.display().to_string()]).await?;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.errors.contains("acount"), "{}", refused.errors);
    Ok(())
}

#[tokio::test]
async fn a_killed_publish_goes_on_where_it_was_and_nothing_counts_twice() -> Result<()> {
    const LINES: u64 = 20_000;
    let node = Node::start().await?;
    let lines: Vec<String> = (0..LINES).map(|n| line("acme", &format!("e-{n}"), now())).collect();
    let file = node.write("events.ndjson", &lines)?;
    let (path, checkpoint) = (file.display().to_string(), node.folder.path().join("events.ndjson.loadline-checkpoint"));
    let slow = ["publish", &path, "--batch", "20", "--in-flight", "1"];
    let mut first = Process::spawn("loadline publish", node.command(&slow)?, &node.folder.path().join("first"))?;
    ports::wait_until("a checkpoint", PATIENCE, || {
        let alive = first.ensure_alive();
        let found = checkpoint.is_file();
        async move { alive.map(|()| if found { Ready::Yes } else { Ready::No("none yet".to_owned()) }) }
    })
    .await?;
    first.kill();
    let report = node.json(0, &["publish", &path]).await?;
    assert!(report["resumed_at_line"].as_u64().is_some_and(|line| line > 1), "{report}");
    assert_eq!(report["lines"], LINES, "{report}");
    assert!(!checkpoint.exists(), "what is complete needs no checkpoint");
    let clients = node.service.ingest()?;
    let all = |stream: &loadline_proto::ingest::Stream| {
        stream.backlog == 0 && stream.progress.as_ref().is_some_and(|progress| progress.counted == LINES)
    };
    assert_eq!(questions::stream_until(&clients, "BILLING", PATIENCE, all).await?.unaccounted, 0);
    let usage = node.json(0, &["usage", "acme", "--total"]).await?;
    assert_eq!(usage["totals"][0]["events"], LINES, "{}", usage["totals"]);
    Ok(())
}

#[tokio::test]
async fn usage_is_shown_ranked_and_explained() -> Result<()> {
    let node = Node::start().await?;
    let at = now();
    let mut lines: Vec<String> = (0..30).map(|n| line("acme", &format!("a-{n}"), at)).collect();
    lines.extend((0..10).map(|n| line("zeta", &format!("z-{n}"), at)));
    let file = node.write("events.ndjson", &lines)?.display().to_string();
    node.run(&["publish", &file]).await?.with_code(0)?;
    node.applied("BILLING", 40).await?;
    let usage = node.json(0, &["usage", "acme", "--by", "channel,country,currency"]).await?;
    let row = &usage["rows"][0];
    assert_eq!((&row["channel"], &row["country"], &row["currency"]), (&json!("CHANNEL_SMS"), &json!("DE"), &json!("EUR")));
    assert_eq!(row["usage"]["segments"], 60);
    assert_eq!(usage["totals"][0]["amount_micros"], 30 * 7_500);
    let text = node.run(&["usage", "acme"]).await?.with_code(0)?;
    assert!(text.contains("EUR") && text.contains("30"), "{text}");
    let top = node.json(0, &["usage", "--top", "5"]).await?;
    let names: Vec<&Value> = top["accounts"].as_array().context("accounts")?.iter().map(|account| &account["account"]).collect();
    assert_eq!(names, ["acme", "zeta"]);
    let hour = at.hour().start().to_string();
    let explained = node.json(0, &["usage", "acme", "--explain", &hour]).await?;
    assert_eq!((&explained["conclusive"], &explained["differences"]), (&json!(true), &json!([])), "{explained}");
    assert_eq!(explained["recounted"][0]["usage"]["events"], 30);
    assert_eq!(node.json(0, &["usage", "nobody"]).await?["rows"], json!([]), "no usage is an answer");
    Ok(())
}

#[tokio::test]
async fn streams_and_dead_letters_are_shown_and_handled() -> Result<()> {
    let node = Node::start().await?;
    let streams = node.json(0, &["streams"]).await?;
    let names: Vec<&Value> = streams["streams"].as_array().context("streams")?.iter().map(|s| &s["progress"]["stream"]).collect();
    assert_eq!(names, ["BILLING", "DLR", "LOADLINE-DRILL"]);
    let text = node.run(&["streams"]).await?.with_code(0)?;
    assert!(text.contains("BILLING") && text.contains("running"), "{text}");
    assert_eq!(node.run(&["streams", "resume", "BILLING"]).await?.code, Some(1), "it was not stopped");
    assert_eq!(node.run(&["streams", "resume", "NOTHING"]).await?.code, Some(2));
    assert!(node.run(&["streams", "losses"]).await?.with_code(0)?.contains("nothing was lost"));

    // Two ids contradict themselves in the log: publish finds no conflict without looking.
    let other = |id: &str| line("acme", id, now()).replace("0.0075", "0.0080");
    let lines = [line("acme", "one", now()), line("acme", "two", now())];
    let file = node.write("first.ndjson", &lines)?.display().to_string();
    node.run(&["publish", &file, "--skip-duplicates=false"]).await?.with_code(0)?;
    let file = node.write("second.ndjson", &[other("one"), other("two")])?.display().to_string();
    node.run(&["publish", &file, "--skip-duplicates=false"]).await?.with_code(0)?;
    node.applied("BILLING", 4).await?;
    let listed = node.json(0, &["dead-letters", "list", "--reason", "conflict"]).await?;
    assert_eq!(listed["totals"], json!([{"reason": "DEAD_LETTER_REASON_CONFLICT", "count": 2}]));
    let id = listed["dead_letters"][0]["id"].to_string();
    let shown = node.json(0, &["dead-letters", "show", &id]).await?;
    assert_eq!(shown["event"]["billing"]["event_id"], "one", "{shown}");
    assert_eq!(node.run(&["dead-letters", "show", "999999"]).await?.code, Some(2));
    let redriven = node.json(0, &["dead-letters", "redrive", "--reason", "conflict"]).await?;
    assert_eq!((&redriven["dry_run"], &redriven["matched"], &redriven["counted"]), (&json!(true), &json!(2), &json!(0)));
    assert_eq!(node.run(&["dead-letters", "discard", "--yes"]).await?.code, Some(2), "not everything at once");
    let discarded = node.json(0, &["dead-letters", "discard", "--id", &id, "--note", "told the producer", "--yes"]).await?;
    assert_eq!(discarded["discarded"], 1);
    let left = node.json(0, &["dead-letters", "list"]).await?;
    assert_eq!(left["dead_letters"].as_array().map(Vec::len), Some(1), "{left}");
    let kept = node.json(0, &["dead-letters", "list", "--state", "discarded"]).await?;
    assert_eq!(kept["dead_letters"][0]["id"].to_string(), id);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_done_exits_with_two_and_says_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let nobody = format!("127.0.0.1:{}", ports::free()?);
    fs::write(folder.path().join("events.ndjson"), line("acme", "e", now()))?;
    let file = folder.path().join("events.ndjson").display().to_string();
    for (arguments, says) in [
        (&["usage", "acme", "--query", &nobody][..], nobody.as_str()),
        (&["streams", "--ingest", &nobody], &nobody),
        (&["dead-letters", "list", "--ingest", &nobody], &nobody),
        (&["publish", &file, "--ingest", &nobody, "--patience", "1"], &nobody),
        (&["publish", "absent.ndjson", "--ingest", &nobody], "absent.ndjson"),
        (&["usage", "acme", "--from", "yesterday-ish"], "yesterday-ish"),
        (&["nonsense"], "nonsense"),
    ] {
        let mut command = Command::new(binaries::ours("loadline")?);
        command.args(arguments).current_dir(folder.path());
        let ended = command::run(command, PATIENCE).await?;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        let said = ended.output + &ended.errors;
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_check_says_by_its_exit_code_how_everything_is() -> Result<()> {
    let node = Node::start().await?;
    let Node { service, .. } = &node;
    let addresses = [service.ingest_address(), service.query_address(), service.rollup_address(), service.serving_address()];
    let named = ["ingest", "query", "rollup", "serving"].into_iter().zip(addresses);
    let live = named.map(|(name, address)| format!("{name}={address}")).collect::<Vec<_>>().join(",");
    let well = async {
        loop {
            let seen = node.run(&["check", "--json", "--connect", &live]).await?;
            // Until everything was read once it is unknown.
            if seen.code != Some(3) {
                return seen.with_code(0);
            }
        }
    };
    let report: Value = serde_json::from_str(&tokio::time::timeout(PATIENCE, well).await??)?;
    assert_eq!((&report["code"], &report["verdict"]), (&json!(0), &json!("OK")), "{report}");
    let console = node.run(&["console", "check", "--json", "--connect", &live]).await?;
    assert_eq!(console.code, Some(0), "{console:?}");
    let nobody = node.run(&["check", "--connect", "ingest=127.0.0.1:1", "--patience", "2"]).await?;
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    Ok(())
}

#[tokio::test]
async fn the_audit_is_listed_and_a_changed_entry_is_named() -> Result<()> {
    let node = Node::start().await?;
    let empty = node.json(0, &["audit", "verify"]).await?;
    assert_eq!((&empty["entries"], &empty["broken_at"]), (&json!(0), &Value::Null), "{empty}");
    let channel = Endpoint::from_shared(format!("http://{}", node.service.ingest_address()))?.connect_lazy();
    let mut desk = FailureModeServiceClient::new(channel);
    for reason in ["one", "two", "three"] {
        let ask =
            PlanRemedyRequest { failure_mode: "AN-01".into(), key: "C".into(), target: String::new(), reason: reason.into() };
        desk.plan_remedy(ask).await?;
    }
    let listed = node.json(0, &["audit", "--limit", "2"]).await?;
    let reasons: Vec<_> = listed["entries"].as_array().context("entries")?.iter().map(|entry| entry["reason"].as_str()).collect();
    assert_eq!(reasons, [Some("two"), Some("three")]);
    let whole = node.json(0, &["audit", "verify"]).await?;
    assert_eq!((&whole["entries"], &whole["holds"]), (&json!(3), &Value::Null), "{whole}");
    let last = whole["last_hash"].as_str().context("a hash")?;
    assert_eq!(node.json(0, &["audit", "verify", "--holds", last]).await?["holds"], json!(true));
    assert_eq!(node.json(1, &["audit", "verify", "--holds", &"7".repeat(64)]).await?["holds"], json!(false));

    let file = SqliteConnectOptions::new().filename(node.folder.path().join("store.db")).busy_timeout(PATIENCE);
    let mut store = SqliteConnection::connect_with(&file).await?;
    sqlx::query("UPDATE audit_entry SET actor = 'nobody' WHERE reason = 'two'").execute(&mut store).await?;
    store.close().await?;
    let broken = node.json(1, &["audit", "verify"]).await?;
    assert_eq!((&broken["entries"], &broken["broken_at"]), (&json!(1), &listed["entries"][0]["id"]), "{broken}");
    Ok(())
}
