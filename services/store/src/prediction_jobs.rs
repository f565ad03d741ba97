//! Jobs of predictions: accepted once, dispatched through an outbox, claimed under a fence, ended exactly once.
//!
//! ```text
//!  accept ─▶ ACCEPTED + outbox ─dispatched─▶ QUEUED ─claim─▶ RUNNING ─▶ SUCCEEDED │ FAILED │ CANCELLED │ EXPIRED
//!                  ▲                            ▲  ▲            │ lease ran out: claimed anew, with the next epoch
//!                  └──── lost in the queue ─────┘  └─ handed back┘
//! ```
//!
//! The nasty invariant: **a job ends once**. The database itself refuses to change a job that has ended, and writes every end down in a
//! table that nothing changes; who claimed a job that was claimed again since, or has ended, is fenced off by its epoch.

use crate::StoreError;
use async_trait::async_trait;
use loadline_domain::Timestamp;
use std::time::Duration;

/// Longest detail of a failure that is kept, in bytes.
pub const LONGEST_DETAIL: usize = 4 << 10;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PredictionState {
    /// Durable; the queue has not heard of it.
    Accepted,
    /// The queue has it.
    Queued,
    /// Claimed.
    Running,
    /// It has a result.
    Succeeded,
    /// It has none, and says why.
    Failed,
    /// Somebody asked it to end.
    Cancelled,
    /// Its deadline came first.
    Expired,
}

/// A job to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrediction {
    /// Made of what is asked of which artifact: the same question is the same job.
    pub id: String,
    /// The model's name.
    pub model: String,
    /// Number of the version whose artifact answers.
    pub version: u64,
    /// Of the artifact, in hexadecimal digits.
    pub sha256: String,
    /// Who asks.
    pub submitted_by: String,
    /// Rows of the question.
    pub rows: u64,
    /// How long from now on anybody wants the answer.
    pub valid_for: Option<Duration>,
    /// The question, as its reader writes it.
    pub request: Vec<u8>,
}

/// A job as stored, without its question and its result. Times are the store's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictionJob {
    /// Rises with the order of acceptance; never used again.
    pub number: u64,
    /// As it was accepted.
    pub id: String,
    /// As it was accepted.
    pub model: String,
    /// As it was accepted.
    pub version: u64,
    /// As it was accepted.
    pub sha256: String,
    /// Who asked first.
    pub submitted_by: String,
    /// As it was accepted.
    pub rows: u64,
    /// Where it stands.
    pub state: PredictionState,
    /// How often it was begun and not handed back.
    pub attempts: u32,
    /// When nobody wants the answer any more.
    pub deadline: Option<Timestamp>,
    /// When it became durable.
    pub accepted_at: Timestamp,
    /// When the queue last took it.
    pub queued_at: Option<Timestamp>,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Who claimed it last.
    pub holder: Option<String>,
    /// Of its last claim; 0 before the first.
    pub epoch: u64,
    /// Until when its last claim holds.
    pub leased_until: Timestamp,
    /// Why it failed: a word for programs.
    pub reason: Option<String>,
    /// Why it failed, in words.
    pub detail: Option<String>,
}

/// What became of a job that was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands.
    pub job: PredictionJob,
    /// Whether this call accepted it; otherwise it was known.
    pub new: bool,
}

/// A job that the queue has to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Of the job.
    pub id: String,
    /// Its model.
    pub model: String,
    /// How often it went to the outbox before: together with the id it names this dispatch.
    pub dispatch: u32,
}

/// On what terms jobs are claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimTerms {
    /// Who claims.
    pub holder: String,
    /// How long a claim lasts unless it is kept.
    pub lease: Duration,
    /// A job that was begun so often fails instead.
    pub attempts: u32,
}

/// A job that this caller, and nobody else, may end while the claim lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// As of the claim.
    pub job: PredictionJob,
    /// Its question.
    pub request: Vec<u8>,
}

/// What became of a try to claim a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is this caller's.
    Mine(Box<Claim>),
    /// Somebody else's claim lasts so much longer.
    Held(Duration),
    /// It has ended, perhaps just now: by its deadline, or after too many attempts.
    Ended,
    /// There is no such job.
    Unknown,
}

/// How a claimed job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PredictionEnd {
    /// With a result, as its reader writes it.
    Succeeded(Vec<u8>),
    /// Without.
    Failed {
        /// A word for programs.
        reason: String,
        /// In words, cut to [`LONGEST_DETAIL`].
        detail: String,
    },
}

/// Which jobs to list. All that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PredictionFilter {
    /// In this state.
    pub state: Option<PredictionState>,
    /// Of this model.
    pub model: Option<String>,
    /// Submitted first by this caller.
    pub submitted_by: Option<String>,
}

/// What waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PredictionBacklog {
    /// Jobs that the queue has to hear of.
    pub outbox: u64,
    /// When the oldest of them was put there.
    pub oldest_outbox: Option<Timestamp>,
    /// Jobs that have not ended.
    pub open: u64,
}

/// Jobs of predictions. Times are the store's clock.
#[async_trait]
pub trait PredictionJobs {
    /// Accepts a job with its outbox entry, in one transaction; durable when it returns. Of any number of submissions of one id, one
    /// accepts it, the others are told where it stands; the first one's deadline and submitter are the job's.
    async fn accept_prediction(&self, new: &NewPrediction) -> Result<Accepted, StoreError>;

