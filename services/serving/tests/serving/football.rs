//! Predictions of matches: what is asked, what answers, and the same answer again from its receipt.

use crate::{
    onnx::{forecast_of, plus},
    world::{Life, World, until},
};
use loadline_domain::football::features::{NAMES, id};
use loadline_proto::{
    inference::ModelMetadataRequest,
    serving::{
        Fixture, GetResultsRequest, PredictMatchRequest, PredictMatchResponse, PromoteRequest, Receipt, ReplayRequest,
        ReplayResponse, prediction_service_client::PredictionServiceClient,
    },
};
use loadline_runtime::errors;
use std::{fs, path::PathBuf};
use tonic::{Code, Status};

const RESULTS: &str = "Date,HomeTeam,AwayTeam,FTHG,FTAG\n\
    2024-08-10,Oak,Fir,3,0\n\
    2024-08-10,Elm,Ash,1,1\n\
    2024-08-17,Fir,Oak,0,2\n\
    2024-08-17,Ash,Elm,2,1\n\
    2024-08-24,Oak,Elm,4,1\n\
    yesterday,Oak,Elm,4,1\n";

/// A service with results of one league, and the baseline.
fn world() -> (World, PathBuf) {
    let mut world = World::new();
    let file = world.registry().with_file_name("results").join("north/2024.csv");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, RESULTS).unwrap();
    world.settings.serving.results = Some(world.registry().with_file_name("results"));
    world.settings.serving.baseline = Some(true);
    (world, file)
}

type Client = PredictionServiceClient<tonic::transport::Channel>;

async fn started(world: &World) -> (Life, Client) {
    let life = world.start().await;
    let client = Client::new(life.channel());
    until("a match is predicted", async || client.clone().predict_match(asked("Oak", "Fir")).await.is_ok()).await;
    (life, client)
}

fn asked(home: &str, away: &str) -> PredictMatchRequest {
    let fixture =
        Fixture { league: "north".to_owned(), date: "2024-08-31".to_owned(), home: home.to_owned(), away: away.to_owned() };
    PredictMatchRequest { fixture: Some(fixture), ..PredictMatchRequest::default() }
}

async fn predict(client: &Client, request: PredictMatchRequest) -> Result<PredictMatchResponse, Status> {
    Ok(client.clone().predict_match(request).await?.into_inner())
}

async fn replay(client: &Client, receipt: &Receipt) -> Result<ReplayResponse, Status> {
    Ok(client.clone().replay(ReplayRequest { receipt: Some(receipt.clone()) }).await?.into_inner())
}

/// A model of somebody's own: classes in another order, and a constant answer.
fn own(set: &str) -> Vec<u8> {
    forecast_of(NAMES.len(), [0.0, 1.0, 2.0], &[("feature_set", set), ("class_order", "away,draw,home")])
}

async fn promote(life: &Life, version: u64, expected: u64) {
    let reason = "ours is better".to_owned();
    let request =
        PromoteRequest { model: "football".to_owned(), version, expected_version: expected, reason, ..Default::default() };
    life.models().promote(request).await.unwrap();
}

