//! The console in a terminal, on the running product: its keys repair what is open and prove what is not, and the audit has it.

#![allow(clippy::unwrap_used, reason = "a screen may stop at the first surprise")]

#[path = "../../console/tests/fixture/screen.rs"]
mod screen;

use anyhow::{Context as _, Result, ensure};
use loadline_proto::health::{ModeStatus, Severity, State};
use loadline_tests::{
    binaries, command, days,
    questions::mode_until,
    service::{Program, Service, Settings},
};
use portable_pty::CommandBuilder;
use screen::Screen;
use serde_json::Value;
use std::{process::Command, thread, time::Duration};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
/// A confirmation counts 400 ms after the card was drawn, and a key pressed again within a second may be held down.
const READING: Duration = Duration::from_millis(1_200);
const OPERATE: &str = "\u{f}";

/// `loadline up` with traffic, whose days become old after three, and whose jobs run when asked to.
async fn product(folder: &TempDir) -> Result<Service> {
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let settings = Settings::new(Program::Node, &file("log.db"), &file("store.db"));
    let settings = days::VALUES.into_iter().fold(settings, |settings, (key, value)| settings.set(key, value));
    Service::start(settings.set("simulate.enabled", "true").set("simulate.rate", "100")).await
}

fn console(service: &Service) -> Result<Screen> {
    let mut command = CommandBuilder::new(binaries::ours("loadline")?);
    command.arg("console");
    let services = [
        ("ingest", service.ingest_address()),
        ("query", service.query_address()),
        ("rollup", service.rollup_address()),
        ("serving", service.serving_address()),
    ];
    for (name, address) in services {
        command.args(["--connect", &format!("{name}={address}")]);
    }
    command.env("LANG", "C.UTF-8");
    command.env("TERM", "xterm-256color");
    let mut screen = Screen::of(command, 140, 40);
    screen.patience = PATIENCE;
    Ok(screen)
}

/// Selects what the words find, on this screen.
fn select(screen: &mut Screen, words: &str) {
    screen.press(&format!("/\u{15}{words}\r"));
    screen.shows(&format!("filter:{words}"));
}

/// The card is read, and confirmed.
fn confirm(screen: &mut Screen) {
    screen.shows("y does it");
    thread::sleep(READING);
    screen.press("y");
}

async fn audited(service: &Service) -> Result<Vec<Value>> {
    let mut command = Command::new(binaries::ours("loadline")?);
    command.args(["audit", "--json"]).env("LOADLINE_INGEST", service.ingest_address().to_string());
    let printed = command::run(command, PATIENCE).await?.with_code(0)?;
    let printed: Value = serde_json::from_str(&printed).with_context(|| format!("no JSON: {printed}"))?;
    Ok(printed["entries"].as_array().context("entries")?.clone())
}

fn open(mode: &ModeStatus) -> bool {
    mode.state() == State::Open && mode.severity() == Severity::P4
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_console_repair_what_is_open_and_prove_a_mode_of_each_service() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let service = product(&folder).await?;
    days::fill(&service).await?;
    // Old days wait to be archived, since no schedule moves them.
    mode_until(&service.rollup()?, "AN-07", PATIENCE, open).await?;

    let mut screen = console(&service)?;
    screen.shows("live 4/4");
    screen.shows("READ-ONLY  local (operator)");
    select(&mut screen, "an-07");
    screen.shows("AN-07 Archive to history fails");
    screen.press("R");
    screen.shows("read-only: Ctrl-o goes to operate mode");
    screen.press(OPERATE);
    screen.shows("OPERATE");
    screen.press("R");
    screen.shows("PLAN  R");
    confirm(&mut screen);
    screen.shows("VERIFIED R");
    screen.until("the actual beside the planned", |screen| {
        let text = screen.contents();
        let compared = text.lines().find(|line| line.contains("planned") && line.contains("actual"));
        compared.is_some_and(|line| !line.contains("actual -"))
    });
    let entries = audited(&service).await?;
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let trail = entries.iter().filter(|entry| text(entry, "target") == "AN-07 R archive");
    let trail: Vec<_> = trail.map(|entry| (text(entry, "action"), text(entry, "actor"), text(entry, "outcome"))).collect();
    let steps = [("remedy.plan", "PLANNED "), ("remedy.execute", "RUNNING "), ("remedy.finish", "VERIFIED ")];
    ensure!(trail.len() == steps.len(), "{entries:#?}");
    for ((action, actor, outcome), (step, began)) in trail.iter().zip(steps) {
        ensure!(action == step && actor == "local" && outcome.starts_with(began), "{action} by {actor}: {outcome}");
    }

    // On the board T asks whoever has the drill; among the drills it asks the one that is selected.
    for (mode, service) in [("AN-04", "rollup"), ("AN-09", "ingest")] {
        select(&mut screen, &mode.to_lowercase());
        screen.shows("never drilled");
        screen.press("T");
        screen.shows("DRILL  drill of");
        screen.shows(&format!("ASKS     {service}"));
        confirm(&mut screen);
        screen.shows("under way for");
        screen.shows(&format!("{mode}    drill passed"));
    }
    screen.press("f");
    select(&mut screen, "pr-14 query");
    screen.press("T");
    confirm(&mut screen);
    screen.until("the proof of PR-14 by query", |screen| {
        let text = screen.contents();
        text.lines().any(|line| line.contains("PR-14") && line.contains("query") && line.contains("passed"))
    });
    // What every start brings is there and answers.
    screen.press("i");
    screen.shows("football");
    screen.press("q");
    ensure!(screen.ended() == 0, "{}", screen.text());
    Ok(())
}
