//! `DeadLetterService`: browse, redrive, discard.

use super::{Backends, convert, status};
use loadline_domain::Rules;
use loadline_proto::ingest::{
    DeadLetter, DiscardRequest, DiscardResponse, GetDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse,
    RedriveRequest, RedriveResponse, dead_letter_service_server::DeadLetterService,
};
use loadline_runtime::errors;
use loadline_store::DeadLetterFilter;
use tonic::{Request, Response, Status};

const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;
const REDRIVE_LIMIT: u32 = 100_000;

pub struct DeadLetters {
    pub backends: Backends,
}

#[tonic::async_trait]
impl DeadLetterService for DeadLetters {
    async fn list(&self, request: Request<ListDeadLettersRequest>) -> Result<Response<ListDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let (filter, state) = (convert::filter(request.filter)?, convert::state(request.state)?);
        let (after, size) = (page_token(&request.page_token)?, page_size(request.page_size));
        let store = &self.backends.store;
        let page = store.dead_letters(&filter, state, after, size);
        let (letters, totals) = futures::try_join!(page, store.open_dead_letters(&filter)).map_err(status::store)?;
        let next_page_token = match letters.last() {
            Some(last) if letters.len() == size as usize => last.id.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(ListDeadLettersResponse {
            dead_letters: letters.into_iter().map(|letter| convert::dead_letter(letter, false)).collect(),
            next_page_token,
            totals: convert::reason_counts(totals),
        }))
    }

    async fn get(&self, request: Request<GetDeadLetterRequest>) -> Result<Response<DeadLetter>, Status> {
        let id = convert::row_id(request.into_inner().id, "id")?;
        let letter = self.backends.store.dead_letter(id).await.map_err(status::store)?;
        let letter =
            letter.ok_or_else(|| errors::not_found("dead letter", &id.to_string(), "list the dead letters to see their ids"))?;
        Ok(Response::new(convert::dead_letter(letter, true)))
    }

    async fn redrive(&self, request: Request<RedriveRequest>) -> Result<Response<RedriveResponse>, Status> {
        let request = request.into_inner();
        let filter = convert::filter(request.filter)?;
        let rules = Rules { accept_late: request.accept_late, ..self.backends.rules };
        let limit = if request.limit == 0 { REDRIVE_LIMIT } else { request.limit.min(REDRIVE_LIMIT) };
        let now = self.backends.clock.now();
        let redriven = self.backends.store.redrive(&filter, &rules, now, limit, request.dry_run).await.map_err(status::store)?;
        tracing::info!(?filter, ?redriven, request.dry_run, "dead letters redriven");
        Ok(Response::new(RedriveResponse {
            matched: redriven.matched,
            counted: redriven.counted,
            duplicates: redriven.duplicates,
            dead_again: convert::reason_counts(redriven.dead_again),
            dry_run: request.dry_run,
        }))
    }

    async fn discard(&self, request: Request<DiscardRequest>) -> Result<Response<DiscardResponse>, Status> {
        let request = request.into_inner();
        let filter = convert::filter(request.filter)?;
        if filter == DeadLetterFilter::default() {
            return Err(errors::invalid("filter", "is empty; say which letters to give up, field by field"));
        }
        if request.note.trim().is_empty() && !request.dry_run {
            return Err(errors::invalid("note", "is empty; say why these letters are given up"));
        }
        let discarded = self.backends.store.discard(&filter, &request.note, request.dry_run).await.map_err(status::store)?;
        tracing::info!(?filter, discarded, request.dry_run, request.note, "dead letters discarded");
        Ok(Response::new(DiscardResponse { discarded, dry_run: request.dry_run }))
    }
}

/// Pages go by id: the token is the last id of the page before.
pub fn page_token(token: &str) -> Result<i64, Status> {
    if token.is_empty() {
        return Ok(0);
    }
    token.parse().map_err(|_| errors::invalid("page_token", "is not one that this service gave out; start without one"))
}

pub fn page_size(asked: u32) -> u32 {
    if asked == 0 { PAGE } else { asked.min(MAX_PAGE) }
}