#[tokio::test]
async fn the_baseline_answers_until_somebody_promotes_theirs_and_says_that_it_is_one() {
    let (world, _) = world();
    let (life, client) = started(&world).await;
    let strong = predict(&client, asked("Oak", "Fir")).await.unwrap();
    let weak = predict(&client, asked("Fir", "Oak")).await.unwrap();
    let (p, q) = (strong.probabilities.unwrap(), weak.probabilities.unwrap());
    assert!(p.home > q.home && p.away < q.away, "{p:?} {q:?}");
    assert!((p.home + p.draw + p.away - 1.0).abs() < 1e-5, "{p:?}");
    let receipt = strong.receipt.unwrap();
    assert!(strong.baseline && !strong.canary && strong.registry_age_seconds.is_none());
    assert_eq!((receipt.model.as_str(), receipt.version, &receipt.aliases[..]), ("football", 1, &["champion".to_owned()][..]));
    assert_eq!((receipt.feature_set.as_str(), receipt.features.len(), receipt.sha256.len()), (id(), NAMES.len(), 64));
    assert_eq!((strong.last_result.as_str(), receipt.as_of.as_str()), ("2024-08-24", "2024-08-31"));
    let metadata = ModelMetadataRequest { name: "football".to_owned(), ..Default::default() };
    let metadata = life.inference().model_metadata(metadata).await.unwrap().into_inner();
    assert_eq!(metadata.properties["baseline"], "true");

    let version = life.try_register("football", own(id())).await.unwrap();
    promote(&life, version.number, 1).await;
    let answer = predict(&client, asked("Oak", "Fir")).await.unwrap();
    let p = answer.probabilities.unwrap();
    assert!(!answer.baseline && answer.receipt.unwrap().version == version.number);
    // Softmax of 0, 1, 2 over away, draw, home.
    assert!((p.home - 0.665_24).abs() < 1e-4 && (p.draw - 0.244_73).abs() < 1e-4 && (p.away - 0.090_03).abs() < 1e-4, "{p:?}");
    life.end().await;
}

#[tokio::test]
async fn a_receipt_is_answered_again_bit_for_bit_after_a_promotion_and_after_later_results() {
    let (world, file) = world();
    let (life, client) = started(&world).await;
    let answer = predict(&client, asked("Oak", "Fir")).await.unwrap();
    let receipt = answer.receipt.unwrap();
    for version in 2..=3 {
        // Two promotions: the baseline is not even kept for a rollback any more.
        let file =
            forecast_of(NAMES.len(), [0.0, version as f32, 1.0], &[("feature_set", id()), ("class_order", "home,draw,away")]);
        assert_eq!(life.try_register("football", file).await.unwrap().number, version);
        promote(&life, version, version - 1).await;
    }
    let again = replay(&client, &receipt).await.unwrap();
    assert!(again.identical && again.largest_difference == 0.0, "{again:?}");
    assert_eq!((again.probabilities, &again.features), (receipt.probabilities, &receipt.features));

    let generation = async || {
        let results = client.clone().get_results(GetResultsRequest {}).await.unwrap().into_inner();
        results.leagues[0].generation.clone()
    };
    let before = generation().await;
    fs::write(&file, format!("{RESULTS}2024-09-07,Fir,Oak,5,0\n")).unwrap();
    until("the later result is read", async || generation().await != before).await;
    assert!(replay(&client, &receipt).await.unwrap().identical, "what came later changes nothing");
    let mut forged = receipt.clone();
    forged.features[0] += 1.0;
    assert!(!replay(&client, &forged).await.unwrap().identical);

    let before = generation().await;
    fs::write(&file, RESULTS.replace("Oak,Fir,3,0", "Oak,Fir,2,0")).unwrap();
    until("the correction is read", async || generation().await != before).await;
    let moved = replay(&client, &receipt).await.unwrap_err();
    assert_eq!((moved.code(), errors::reason(&moved).as_deref()), (Code::FailedPrecondition, Some("DATA_MOVED_ON")));
    let now = predict(&client, asked("Oak", "Fir")).await.unwrap().receipt.unwrap().data_generation;
    assert!(moved.message().contains(&receipt.data_generation) && moved.message().contains(&now), "{moved}");
    life.end().await;
}

