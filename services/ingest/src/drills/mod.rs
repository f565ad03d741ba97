//! The drills of ingest, one a file. What they write goes to a stream and an account of their own.
//!
//! ```text
//!  drill ─ appends ─▶ LOADLINE-DRILL ─▶ its owner, as any stream's, behind faults of log and store ─▶ store ─▶ account `loadline-drill`
//! ```

mod headroom;
mod lag;
mod lane;
mod store_down;
mod undecodable;

pub use lane::{BATCH_RECORDS, spec};

use crate::{grpc::Backends, service::Drilling};
use lane::Lane;
use loadline_health::{Drill, Monitor};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Gives the monitor its drills, and puts right what a drill left that ended with its process; until `stop` at most.
///
/// `unbroken` is without faults: what drills look at, and write down with, is not what they break.
pub async fn install(monitor: Monitor, unbroken: Backends, drilling: Drilling, stop: CancellationToken) {
    let store = unbroken.store.clone();
    let Some(lane) = Lane::of(unbroken) else {
        return tracing::error!("the stream of drills is not among those of this process: nothing can be drilled here");
    };
    let (lane, Drilling { faults, log_faults, of_process }) = (Arc::new(lane), drilling);
    let own: Vec<Arc<dyn Drill>> = vec![
        Arc::new(store_down::StoreDown::new(lane.clone(), faults.clone())),
        Arc::new(lag::Lag::new(lane.clone(), faults.clone())),
        Arc::new(undecodable::Undecodable::new(lane.clone())),
        Arc::new(headroom::Scarce::new(lane.clone(), log_faults.clone())),
    ];
    loadline_ledger::drills::install(&monitor, store, vec![faults, log_faults], [own, of_process].concat());
    while let Err(error) = lane.tidy().await {
        tracing::debug!(%error, "the stream of drills cannot be tidied yet");
        if stop.run_until_cancelled(sleep(RETRY_AFTER)).await.is_none() {
            return;
        }
    }
}
