//! Usage, sent at once and again whenever it changes.
//!
//! Looking is cheap: only when a stream's counters moved is the question asked again. Some changes leave the counters alone
//! (an hour becomes final, a dead letter is discarded), so it is also asked again after [`REVIEW`].
//! History is asked again only when other parts are archived: counters move with everybody's events, and archived rows with none.

use crate::{Query, history::Kept, isolation::Pass, status::QueryError, usage::Asked};
use futures::{Stream, stream};
use loadline_domain::{AccountScope, Incarnation, StreamName, progress::Progress};
use loadline_proto::query::GetUsageResponse;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tonic::Status;

/// The question is asked again after this time although no counter moved.
pub const REVIEW: Duration = Duration::from_secs(10);

/// What moves when anything is counted, given up or redriven.
type Counters = Vec<(StreamName, Incarnation, [u64; 5])>;

struct Watch {
    query: Query,
    pass: Pass,
    scope: AccountScope,
    question: Asked,
    kept: Kept,
    ticks: Interval,
    counters: Counters,
    asked_at: Option<Instant>,
    sent: Option<GetUsageResponse>,
    over: bool,
}

impl Query {
    /// Answers until the caller leaves, the server shuts down or the question cannot be answered any more; the last two end
    /// the stream with a status.
    pub(crate) fn watch(
        &self,
        pass: Pass,
        scope: AccountScope,
        question: Asked,
        min_interval: Duration,
    ) -> impl Stream<Item = Result<GetUsageResponse, Status>> + Send + use<> {
        let mut ticks = interval(min_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (query, kept, counters) = (self.clone(), Kept::default(), Vec::new());
        let watch = Watch { query, pass, scope, question, kept, ticks, counters, asked_at: None, sent: None, over: false };
        stream::unfold(watch, |mut watch| async move { watch.next().await.map(|item| (item, watch)) })
    }
}

impl Watch {
    async fn next(&mut self) -> Option<Result<GetUsageResponse, Status>> {
        if self.over {
            return None;
        }
        let shutdown = self.query.parts.shutdown.clone();
        let item = tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(QueryError::ShuttingDown),
            item = self.change() => item.and_then(|answer| self.pass.hand_out(answer)),
        };
        self.over = item.is_err();
        Some(item.map_err(Status::from))
    }

    async fn change(&mut self) -> Result<GetUsageResponse, QueryError> {
        loop {
            self.ticks.tick().await;
            // A closure ends a watch at once, not with its next change.
            self.pass.hand_out(())?;
            if !self.is_due().await? {
                continue;
            }
            self.asked_at = Some(Instant::now());
            let answer = self.query.usage_again(&self.scope, &self.question, &mut self.kept).await?;
            let told = what_counts(answer.clone());
            if self.sent.as_ref() != Some(&told) {
                self.sent = Some(told);
                return Ok(answer);
            }
        }
    }

    /// Whether the answer may have changed.
    async fn is_due(&mut self) -> Result<bool, QueryError> {
        let counters = counters(&self.query.parts.store.all_progress().await?);
        let moved = counters != self.counters;
        self.counters = counters;
        Ok(moved || self.asked_at.is_none_or(|asked_at| asked_at.elapsed() >= REVIEW))
    }
}

fn counters(progress: &[Progress]) -> Counters {
    let of = |progress: &Progress| {
        let counters = [progress.applied, progress.counted, progress.duplicates, progress.dead_lettered, progress.lost];
        (progress.stream.clone(), progress.incarnation.clone(), counters)
    };
    progress.iter().map(of).collect()
}

/// An answer without the streams' positions, which move with everybody's events.
fn what_counts(mut answer: GetUsageResponse) -> GetUsageResponse {
    if let Some(completeness) = &mut answer.completeness {
        completeness.streams.clear();
    }
    answer
}
