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
        command.env("LOADLINE_SERVING", self.service.serving_address().to_string());
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

#[test]
fn a_reader_that_closed_the_pipe_ends_a_command_quietly() -> Result<()> {
    let check = ["check", "--connect", "ingest=127.0.0.1:1", "--patience", "1"];
    for (arguments, code) in [(&check[..], 3), (&["completions", "bash"], 0), (&["config", "show"], 0)] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let ended = Command::new(binaries::ours("loadline")?).args(arguments).stdout(writer).output()?;
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), &*told), (Some(code), ""), "{arguments:?}");
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
    // No plan is made for what nobody has looked at yet.
    questions::mode_until(&node.service.ingest()?, "AN-01", PATIENCE, questions::is_ok).await?;
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

/// Of two numbers a forecast over three classes, and about the opposite of it.
const MODELS: [&str; 2] = ["drill_better.onnx", "drill_worse.onnx"];

impl Node {
    /// Both versions of a model; the first is the champion.
    async fn models(&self, files: [&str; 2]) -> Result<()> {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../services/serving/fixtures"));
        for file in files {
            let file = folder.join(file).display().to_string();
            self.run(&["models", "register", &file, "--model", "strength"]).await?.with_code(0)?;
        }
        self.run(&["models", "promote", "strength", "1", "--reason", "the first"]).await?.with_code(0).map(drop)
    }

    /// What a command of `models` prints, which has to end so.
    async fn models_say(&self, code: i32, line: &str) -> Result<String> {
        let arguments: Vec<&str> = std::iter::once("models").chain(line.split_whitespace()).collect();
        self.run(&arguments).await?.with_code(code)
    }
}

/// Matches, ten a day, with what the better version would expect to happen.
fn matches(many: u32) -> Vec<String> {
    let one = |at: u32| {
        let x = [f64::from(at * 7 % 11) / 5.0 - 1.0, f64::from(at * 5 % 13) / 6.0 - 1.0];
        let result = if x[0].max(x[1]) < 0.0 {
            "draw"
        } else if x[1] > x[0] {
            "away"
        } else {
            "home"
        };
        format!("day {},{},{result},{}", at / 10, x[0], x[1])
    };
    std::iter::once("day,x0,result,x1".to_owned()).chain((0..many).map(one)).collect()
}

#[tokio::test]
async fn a_challenger_is_judged_compared_and_promoted_by_the_rows_of_a_file() -> Result<()> {
    const JUDGED: &str = "--group day --outcome result --classes home,draw,away";
    let node = Node::start().await?;
    node.models([MODELS[1], MODELS[0]]).await?;
    node.write("season.csv", &matches(600))?;
    node.write("few.csv", &matches(100))?;
    let rows: Vec<String> =
        matches(20).iter().map(|line| line.split(',').skip(1).step_by(2).collect::<Vec<_>>().join(",")).collect();
    node.write("rows.csv", &rows)?;
    let hold = node.models_say(1, &format!("gate strength 2 --csv few.csv {JUDGED}")).await?;
    assert!(hold.starts_with("HOLD: 100 more matches\nMETRIC"), "{hold}");
    let judged = node.models_say(0, &format!("gate strength 2 --csv season.csv {JUDGED}")).await?;
    assert!(
        judged.starts_with("PROMOTE\n") && judged.contains("version 2 in place of 1, on 600 matches of 60 groups"),
        "{judged}"
    );
    let differs = node.models_say(0, "diff strength 2 --csv rows.csv").await?;
    assert!(differs.contains("version 2 in place of 1") && differs.contains("of 20 another class"), "{differs}");
    assert!(differs.lines().nth(1).is_some_and(|head| head.trim_start().starts_with("ROW")), "{differs}");

    let promoted = node.models_say(0, &format!("promote strength 2 --reason better --gate season.csv {JUDGED}")).await?;
    assert!(promoted.starts_with("PROMOTE\n") && promoted.contains("champion of strength is version 2 now, was 1"), "{promoted}");
    let history = node.json(0, &["models", "history", "strength"]).await?;
    let evidence: Value = serde_json::from_str(history["changes"][0]["evidence"].as_str().context("evidence")?)?;
    assert_eq!((&evidence["report"]["verdict"], &evidence["report"]["matches"]), (&json!("PROMOTE"), &json!(600)));

    let back = format!("promote strength 1 --reason back --gate season.csv {JUDGED}");
    let refused = node.models_say(1, &back).await?;
    assert!(
        refused.starts_with("REJECT: its ranked probability score is worse") && refused.contains("not promoted"),
        "{refused}"
    );
    let told = node.json(1, &back.split(' ').fold(vec!["models"], |all, word| [all, vec![word]].concat())).await?;
    assert_eq!((&told["verdict"], &told["champion_version"]), (&json!("VERDICT_REJECT"), &json!(2)), "{told}");
    let forced = node.models_say(0, &format!("{back} --override-reason cheaper")).await?;
    assert!(forced.contains("champion of strength is version 1 now, was 2"), "{forced}");

    node.write("bad.csv", &[matches(30), vec!["day 9,1,win,2".to_owned()]].concat())?;
    let bad = node.run(&format!("models gate strength 2 --csv bad.csv {JUDGED}").split(' ').collect::<Vec<_>>()).await?;
    assert_eq!(bad.code, Some(2));
    assert!(bad.errors.contains("line 32") && bad.errors.contains("home, draw, away"), "{}", bad.errors);
    Ok(())
}