#[tokio::test]
async fn each_mistake_about_a_match_is_told_with_what_would_be_right() {
    let (world, _) = world();
    let (life, client) = started(&world).await;
    let with = |change: fn(&mut PredictMatchRequest)| {
        let mut request = asked("Oak", "Fir");
        change(&mut request);
        predict(&client, request)
    };
    let wrong = [
        (with(|asked| asked.fixture = None).await, Code::InvalidArgument, "fixture"),
        (with(|asked| asked.fixture.as_mut().unwrap().league.clear()).await, Code::InvalidArgument, "fixture.league"),
        (with(|asked| asked.fixture.as_mut().unwrap().league = "south".to_owned()).await, Code::NotFound, "there are `north`"),
        (with(|asked| asked.fixture.as_mut().unwrap().home = "Oaks".to_owned()).await, Code::NotFound, "do you mean `Oak`"),
        (with(|asked| asked.fixture.as_mut().unwrap().home = "Zzz".to_owned()).await, Code::NotFound, "GetResults lists"),
        (with(|asked| asked.fixture.as_mut().unwrap().away = "Oak".to_owned()).await, Code::InvalidArgument, "against itself"),
        (with(|asked| asked.fixture.as_mut().unwrap().date = "soon".to_owned()).await, Code::InvalidArgument, "2026-03-14"),
        (with(|asked| asked.fixture.as_mut().unwrap().date = "2199-01-01".to_owned()).await, Code::InvalidArgument, "today is"),
        (with(|asked| asked.fixture.as_mut().unwrap().date = "1999-01-01".to_owned()).await, Code::InvalidArgument, "begin on"),
        (with(|asked| asked.as_of = "2199-01-01".to_owned()).await, Code::InvalidArgument, "nothing is known"),
        (with(|asked| asked.as_of = "2024-09-01".to_owned()).await, Code::InvalidArgument, "after the match"),
        (with(|asked| asked.version = "9".to_owned()).await, Code::NotFound, "no version `9`"),
    ];
    for (answer, code, says) in wrong {
        let refused = answer.unwrap_err();
        assert!(refused.code() == code && refused.message().contains(says), "{says}: {refused}");
    }
    let results = client.clone().get_results(GetResultsRequest {}).await.unwrap().into_inner();
    assert_eq!((results.bad_rows, results.leagues[0].matches), (1, 5));
    assert!(results.problems[0].contains("2024.csv, line 7: Date is no date"), "{:?}", results.problems);
    life.end().await;
}

#[tokio::test]
async fn a_model_made_for_other_features_or_for_something_else_is_refused_with_both_names() {
    let (mut world, _) = world();
    world.settings.serving.baseline = None;
    let life = world.start().await;
    let client = Client::new(life.channel());
    life.try_register("football", own("football-0-other")).await.unwrap();
    life.try_register("football", plus(1.0)).await.unwrap();
    promote(&life, 1, 0).await;
    until("results are read", async || client.clone().get_results(GetResultsRequest {}).await.is_ok()).await;
    let refused = predict(&client, asked("Oak", "Fir")).await.unwrap_err();
    assert_eq!((refused.code(), errors::reason(&refused).as_deref()), (Code::FailedPrecondition, Some("OTHER_FEATURES")));
    assert!(refused.message().contains("football-0-other") && refused.message().contains(id()), "{refused}");
    promote(&life, 2, 1).await;
    let refused = predict(&client, asked("Oak", "Fir")).await.unwrap_err();
    assert_eq!(errors::reason(&refused).as_deref(), Some("NO_FORECAST"), "{refused}");
    life.end().await;
}

#[tokio::test]
async fn without_results_the_setting_is_named() {
    let world = World::new();
    let life = world.start().await;
    let refused = predict(&Client::new(life.channel()), asked("Oak", "Fir")).await.unwrap_err();
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("serving.results"), "{refused}");
    life.end().await;
}

#[tokio::test]
async fn files_that_cannot_be_read_leave_in_use_what_was_read_before() {
    let (world, file) = world();
    let (life, client) = started(&world).await;
    let before = predict(&client, asked("Oak", "Fir")).await.unwrap();
    fs::write(&file, "Date,Home\n").unwrap();
    let problem = async || client.clone().get_results(GetResultsRequest {}).await.unwrap().into_inner().problem;
    until("the problem is told", async || problem().await.contains("no column")).await;
    assert_eq!(predict(&client, asked("Oak", "Fir")).await.unwrap().probabilities, before.probabilities);
    life.end().await;
}