    /// The oldest entries of the outbox, in order of acceptance.
    async fn prediction_outbox(&self, limit: u32) -> Result<Vec<Ticket>, StoreError>;

    /// Takes entries out of the outbox once the queue has them: their jobs are queued, unless they went further already.
    async fn predictions_dispatched(&self, tickets: &[Ticket]) -> Result<(), StoreError>;

    /// Claims a job that waits, or whose claim ran out. Each claim raises the job's epoch, and counts as an attempt.
    async fn claim_prediction(&self, id: &str, terms: &ClaimTerms) -> Result<Claimed, StoreError>;

    /// Claims the oldest job that is queued, and not put off, or whose claim ran out. Many may ask at once: none waits for another, and
    /// none gets the same. One that somebody is just changing is passed over: ask again.
    async fn claim_next_prediction(&self, terms: &ClaimTerms) -> Result<Option<Claim>, StoreError>;

    /// Makes a claim last longer, also one that ran out and that nobody took.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the job was claimed again, handed back or has ended.
    async fn keep_prediction(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError>;

    /// Puts a claimed job back into the queue, not to be claimed for a while. Its attempt does not count: whoever hands it back
    /// could not begin, or stops in order.
    ///
    /// # Errors
    /// As [`PredictionJobs::keep_prediction`].
    async fn hand_back_prediction(&self, claim: &Claim, after: Duration) -> Result<(), StoreError>;

    /// Ends a claimed job with its result in one transaction; past its deadline it has expired instead. The same end again changes
    /// nothing.
    ///
    /// # Errors
    /// As [`PredictionJobs::keep_prediction`]. After [`StoreError::Unknown`] the same call tells.
    async fn end_prediction(&self, claim: &Claim, end: &PredictionEnd) -> Result<PredictionJob, StoreError>;

    /// Ends a job that has not ended, whoever claims it; others stay as they are. `None` when there is no such job.
    async fn cancel_prediction(&self, id: &str) -> Result<Option<PredictionJob>, StoreError>;

    /// Ends up to `limit` jobs whose deadline has passed. Returns how many.
    async fn expire_predictions(&self, limit: u32) -> Result<u64, StoreError>;

    /// Puts up to `limit` jobs into the outbox again that nothing has happened to for `idle`: queued and not claimed, or claimed by who
    /// is gone. For a queue that has lost them; a queue that has not, only hears of them twice. Returns how many.
    async fn redispatch_predictions(&self, idle: Duration, limit: u32) -> Result<u64, StoreError>;

    /// One job; `None` when there is no such id.
    async fn prediction_job(&self, id: &str) -> Result<Option<PredictionJob>, StoreError>;

    /// The result of a job that succeeded.
    async fn prediction_result(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Jobs, the newest first, those before the number `before`, at most `limit`.
    async fn prediction_jobs(
        &self,
        filter: &PredictionFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<PredictionJob>, StoreError>;

    /// What waits.
    async fn prediction_backlog(&self) -> Result<PredictionBacklog, StoreError>;

    /// Deletes up to `limit` jobs that ended before a time, with all that is known of them. Returns how many. The same question is a
    /// new job from then on.
    async fn forget_predictions(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

impl PredictionState {
    /// In the order of a job's life.
    pub const ALL: [Self; 7] =
        [Self::Accepted, Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Expired];

    /// Stable name, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// From the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing follows it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

/// What has to become of a job that somebody wants to claim.
pub(crate) enum Verdict {
    Take,
    Held(Duration),
    Ended,
    /// It has to end now, with this state and reason.
    End(PredictionState, Option<(&'static str, String)>),
}

impl PredictionJob {
    /// As of `now`, in the transaction that acts on it.
    pub(crate) fn claimed_by(&self, terms: &ClaimTerms, now: Timestamp) -> Verdict {
        if self.state.is_final() {
            return Verdict::Ended;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Verdict::End(PredictionState::Expired, None);
        }
        if self.state == PredictionState::Running && self.leased_until > now {
            return Verdict::Held(self.leased_until.since(now));
        }
        if self.attempts >= terms.attempts {
            let detail = format!("begun {} times, and never ended: its workers were lost", self.attempts);
            return Verdict::End(PredictionState::Failed, Some(("ATTEMPTS", detail)));
        }
        Verdict::Take
    }

    /// Whether it ended by this end of this claim, or by its deadline before.
    pub(crate) fn ended_as(&self, claim: &Claim, end: &PredictionEnd) -> bool {
        self.epoch == claim.job.epoch && (self.state == end.state() || self.state == PredictionState::Expired)
    }
}

impl Claim {
    /// The error of a word about a job that is not this claim's.
    pub(crate) fn stale(&self) -> StoreError {
        let PredictionJob { id, epoch, .. } = &self.job;
        StoreError::Stale(format!("job {id} is not claimed under epoch {epoch} any more"))
    }
}

impl PredictionEnd {
    pub(crate) fn state(&self) -> PredictionState {
        match self {
            Self::Succeeded(_) => PredictionState::Succeeded,
            Self::Failed { .. } => PredictionState::Failed,
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        if let Self::Failed { reason, .. } = self { Some(reason) } else { None }
    }

    /// Cut where a character ends.
    pub(crate) fn detail(&self) -> Option<&str> {
        let Self::Failed { detail, .. } = self else { return None };
        Some(&detail[..detail.floor_char_boundary(LONGEST_DETAIL)])
    }

    pub(crate) fn result(&self) -> Option<&[u8]> {
        if let Self::Succeeded(result) = self { Some(result) } else { None }
    }
}
