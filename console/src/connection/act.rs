//! What changes something on a server: each act is sent once, and ends in a word about it.

use super::ask::explain;
use crate::msg::{Act, Done, Failure, What};
use loadline_proto::health::{drill_service_client::DrillServiceClient, failure_mode_service_client::FailureModeServiceClient};
use std::time::Duration;
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

/// A server may have to wait for leases and its audit.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does it, and always has something to say in the end.
pub async fn act(channel: Channel, ticket: u64, act: Act) -> What {
    match tokio::time::timeout(PATIENCE, done(channel, act)).await {
        Ok(Ok(done)) => What::Done { ticket, done },
        Ok(Err(status)) => What::Failed { ticket, failure: failure(&status) },
        Err(_) => What::Failed { ticket, failure: Failure::unknown(&format!("no answer within {} s", PATIENCE.as_secs())) },
    }
}

async fn done(channel: Channel, act: Act) -> Result<Done, Status> {
    let mut modes = FailureModeServiceClient::new(channel.clone());
    let mut drills = DrillServiceClient::new(channel);
    Ok(match act {
        Act::Plan(message) => Done::Plan(boxed(modes.plan_remedy(request(message)).await?)),
        Act::Execute(message) => Done::Run(boxed(modes.execute_remedy(request(message)).await?)),
        Act::Abort(message) => Done::Run(boxed(modes.abort_remedy(request(message)).await?)),
        Act::Undo(message) => Done::Run(boxed(modes.undo_remedy(request(message)).await?)),
        Act::Acknowledge(message) => Done::Mode(boxed(modes.acknowledge(request(message)).await?)),
        Act::Mute(message) => Done::Mode(boxed(modes.mute(request(message)).await?)),
        Act::StartDrill(message) => Done::Drill(boxed(drills.start(request(message)).await?)),
        Act::StopDrill(message) => Done::Drill(boxed(drills.stop(request(message)).await?)),
    })
}

fn boxed<T>(response: Response<T>) -> Box<T> {
    Box::new(response.into_inner())
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

/// What a failed act means: a server that gives its reason has done nothing, and so has one that refuses by the code.
fn failure(status: &Status) -> Failure {
    let reason = status.get_details_error_info().map(|info| info.reason).filter(|reason| !reason.is_empty());
    let refused = matches!(
        status.code(),
        Code::NotFound
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::ResourceExhausted
    );
    let text = explain(status);
    match reason {
        // A connection that broke says so by the same code, without a reason.
        Some(reason) if refused || status.code() == Code::Unavailable => Failure::refused(&format!("{reason}: {text}")),
        None if refused => Failure::refused(&text),
        _ => Failure::unknown(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_refusal_with_a_reason_is_told_from_silence() {
        let details =
            ErrorDetails::with_error_info("AUDIT_UNAVAILABLE", "loadline", std::collections::HashMap::<String, String>::new());
        let said = Status::with_error_details(Code::Unavailable, "the audit does not answer", details);
        assert_eq!(failure(&said), Failure::refused("AUDIT_UNAVAILABLE: the audit does not answer"));
        assert_eq!(failure(&Status::not_found("no such plan")), Failure::refused("no such plan"));
        assert!(!failure(&Status::unavailable("connection reset")).refused);
        assert!(!failure(&Status::internal("?")).refused);
    }
}
