//! Questions to a service, each with an end.

use crate::{
    model::registry::ENTRIES,
    msg::{AliasAnswer, Answer, Question, What},
};
use loadline_proto::{
    health::{
        ListCatalogueRequest, ListDrillsRequest, drill_service_client::DrillServiceClient,
        failure_mode_service_client::FailureModeServiceClient,
    },
    ingest::{
        ListStreamsRequest, dead_letter_service_client::DeadLetterServiceClient, stream_service_client::StreamServiceClient,
    },
    query::usage_service_client::UsageServiceClient,
    rollup::{ListJobsRequest, job_service_client::JobServiceClient},
    serving::{GetRouteRequest, ListAliasHistoryRequest, ListModelsRequest, model_service_client::ModelServiceClient},
};
use std::time::Duration;
use tonic::{Code, Request, Response, Status, transport::Channel};

/// Most that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer: a snapshot of many modes is larger than the usual limit.
pub const MOST_BYTES: usize = 64 << 20;

/// Asks, and always has something to say in the end.
pub async fn ask(channel: Channel, question: Question) -> What {
    let topic = question.topic();
    match tokio::time::timeout(PATIENCE, answer(channel, question)).await {
        Ok(Ok(answer)) => What::Answer(answer),
        Ok(Err(status)) => What::Refused { topic, error: explain(&status) },
        Err(_) => What::Refused { topic, error: format!("no answer within {} s", PATIENCE.as_secs()) },
    }
}

/// The catalogue; `None` when it was not to be had.
pub async fn catalogue(channel: Channel) -> Option<What> {
    let mut client = FailureModeServiceClient::new(channel).max_decoding_message_size(MOST_BYTES);
    let answer = tokio::time::timeout(PATIENCE, client.list_catalogue(request(ListCatalogueRequest {}))).await;
    Some(What::Catalogue(answer.ok()?.ok()?.into_inner()))
}

async fn answer(channel: Channel, question: Question) -> Result<Answer, Status> {
    let streams = || StreamServiceClient::new(channel.clone());
    let usage = || UsageServiceClient::new(channel.clone()).max_decoding_message_size(MOST_BYTES);
    let jobs = || JobServiceClient::new(channel.clone()).max_decoding_message_size(MOST_BYTES);
    let models = || ModelServiceClient::new(channel.clone()).max_decoding_message_size(MOST_BYTES);
    let letters = || DeadLetterServiceClient::new(channel.clone()).max_decoding_message_size(MOST_BYTES);
    Ok(match question {
        Question::Streams => Answer::Streams(streams().list(request(ListStreamsRequest {})).await.map(inner)?),
        Question::Top(message) => Answer::Top(usage().list_top_accounts(request(message)).await.map(inner)?),
        Question::Delivery(message) => Answer::Delivery(Box::new(usage().get_delivery(request(message)).await.map(inner)?)),
        Question::Jobs => Answer::Jobs(jobs().list(request(ListJobsRequest {})).await.map(inner)?),
        Question::Runs(message) => Answer::Runs(jobs().list_runs(request(message)).await.map(inner)?),
        Question::Letters(message) => {
            let more = !message.page_token.is_empty();
            Answer::Letters { more, answer: letters().list(request(message)).await.map(inner)? }
        }
        Question::Drills => {
            let mut drills = DrillServiceClient::new(channel.clone()).max_decoding_message_size(MOST_BYTES);
            Answer::Drills(drills.list(request(ListDrillsRequest {})).await.map(inner)?)
        }
        Question::Models => Answer::Models(models().list(request(ListModelsRequest {})).await.map(inner)?),
        Question::Alias { model, alias } => Answer::Alias(Box::new(told_alias(models(), model, alias).await?)),
        Question::Letter(message) => Answer::Letter(Box::new(letters().get(request(message)).await.map(inner)?)),
    })
}

/// Everything about an alias, asked at once.
async fn told_alias(client: ModelServiceClient<Channel>, model: String, alias: String) -> Result<AliasAnswer, Status> {
    let history = async |of: String| {
        let message = ListAliasHistoryRequest { model: model.clone(), alias: of, page_size: ENTRIES, ..Default::default() };
        client.clone().list_alias_history(request(message)).await.map(inner)
    };
    let route = async {
        let message = GetRouteRequest { model: model.clone(), alias: alias.clone() };
        client.clone().get_route(request(message)).await.map(inner)
    };
    let (route, changes, evaluations, routes) =
        tokio::try_join!(route, history(alias.clone()), history(format!("{alias}/gate")), history(format!("{alias}/route")))?;
    Ok(AliasAnswer { model, alias, route, changes, evaluations, routes })
}

fn inner<T>(response: Response<T>) -> T {
    response.into_inner()
}

/// A request that tells the server how long somebody waits for it.
fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

/// What a failed call means, in a line.
pub fn explain(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "not offered there".to_owned(),
        Code::PermissionDenied | Code::Unauthenticated => format!("refused: {}", status.message()),
        _ if status.message().is_empty() => status.code().description().to_owned(),
        _ => status.message().to_owned(),
    }
}
