//! Runners: whoever begins one batch goes on while something waits.

use super::{
    Engine,
    batch::{Batch, Waiting},
    lane::Refusal,
};
use crate::statistics::Executed;
use loadline_models::Tensor;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

/// One of the engine's places to run a batch; [`Engine::next`] takes it back where nothing waits.
pub(super) struct Runner(pub(super) Engine);

impl Runner {
    /// Runs one batch here, if it is quick; everything else elsewhere: what comes meanwhile is not this caller's to wait for.
    pub fn begin(self) {
        let Some(batch) = self.next() else { return };
        if !batch.lane.pace.is_quick() {
            return self.move_away(batch);
        }
        run(batch);
        if let Some(batch) = self.next() {
            tokio::spawn(self.go_on(batch));
        }
    }

    /// Batch after batch, as long as they are quick.
    async fn go_on(self, mut batch: Batch) {
        while batch.lane.pace.is_quick() {
            run(batch);
            tokio::task::yield_now().await;
            batch = match self.next() {
                Some(batch) => batch,
                None => return,
            };
        }
        self.move_away(batch);
    }

    /// On a thread that serves no connection.
    fn move_away(self, batch: Batch) {
        tokio::task::spawn_blocking(move || {
            run(batch);
            while let Some(batch) = self.next() {
                run(batch);
            }
        });
    }

    fn next(&self) -> Option<Batch> {
        let (batch, in_vain) = self.0.next();
        in_vain.into_iter().for_each(tell);
        batch
    }
}

/// Whoever no longer waits hears nothing.
fn tell(in_vain: Waiting) {
    drop(in_vain.reply.send(Err(Refusal::Expired)));
}

/// Answers a batch. Whatever fails in it ends with it: the runner goes on.
fn run(batch: Batch) {
    if catch_unwind(AssertUnwindSafe(|| answer(batch))).is_err() {
        tracing::error!("a batch panicked; its requests are told so");
    }
}

fn answer(mut batch: Batch) {
    let lane = batch.lane.clone();
    let (began, rows, requests) = (Instant::now(), batch.rows, batch.waiting.len());
    let queued = batch.waiting.iter().map(|one| one.since.elapsed()).sum();
    let inputs = batch.join();
    let joined = Instant::now();
    let outputs = match lane.model.answer(&inputs) {
        Err(_) if requests > 1 => return one_by_one(batch, inputs),
        outputs => outputs,
    };
    let answered = Instant::now();
    let parts = batch.parts(outputs);
    lane.pace.took(began.elapsed(), rows);
    // Before anybody is told: who has an answer finds it counted.
    if parts.is_ok() {
        let (input, infer, output) = (joined - began, answered - joined, answered.elapsed());
        lane.statistics.executed(&Executed { rows, requests, queued, input, infer, output });
    }
    batch.hand_out(parts);
}

/// What is wrong with one request, or makes the model fail, is not the fault of those beside it.
fn one_by_one(batch: Batch, inputs: Vec<Tensor>) {
    for alone in batch.apart(inputs) {
        answer(alone);
    }
}
