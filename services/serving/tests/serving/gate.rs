//! Challengers on trial, over the socket.

use crate::{
    onnx::{forecast, plus},
    world::{Life, MODEL, World},
};
use loadline_proto::{
    inference::{InferTensorContents, ModelReadyRequest, model_infer_request::InferInputTensor},
    serving::{
        AliasChange, EvaluateGateRequest, GateEvaluation, GateHeader, GateRows, GateRules, ListAliasHistoryRequest,
        alias_change::Kind, evaluate_gate_request::Part, gate_evaluation::Verdict,
    },
};
use serde_json::Value;
use tonic::{Code, Status};

/// Matches whose truth is `forecast(1.0, [0.0; 3])`, ten a day: two numbers each, and what happened.
pub fn season(matches: usize) -> Vec<([f32; 2], u32, String)> {
    let mut state = 7_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let one = |at: usize| {
        let x = [3.0 * next() - 1.0, 3.0 * next() - 1.5];
        let weights = [x[0].exp(), 1.0, x[1].exp()];
        let mut left = next() * weights.iter().sum::<f32>();
        let outcome = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        (x, outcome.unwrap_or(2) as u32, format!("day {}", at / 10))
    };
    (0..matches).map(one).collect()
}

fn rows(matches: &[([f32; 2], u32, String)]) -> GateRows {
    let fp32_contents = matches.iter().flat_map(|(x, ..)| *x).collect();
    let contents = Some(InferTensorContents { fp32_contents, ..InferTensorContents::default() });
    let (name, datatype, shape) = ("x".to_owned(), "FP32".to_owned(), vec![matches.len() as i64, 2]);
    let inputs = vec![InferInputTensor { name, datatype, shape, contents, ..InferInputTensor::default() }];
    let outcomes = matches.iter().map(|(_, outcome, _)| *outcome).collect();
    GateRows { inputs, outcomes, groups: matches.iter().map(|(.., day)| day.clone()).collect() }
}

fn header(version: u64) -> GateHeader {
    GateHeader { model: MODEL.to_owned(), version, ..GateHeader::default() }
}

fn request(part: Part) -> EvaluateGateRequest {
    EvaluateGateRequest { part: Some(part) }
}

async fn send(life: &Life, parts: Vec<Part>) -> Result<GateEvaluation, Status> {
    let parts: Vec<_> = parts.into_iter().map(request).collect();
    Ok(life.models().evaluate_gate(tokio_stream::iter(parts)).await?.into_inner().evaluation.unwrap())
}

pub async fn evaluate(life: &Life, header: GateHeader, matches: &[([f32; 2], u32, String)]) -> Result<GateEvaluation, Status> {
    let parts = matches.chunks(300).map(|part| Part::Rows(rows(part)));
    send(life, std::iter::once(Part::Header(header)).chain(parts).collect()).await
}

async fn history(life: &Life, alias: &str) -> Vec<AliasChange> {
    let request = ListAliasHistoryRequest { model: MODEL.to_owned(), alias: alias.to_owned(), ..Default::default() };
    life.models().list_alias_history(request).await.unwrap().into_inner().changes
}

#[tokio::test]
async fn a_better_challenger_is_promoted_and_its_evidence_is_in_the_history() {
    let world = World::new();
    let life = world.with(&[forecast(0.2, [0.0; 3]), forecast(1.0, [0.0; 3])]).await;
    let found = evaluate(&life, header(2), &season(3_000)).await.unwrap();
    assert_eq!((found.verdict(), found.id, found.reasons.len()), (Verdict::Promote, 1, 0), "{found:?}");
    assert_eq!((found.champion_version, found.challenger_version, found.matches, found.groups), (1, 2, 3_000, 300));
    let rps = found.rps.unwrap();
    assert!(rps.low > 0.0 && rps.improvement > rps.low && rps.improvement < rps.high, "{rps:?}");
    assert!((rps.champion - rps.challenger - rps.improvement).abs() < 1e-9);
    let differences = found.differences.unwrap();
    assert_eq!((differences.rows, differences.most.len()), (3_000, 10));
    assert!(differences.most[0].distance >= differences.mean_distance && !differences.most[0].group.is_empty());
    // What was tried has left memory again.
    let ready = ModelReadyRequest { name: MODEL.to_owned(), version: "2".to_owned() };
    assert!(!life.inference().model_ready(ready).await.unwrap().into_inner().ready);
    life.end().await;
    // The evaluation outlives the process that made it.
    let life = world.start().await;
    let change = life.promote_by(2, 1, found.id, "").await.unwrap();
    let evidence: Value = serde_json::from_str(&change.evidence).unwrap();
    assert_eq!((evidence["evaluation"].as_u64(), evidence["report"]["verdict"].as_str()), (Some(1), Some("PROMOTE")));
    assert_eq!(evidence["challenger_sha256"].as_str().unwrap(), life.ask([0.0, 0.0]).await.unwrap().sha256);
    assert!((evidence["report"]["rps"]["improvement"].as_f64().unwrap() - rps.improvement).abs() < 1e-9);
    assert_eq!(history(&life, "").await[0], change);
    let evaluations = history(&life, "champion/gate").await;
    assert_eq!((evaluations.len(), evaluations[0].kind(), evaluations[0].actor.as_str()), (1, Kind::Evaluation, "local"));
    // An evaluation is no change: a rollback leads to what was before.
    assert_eq!(life.roll_back(2).await.unwrap().to_version, 1);
    life.end().await;
}

