//! Holds a stream's lease and keeps the stream applied, for as long as this process may.

use crate::{pipeline::Reader, watch::StreamStatus};
use loadline_domain::{
    Batch, Rules,
    progress::{Lease, Progress},
};
use loadline_event_log::{EventLog, LogError, StreamSpec, ensure_held};
use loadline_store::{Store, StoreError};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// First pause after a failure; doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A batch that a working store refuses so often is too large for it.
const TRIES_OF_A_SIZE: u32 = 3;
/// How often a stopped stream looks whether it was resumed.
const STOPPED_POLL: Duration = Duration::from_millis(500);

/// How an owner works.
#[derive(Debug, Clone)]
pub struct OwnerSettings {
    /// Names this process in leases; must differ between processes.
    pub holder: String,
    /// How long a lease outlives its last renewal: the pause until another process takes over.
    pub lease_ttl: Duration,
    /// Records a batch holds when the stream is caught up; four times as many when it is behind.
    pub batch_records: usize,
    /// Payload bytes a batch holds.
    pub batch_bytes: usize,
    /// What may be counted.
    pub rules: Rules,
}

/// Why owning ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("another process owns the stream")]
    NotOwner,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// One stream's owner.
pub struct Owner {
    pub spec: StreamSpec,
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn Store>,
    pub settings: OwnerSettings,
    pub status: Arc<StreamStatus>,
}

