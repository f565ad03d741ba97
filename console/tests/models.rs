//! The models screen: what is asked of serving and when, what it says of its age, and what names from outside cannot do.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;

use fixture::{
    Console, frame, heartbeat,
    registry::{SERVING, champion, change, console, models, version},
    seconds,
};
use loadline_console::{
    headless,
    model::endpoint::Link,
    msg::{Answer, Effect, Question, Topic, What},
};
use loadline_proto::serving::{Alias, ListAliasHistoryResponse, ListModelsResponse, Model, alias_change::Kind};

fn text(console: &Console) -> String {
    headless::frame(&console.model, 140, 40)
}

/// What serving is asked, without anybody else.
fn asked(effects: &[Effect]) -> Vec<String> {
    let question = |effect: &Effect| match effect {
        Effect::Ask { endpoint: SERVING, question: Question::Models } => Some("models".to_owned()),
        Effect::Ask { endpoint: SERVING, question: Question::Alias { model, alias } } => Some(format!("{model} {alias}")),
        _ => None,
    };
    effects.iter().filter_map(question).collect()
}

fn tick(console: &mut Console, seq: u64) -> Vec<String> {
    console.now = console.now.after(seconds(1.0));
    console.frame(SERVING, frame("serving", seq, heartbeat()));
    let effects = console.tell(loadline_console::msg::Msg::Tick);
    console.settle();
    asked(&effects)
}

#[test]
fn models_are_asked_for_while_they_are_shown_and_their_aliases_a_few_at_a_time() {
    let mut console = console();
    let mut many = models();
    many.models[0].aliases = (0..7).map(|n| Alias { name: format!("a{n}"), version: 42, drifted: false }).collect();
    console.hear(SERVING, What::Answer(Answer::Models(many)));
    let all: Vec<Vec<String>> = (8..20).map(|seq| tick(&mut console, seq)).collect();
    assert!(all.iter().all(|asked| asked.iter().filter(|asked| *asked != "models").count() <= 2), "{all:?}");
    let of = |name: &str| all.iter().flatten().filter(|asked| *asked == name).count();
    assert!((2..=3).contains(&of("models")) && (0..7).all(|n| (1..=2).contains(&of(&format!("match-1x2 a{n}")))), "{all:?}");
    console.press("b");
    assert_eq!(tick(&mut console, 20), Vec::<String>::new());
}

#[test]
fn an_answer_that_grows_old_says_so_and_so_does_a_registry_that_is_silent() {
    let mut console = console();
    assert!(text(&console).contains("MODELS  0s old") && text(&console).contains("READY "), "{}", text(&console));
    let silent = ListModelsResponse { registry_problem: "connection refused".to_owned(), ..models() };
    console.hear(SERVING, What::Answer(Answer::Models(silent)));
    console.settle();
    let shown = text(&console);
    assert!(
        shown.contains("READY_STALE(1m)") && shown.contains("the registry has not answered for 1m: connection refused"),
        "{shown}"
    );
    console.hear(SERVING, What::Refused { topic: Topic::Models, error: "no answer within 5 s".to_owned() });
    let retry_at = seconds(60.0);
    console.hear(SERVING, What::Link(Link::Down { error: "reset".to_owned(), retry_at }));
    console.pass(seconds(30.0));
    let shown = text(&console);
    assert!(shown.contains("30s old") && shown.contains("no answer within 5 s"), "{shown}");
    assert!(shown.contains("no process of serving is connected; this is what was"), "{shown}");
    assert!(shown.contains("░ was READY_STA") && !shown.contains(" READY "), "{shown}");
}

#[test]
fn what_serving_said_is_what_was_once_it_is_silent_however_well_it_stood() {
    let mut console = console();
    let ready = |console: &Console| text(console).lines().filter(|line| line.contains(" READY ")).count();
    assert!(ready(&console) > 4);
    for seq in 8..12 {
        tick(&mut console, seq);
    }
    assert!(ready(&console) > 4, "seen, and asked lately: {}", text(&console));
    console.pass(seconds(6.0));
    assert!(text(&console).contains("░ was READY") && text(&console).contains("░ was NOT LOADA"), "{}", text(&console));
}

