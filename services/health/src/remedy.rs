//! What a remedy is: it looks at the world and says what it would do, and does that in steps.

use crate::World;
use async_trait::async_trait;
use loadline_proto::health as wire;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What can become of it when a remedy was a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reversibility {
    /// Twice is as good as once, and never is no harm.
    Safe,
    /// Can be taken back within the plan's horizon.
    Undoable,
    /// Something may be lost.
    LossPossible,
    /// Cannot be taken back.
    Irreversible,
}

impl Reversibility {
    /// Whether the count has to be typed to confirm it; for the others, `y` does.
    pub fn asks_for_count(self) -> bool {
        matches!(self, Self::LossPossible | Self::Irreversible)
    }
}

impl From<Reversibility> for wire::Reversibility {
    fn from(reversibility: Reversibility) -> Self {
        match reversibility {
            Reversibility::Safe => Self::Safe,
            Reversibility::Undoable => Self::Undoable,
            Reversibility::LossPossible => Self::LossPossible,
            Reversibility::Irreversible => Self::Irreversible,
        }
    }
}

/// Something that is or would be done, in words, with how many of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Such as `dead letters judged again`.
    pub text: String,
    /// How many.
    pub count: u64,
}

impl Effect {
    /// An effect on so many.
    pub fn new(text: impl Into<String>, count: u64) -> Self {
        Self { text: text.into(), count }
    }
}

impl From<&Effect> for wire::Effect {
    fn from(effect: &Effect) -> Self {
        Self { text: effect.text.clone(), count: effect.count }
    }
}

/// What a remedy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What it is to work on, as the remedy understood the request. Names the lease: one run at a time works on it.
    pub target: String,
    /// What it would do.
    pub effects: Vec<Effect>,
    /// How many things it is about; what has to be typed when something can be lost.
    pub count: u64,
    /// What it saw. Whoever executes or undoes the plan may read it there.
    pub world: World,
    /// How long it should take.
    pub expected: Duration,
    /// For how long after its end it can be undone; `None`: it cannot.
    pub undo_within: Option<Duration>,
}

impl Planned {
    /// To connect to one dependency anew, which is safe and quick, and does as told.
    ///
    /// # Errors
    /// [`RemedyError::NotNow`] when another target is asked for than this one; empty: none.
    pub fn reconnection(dependency: &str, asked: &str, does: &str) -> Result<Self, RemedyError> {
        if !["", dependency].contains(&asked) {
            let why = format!("{asked} cannot be reconnected: for this mode it is `{dependency}`");
            return Err(RemedyError::NotNow(why));
        }
        Ok(Self {
            target: dependency.to_owned(),
            effects: vec![Effect::new(does, 1)],
            count: 1,
            world: World::default().with("dependency", dependency),
            expected: Duration::from_secs(2),
            undo_within: None,
        })
    }
}

/// Why a remedy did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemedyError {
    /// There is nothing it could do, or no such target: says what to do instead.
    #[error("{0}")]
    NotNow(String),
    /// It was told to stop, and did between two steps.
    #[error("stopped between two steps")]
    Stopped,
    /// Something it needs did not answer as it should.
    #[error("{0}")]
    Failed(String),
}