impl Owner {
    /// Owns the stream whenever it can, until shutdown. Never gives up.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pause = MIN_PAUSE;
        while !shutdown.is_cancelled() {
            let before = self.status.commits();
            match self.own(&shutdown).await {
                Ok(()) => pause = MIN_PAUSE,
                Err(Ended::NotOwner) => pause = self.settings.lease_ttl / 4,
                Err(error) => {
                    tracing::warn!(stream = %self.spec.name, %error, "stream interrupted; opening it again");
                    let progressed = self.status.commits() != before;
                    pause = if progressed { MIN_PAUSE } else { (pause * 2).min(MAX_PAUSE) };
                }
            }
            self.status.owned(None);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// One ownership: from taking the lease to losing it, to an interruption, or to shutdown.
    async fn own(&self, shutdown: &CancellationToken) -> Result<(), Ended> {
        let name = &self.spec.name;
        let lease = self.store.acquire(name, &self.settings.holder, self.settings.lease_ttl).await?;
        let lease = lease.ok_or(Ended::NotOwner)?;
        let result = self.apply(lease.clone(), shutdown).await;
        if let Err(error) = self.store.release(&lease).await {
            tracing::debug!(stream = %name, %error, "lease not released; it will expire");
        }
        result
    }

    async fn apply(&self, lease: Lease, shutdown: &CancellationToken) -> Result<(), Ended> {
        self.log.ensure(&self.spec).await?;
        let bounds = self.log.bounds(&self.spec.name).await?;
        self.status.saw(&bounds.incarnation, bounds.last);
        let heads = self.status.heads();
        let progress = self.store.open_stream(&lease, &bounds.incarnation, &heads).await?;
        self.status.opened(&bounds.incarnation, &heads);
        self.status.owned(Some(lease.clone()));
        self.status.progressed(&progress);
        tracing::info!(stream = %self.spec.name, epoch = lease.epoch, applied = progress.applied, "owning the stream");
        let applied = (progress.applied, progress.applied_at);
        match ensure_held(&*self.log, &self.spec.name, &progress.incarnation, applied).await {
            Err(lost @ LogError::LostItsEnd { .. }) => {
                let why = lost.to_string();
                tracing::error!(stream = %self.spec.name, why, "stream stopped");
                self.store.stop(&lease, &progress.incarnation, &why).await?;
                return self.wait_for_resume(lease, shutdown).await;
            }
            held => held?,
        }
        if progress.stopped.is_some() {
            return self.wait_for_resume(lease, shutdown).await;
        }
        let (sender, batches) = mpsc::channel(1);
        let reader = Reader {
            log: self.log.clone(),
            stream: self.spec.name.clone(),
            incarnation: bounds.incarnation,
            rules: self.settings.rules,
            batch_records: self.settings.batch_records,
            batch_bytes: self.settings.batch_bytes,
            status: self.status.clone(),
        };
        let reading = tokio::spawn(reader.run(progress, sender));
        let committed = self.commit_all(&lease, batches, shutdown).await;
        if committed.is_err() || shutdown.is_cancelled() {
            reading.abort(); // what it has read is read again by the next owner
            return committed;
        }
        match reading.await {
            Ok(read) => read.map_err(Ended::from),
            Err(panic) => Err(LogError::Unavailable(format!("reader ended: {panic}")).into()),
        }
    }

    /// Writes batches in order until one stops the stream, the reader ends, the lease is lost, or shutdown.
    async fn commit_all(
        &self,
        lease: &Lease,
        mut batches: mpsc::Receiver<Batch>,
        shutdown: &CancellationToken,
    ) -> Result<(), Ended> {
        let mut renewal = tokio::time::interval(self.settings.lease_ttl / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(STOPPED_POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = renewal.tick() => {
                    self.renew(lease).await?;
                    continue;
                }
                _ = poll.tick() => {
                    if self.was_stopped().await {
                        return Ok(());
                    }
                    continue;
                }
                batch = batches.recv() => batch,
            };
            let Some(batch) = batch else { return Ok(()) };
            self.status.saw(batch.incarnation(), batch.to());
            let stops = batch.stops().map(str::to_owned);
            self.commit_or_narrow(lease, batch, shutdown).await?;
            if let Some(why) = stops.filter(|_| !shutdown.is_cancelled()) {
                tracing::error!(stream = %self.spec.name, why, "breaker open: stream stopped until resumed");
                return Ok(());
            }
        }
    }

    /// Writes a batch; one that would take a total past 64 bits in halves, down to the record that does, which is dead then. One
    /// account's absurd total must not hold up the others.
    async fn commit_or_narrow(&self, lease: &Lease, batch: Batch, shutdown: &CancellationToken) -> Result<(), Ended> {
        let mut waiting = vec![batch];
        while let Some(batch) = waiting.pop() {
            match self.commit(lease, &batch, shutdown).await {
                Err(Ended::Store(StoreError::Overflow(why))) => match batch.halves(&self.settings.rules) {
                    Some([first, second]) => waiting.extend([second, first]),
                    None => {
                        tracing::warn!(stream = %self.spec.name, sequence = batch.to(), why, "a record fits into no total; it is dead");
                        waiting.push(batch.refused_as_too_much().ok_or(StoreError::Overflow(why))?);
                    }
                },
                committed => committed?,
            }
            if shutdown.is_cancelled() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes one batch, however long the store is away. Giving up would only mean reading the same records again.
    async fn commit(&self, lease: &Lease, batch: &Batch, shutdown: &CancellationToken) -> Result<(), Ended> {
        let (mut pause, mut tries) = (MIN_PAUSE, 0);
        loop {
            let began = Instant::now();
            let error = match self.store.commit(lease, batch).await {
                Ok(progress) => {
                    self.status.pace.took(began, batch.len(), began.elapsed());
                    self.status.committed(&progress, batch);
                    return Ok(());
                }
                Err(StoreError::Unknown(why)) => {
                    tracing::warn!(stream = %self.spec.name, why, "outcome of a commit unknown; asking the store");
                    match self.happened(lease, batch).await {
                        Ok(Some(progress)) => {
                            self.status.committed(&progress, batch);
                            return Ok(());
                        }
                        // Not seen yet: the same batch again. Should the first be under way still, the fence refuses one of them.
                        Ok(None) => StoreError::Unavailable(why),
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if !error.is_retryable() {
                return Err(error.into());
            }
            tries += 1;
            if tries >= TRIES_OF_A_SIZE && self.store.probe().await.is_ok() {
                // The store answers, only not to this: fewer records may fit into its time.
                self.status.read_less();
                return Err(error.into());
            }
            tracing::warn!(stream = %self.spec.name, %error, "store unavailable; holding the batch");
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// Reads progress back after an unknown commit: `Some` when the batch is in, `None` when it is not there.
    async fn happened(&self, lease: &Lease, batch: &Batch) -> Result<Option<Progress>, StoreError> {
        let progress = self.store.progress(batch.stream()).await?;
        Ok(progress.filter(|progress| {
            progress.incarnation == *batch.incarnation() && progress.epoch == lease.epoch && progress.applied == batch.to()
        }))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Ended> {
        match self.store.renew(lease, self.settings.lease_ttl).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Ended::NotOwner),
            // The store is away: nobody else can take the lease either, and every commit is fenced.
            Err(error) if error.is_retryable() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the lease of a stopped stream, so that its state is not argued over, until somebody resumes it.
    async fn wait_for_resume(&self, lease: Lease, shutdown: &CancellationToken) -> Result<(), Ended> {
        let mut renewal = tokio::time::interval(self.settings.lease_ttl / 3);
        let mut poll = tokio::time::interval(STOPPED_POLL);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = renewal.tick() => self.renew(&lease).await?,
                _ = poll.tick() => {
                    if !self.is_still_stopped().await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Somebody else has stopped the stream, as the status says and the store confirms: the status may be a second old.
    async fn was_stopped(&self) -> bool {
        let seen = self.status.seen().progress.is_some_and(|progress| progress.stopped.is_some());
        seen && matches!(self.is_still_stopped().await, Ok(true))
    }

    /// A stream that was made again is another one, and was never stopped.
    async fn is_still_stopped(&self) -> Result<bool, Ended> {
        let progress = self.store.progress(&self.spec.name).await?;
        let Some(progress) = progress.filter(|progress| progress.stopped.is_some()) else { return Ok(false) };
        match self.log.bounds(&self.spec.name).await {
            Ok(bounds) => Ok(bounds.incarnation == progress.incarnation),
            Err(error) if error.is_retryable() => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