#[tokio::test]
async fn a_rejected_challenger_is_promoted_for_a_reason_only_named_or_not() {
    let world = World::new();
    let life = world.with(&[forecast(1.0, [0.0; 3]), forecast(0.2, [0.0; 3])]).await;
    let found = evaluate(&life, header(2), &season(3_000)).await.unwrap();
    assert_eq!(found.verdict(), Verdict::Reject, "{found:?}");
    assert!(found.reasons.iter().any(|reason| reason.contains("ranked probability score is worse")), "{:?}", found.reasons);
    for refused in [life.promote(2, 1).await, life.promote_by(2, 1, found.id, "  ").await] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("evaluation 1") && refused.message().contains("override_reason"), "{refused}");
    }
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap().version, 1);
    let change = life.promote_by(2, 1, 0, "the test set was wrong").await.unwrap();
    let evidence: Value = serde_json::from_str(&change.evidence).unwrap();
    assert_eq!(evidence["override_reason"], "the test set was wrong");
    assert_eq!((evidence["evaluation"].as_u64(), evidence["report"]["verdict"].as_str()), (Some(1), Some("REJECT")));
    life.end().await;
}

#[tokio::test]
async fn too_few_matches_hold_with_how_many_are_missing() {
    let world = World::new();
    let life = world.with(&[forecast(0.9, [0.0; 3]), forecast(1.0, [0.0; 3])]).await;
    let found = evaluate(&life, header(2), &season(150)).await.unwrap();
    assert_eq!(found.verdict(), Verdict::Hold, "{found:?}");
    assert!(found.more_matches > 0 && !found.reasons.is_empty(), "{found:?}");
    // What is not rejected may be promoted, for the reason that every change needs.
    assert!(life.promote(2, 1).await.unwrap().evidence.contains("HOLD"));
    life.end().await;
}

#[tokio::test]
async fn an_evaluation_speaks_for_its_own_two_versions_only() {
    let world = World::new();
    let files = [forecast(0.2, [0.0; 3]), forecast(1.0, [0.0; 3]), forecast(0.9, [0.0; 3])];
    let life = world.with(&files).await;
    let found = evaluate(&life, header(2), &season(2_000)).await.unwrap();
    let other = life.promote_by(3, 1, found.id, "").await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert!(other.message().contains("about version 2 in place of 1"), "{other}");
    assert_eq!(life.promote_by(2, 1, 9, "").await.unwrap_err().code(), Code::NotFound);
    // From another champion it is another change.
    life.promote(3, 1).await.unwrap();
    assert_eq!(life.promote_by(2, 3, found.id, "").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(life.promote(2, 3).await.unwrap().evidence, "null", "nothing is known of that pair");
    life.end().await;
}

#[tokio::test]
async fn what_cannot_be_judged_is_refused_with_its_field_and_nothing_is_kept() {
    let world = World::new();
    let life = world.start().await;
    for file in [forecast(1.0, [0.0; 3]), forecast(0.5, [0.0; 3]), plus(1.0)] {
        life.register(file).await;
    }
    let matches = season(40);
    let none = evaluate(&life, header(2), &matches).await.unwrap_err();
    assert_eq!((none.code(), none.message().contains("promote the first")), (Code::FailedPrecondition, true), "{none}");
    life.promote(1, 0).await.unwrap();
    let good = || rows(&matches);
    let refusals = [
        (vec![Part::Rows(good())], "header"),
        (vec![Part::Header(header(1)), Part::Rows(good())], "nothing to compare"),
        (vec![Part::Header(header(2))], "nothing to compare on"),
        (vec![Part::Header(header(2)), Part::Header(header(2))], "comes once"),
        (vec![Part::Header(GateHeader { output: "z".to_owned(), ..header(2) }), Part::Rows(good())], "output"),
        (vec![Part::Header(header(2)), Part::Rows(GateRows { outcomes: vec![0; 39], ..good() })], "outcomes"),
        (vec![Part::Header(header(2)), Part::Rows(GateRows { outcomes: vec![3; 40], ..good() })], "outcome 3 is no class"),
        (vec![Part::Header(header(2)), Part::Rows(GateRows { groups: vec![String::new()], ..good() })], "groups"),
        (vec![Part::Header(header(2)), Part::Rows(GateRows { groups: vec!["x".repeat(201); 40], ..good() })], "groups[0]"),
        (vec![Part::Header(header(2)), Part::Rows(GateRows { inputs: vec![], ..good() })], "lack `x`"),
        (vec![Part::Header(header(3)), Part::Rows(good())], "challenger's answer is no forecast"),
    ];
    for (parts, says) in refusals {
        let refused = send(&life, parts).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(says), "{says}: {refused}");
    }
    let rules = GateRules { confidence: Some(1.5), ..GateRules::default() };
    let refused = evaluate(&life, GateHeader { rules: Some(rules), ..header(2) }, &matches).await.unwrap_err();
    assert!(refused.message().contains("rules.confidence"), "{refused}");
    assert_eq!(evaluate(&life, header(9), &matches).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(history(&life, "champion/gate").await, []);
    life.end().await;
}

#[tokio::test]
async fn differences_are_told_without_outcomes_and_nothing_is_kept() {
    let world = World::new();
    let life = world.with(&[forecast(1.0, [0.0; 3]), forecast(1.0, [0.0, 0.0, 1.0])]).await;
    let header = GateHeader { differences_only: true, ..header(2) };
    let without = GateRows { outcomes: vec![], groups: vec![], ..rows(&season(100)) };
    let found = send(&life, vec![Part::Header(header), Part::Rows(without)]).await.unwrap();
    let differences = found.differences.clone().unwrap();
    assert_eq!((found.id, found.verdict(), differences.rows), (0, Verdict::Unspecified, 100));
    assert!(differences.changed_class > 0 && differences.max_distance > 0.1, "{differences:?}");
    assert_eq!(history(&life, "champion/gate").await, []);
    life.end().await;
}