/// A repair. Its effects must bear being executed after a crash of an earlier run at any point.
#[async_trait]
pub trait Remedy: Send + Sync + 'static {
    /// Its key in the catalogue.
    fn key(&self) -> &'static str;

    /// What it does, in a few words.
    fn title(&self) -> &'static str;

    /// The modes it serves, by id; the catalogue must give each of them this key.
    fn modes(&self) -> &'static [&'static str];

    /// What can become of it when it was a mistake.
    fn reversibility(&self) -> Reversibility;

    /// Whether it can be planned now, else why not. Asked twice a second: looks at memory only.
    fn available(&self) -> Result<(), String> {
        Ok(())
    }

    /// The pause after a run before the next one on the same target.
    fn cooldown(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// It is told to stop after so long, and dropped when it does not.
    fn deadline(&self) -> Duration {
        Duration::from_secs(120)
    }

    /// How long its mode may take to be good again afterwards.
    fn verify_within(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// What the mode's signal says of the plan's target, where no detector here can: a process does not watch itself. A remedy
    /// that answers may be for modes that its process does not detect. `None`: the detector of the mode says it.
    fn signal(&self, _target: &str) -> Option<Result<(), String>> {
        None
    }

    /// Where the run goes on when it ends the life of its own process: what comes after it verifies the run.
    fn successor(&self, _planned: &Planned) -> Option<Box<dyn Successor>> {
        None
    }

    /// Looks, and says what it would do. Changes nothing. An empty target is the remedy's own choice.
    async fn plan(&self, mode: &str, target: &str) -> Result<Planned, RemedyError>;

    /// What a plan saw, looked at again.
    async fn look_again(&self, mode: &str, planned: &Planned) -> Result<World, RemedyError> {
        Ok(self.plan(mode, &planned.target).await?.world)
    }

    /// Does what was planned, in steps: [`Running::step`] before each, [`Running::did`] after each. May be dropped at its
    /// deadline: a step that must be whole runs in a task or transaction of its own.
    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError>;

    /// Takes back what a run did, `done`, which may be only a part of the plan. Never asked of one without
    /// [`Planned::undo_within`].
    async fn undo(&self, _planned: &Planned, _done: &[Effect], _running: &Running) -> Result<(), RemedyError> {
        Err(RemedyError::NotNow("it cannot be undone".to_owned()))
    }
}

/// What comes after the life of a process.
pub trait Successor: Send {
    /// Ends this life, and leaves the run to the next one. False: there is to be none, as somebody has ended the process.
    fn hand_over(self: Box<Self>, left: String) -> bool;
}

/// A run, as the remedy sees it: where it says how far it is, and is told to stop.
#[derive(Debug, Default)]
pub struct Running {
    by: String,
    why: String,
    stop: CancellationToken,
    done: AtomicU64,
    total: AtomicU64,
    effects: Mutex<Vec<Effect>>,
}

impl Running {
    pub(crate) fn of(by: &str, why: &str) -> Self {
        Self { by: by.to_owned(), why: why.to_owned(), ..Self::default() }
    }

    /// Who began it, or takes it back; empty where that was before a restart.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Why, in their words; empty where they gave no reason.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Says that `done` of `total` pieces are done (0: not known) and that the next step begins.
    ///
    /// # Errors
    /// [`RemedyError::Stopped`] when it must not: pass it on.
    pub fn step(&self, done: u64, total: u64) -> Result<(), RemedyError> {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        if self.stop.is_cancelled() { Err(RemedyError::Stopped) } else { Ok(()) }
    }

    /// Says what was done; the same words again add to their count.
    pub fn did(&self, effect: Effect) {
        let mut effects = self.lock();
        match effects.iter_mut().find(|known| known.text == effect.text) {
            Some(known) => known.count = known.count.saturating_add(effect.count),
            None => effects.push(effect),
        }
    }

    /// What was done until now.
    pub fn effects(&self) -> Vec<Effect> {
        self.lock().clone()
    }

    /// Completes when it is told to stop, for a step that waits.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Effect>> {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a lease is not to be had, other than that somebody has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("leases cannot be reached: {0}")]
pub struct LeaseError(pub String);

/// Who may work on what, among all processes.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes `name` for `holder` until `ttl` from now, or renews it. False: another holder has it, whose time is not over.
    async fn hold(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, LeaseError>;

    /// Gives it up. Nothing happens when this holder does not have it.
    async fn release(&self, name: &str, holder: &str) -> Result<(), LeaseError>;

    /// Those that anybody holds now.
    async fn names(&self) -> Result<Vec<String>, LeaseError>;
}

/// The check after a remedy that nothing was lost or counted twice.
#[async_trait]
pub trait Conservation: Send + Sync + 'static {
    /// Looks now.
    ///
    /// # Errors
    /// In words, what does not add up, or why that cannot be known.
    async fn check(&self) -> Result<(), String>;
}