#[tokio::test]
async fn routes_and_shadows_are_set_shown_and_ended_each_without_the_other() -> Result<()> {
    let node = Node::start().await?;
    node.models(MODELS).await?;
    let nothing = node.models_say(0, "route strength").await?;
    assert!(nothing.contains("every request is answered by what it names"), "{nothing}");
    let canary = node.models_say(0, "route strength --canary 2 --percent 12.5 --reason tried").await?;
    assert_eq!(canary, "champion of strength: version 1 answers 87.5 %, canary 2 answers 12.5 %\n");
    let both = node.models_say(0, "shadow strength 2 --reason tried").await?;
    assert!(both.contains("canary 2 answers 12.5 %, and 2 is asked in the shadow"), "{both}");
    let told = node.json(0, &["models", "route", "strength"]).await?;
    assert_eq!(told, json!({"route": {"shadow": 2, "canary": 2, "percent": 12.5}, "version": 1}));
    let shadow = node.models_say(0, "route strength --off --reason enough").await?;
    assert!(shadow.contains("version 1 answers 100 %, and 2 is asked in the shadow"), "{shadow}");
    let report = node.models_say(0, "shadow strength").await?;
    assert!(report.contains("version 2 in the shadow of 1 answered"), "{report}");
    node.models_say(0, "shadow strength --off --reason enough").await?;
    assert!(node.models_say(0, "shadow strength").await?.contains("nothing is in its shadow"));
    for incomplete in ["route strength --canary 2 --percent 5", "route strength --canary 2 --reason why", "shadow strength 2"] {
        node.models_say(2, incomplete).await.with_context(|| incomplete.to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_are_refused_are_named_with_their_lines_and_the_others_answered() -> Result<()> {
    let node = Node::start().await?;
    node.models(MODELS).await?;
    let row = |line: usize| match line {
        1 => "a,b".to_owned(),
        7 | 40 => format!("nan,{line}"),
        20 => "1".to_owned(),
        line => format!("{line},1"),
    };
    let rows: Vec<String> = (1..=60).map(row).collect();
    node.write("rows.csv", &rows)?;
    let found = node.run(&["predict", "strength", "--csv", "rows.csv", "--batch", "32"]).await?;
    assert_eq!((found.code, found.output.lines().count()), (Some(1), 1 + 59 - 3), "{found:?}");
    for line in [7, 20, 40] {
        assert_eq!(found.errors.matches(&format!("line {line}: ")).count(), 1, "{}", found.errors);
    }
    let alone = node.run(&["predict", "strength", "--csv", "rows.csv", "--batch", "1"]).await?;
    assert_eq!((alone.code, &alone.output), (Some(1), &found.output));
    for command in ["route", "shadow", "history"] {
        let found = node.run(&["models", command, "strenght"]).await?;
        assert!(found.code == Some(2) && found.errors.contains("NOT_FOUND"), "{command}: {found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn predictions_that_nobody_waits_for_are_jobs_that_can_be_looked_at() -> Result<()> {
    let node = Node::start().await?;
    node.models(MODELS).await?;
    let ask = ["predict", "strength", "0.5", "-0.5"];
    let submitted = node.json(0, &[&ask[..], &["--async"]].concat()).await?;
    assert_eq!(
        (&submitted["created"], &submitted["job"]["rows"], &submitted["job"]["version"]),
        (&json!(true), &json!(1), &json!(1))
    );
    let id = submitted["job"]["id"].as_str().context("an id")?;
    let found = node.run(&["predict", "jobs", id, "--wait"]).await?.with_code(0)?;
    assert!(found.starts_with(&format!("job {id}: 1 row of strength 1, succeeded\ny[0],y[1],y[2]\n")), "{found}");
    let direct = node.json(0, &ask).await?;
    let last = found.lines().last().context("an answer")?;
    assert_eq!(last.split(',').next().and_then(|cell| cell.parse::<f64>().ok()), direct["y[0]"].as_f64(), "{found} {direct}");
    let again = node.run(&[&ask[..], &["--async"]].concat()).await?.with_code(0)?;
    assert_eq!(again, format!("job {id}: 1 row of strength 1, succeeded, submitted before\n"));
    let keyed = node.json(0, &[&ask[..], &["--async", "--key", "again"]].concat()).await?;
    assert_ne!(keyed["job"]["id"], json!(id), "another key is another job");

    let rows: Vec<String> = std::iter::once("a,b".to_owned()).chain((0..25).map(|at| format!("{at},1"))).collect();
    node.write("rows.csv", &rows)?;
    let batches = node.run(&["predict", "strength", "--csv", "rows.csv", "--async", "--batch", "10"]).await?.with_code(0)?;
    assert_eq!(batches.lines().count(), 3, "{batches}");
    let gap = node.json(0, &["predict", "strength", "nan", "1", "--async"]).await?;
    let failed = node.run(&["predict", "jobs", gap["job"]["id"].as_str().context("an id")?, "--wait"]).await?.with_code(1)?;
    assert!(failed.contains("failed\n  INVALID: "), "{failed}");
    let listed = node.json(0, &["predict", "jobs", "--model", "strength", "--limit", "50"]).await?;
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(6), "{listed}");
    let some = node.run(&["predict", "jobs", "--limit", "2"]).await?.with_code(0)?;
    assert!(some.ends_with("\nthere are more; raise --limit\n"), "{some}");
    let unknown = node.run(&["predict", "jobs", "ab"]).await?;
    assert!(unknown.code == Some(2) && unknown.errors.contains("no job"), "{unknown:?}");
    Ok(())
}