#[test]
fn what_an_alias_names_beside_and_before_is_told() {
    let mut console = console();
    let shown = text(&console);
    for words in [
        "champion → v42",
        "canary v43 12.5%",
        "shadow v44",
        "HOLD v44 against v42",
        "380 matches in 38 groups",
        "RPS better by +0.0010 (-0.0006 to +0.0026)",
        "1,520 more matches",
        "v41 → v42  promoted  ana  better in the gate",
        "v42 → v43  routed",
        "trial → v39",
        "NOT LISTED",
        "DRIFTED",
        "NOT LOADABLE",
        "not pinned",
        "aaaaaaaa",
    ] {
        assert!(shown.contains(words), "{words} is missing: {shown}");
    }
    assert!(!shown.to_lowercase().contains("skill"), "the contract says nothing of it: {shown}");
    // The version of which the gate spoke, with what was said of it when it was registered.
    console.press("/ v 4 4 Enter");
    console.settle();
    assert!(text(&console).contains("season = 2025/26") && text(&console).contains("HOLD v44"), "{}", text(&console));
    let copied = console.press("y");
    let Some(Effect::Copy(json)) = copied.first() else { panic!("{copied:?}") };
    assert!(json.contains("\"version\": 44") && json.contains(&"c".repeat(64)), "{json}");
    console.press("Esc g");
    let copied = console.press("c");
    let Some(Effect::Copy(command)) = copied.first() else { panic!("{copied:?}") };
    assert!(command.contains("127.0.0.1:7404 loadline.serving.v1.ModelService/ListAliasHistory"), "{command}");
}

#[test]
fn hostile_names_are_drawn_harmlessly_and_nobody_is_asked_for_them() {
    let mut console = console();
    let bad = "\u{1b}]52;c;ZXZpbA==\u{7}\u{202e}停止".repeat(400);
    let unit = &bad[..bad.len() / 400];
    let mut listed = version(1);
    (listed.sha256, listed.problem) = (bad.clone(), bad.clone());
    listed.loaded = false;
    listed.properties = (0..500).map(|n| (format!("{n}{bad}"), bad.clone())).collect();
    let aliases = (0..200).map(|n| Alias { name: format!("{n}{bad}"), version: 1, drifted: true }).collect();
    let many = (2..9_000).map(|n| loadline_proto::serving::Version { number: n, problem: unit.to_owned(), ..Default::default() });
    let model = Model { name: bad.clone(), versions: many.chain([listed]).collect(), aliases };
    let all = ListModelsResponse { models: vec![model; 3], registry_problem: bad.clone(), ..Default::default() };
    console.hear(SERVING, What::Answer(Answer::Models(all)));
    let mut told = champion();
    (told.model, told.alias) = (bad.clone(), bad.clone());
    let mut entry = change(1, Kind::Promotion, 1, 2, 5);
    (entry.actor, entry.reason, entry.evidence) = (bad.clone(), bad.clone(), bad);
    told.changes = ListAliasHistoryResponse { changes: vec![entry; 300], next_page_token: String::new() };
    console.hear(SERVING, What::Answer(Answer::Alias(Box::new(told))));
    assert_eq!(tick(&mut console, 8).into_iter().filter(|asked| asked != "models").count(), 0);
    assert!(console.model.registered_lines().len() <= 2_500);
    for keys in ["g", "G", "Enter"] {
        console.press(keys);
        console.settle();
        for (columns, rows) in [(80, 24), (120, 40), (200, 60), (3, 3)] {
            let shown = headless::frame(&console.model, columns, rows);
            assert!(!shown.chars().any(|char| char.is_control() && char != '\n'), "{shown:?}");
        }
    }
}
