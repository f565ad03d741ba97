//! AN-03: a producer writes bytes that are no event, enough of them to open the breaker, and events ahead of the clock.
//!
//! K lets the stream go on; D judges the letters again, when the events ahead of the clock no longer are, and counts those.

use super::lane::Lane;
use async_trait::async_trait;
use bytes::Bytes;
use loadline_domain::Timestamp;
use loadline_health::{
    Drill,
    drill::{DrillError, Press, Tally},
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

/// More than the breaker takes.
const GARBAGE: usize = 120;
/// Events that are dead for now.
const AHEAD: usize = 20;
/// How long they are, once they were appended: they are judged by the time of that, whenever K lets them be applied.
const AHEAD_FOR: Duration = Duration::from_secs(4);
const K: &str = "K";
const D: &str = "D";

pub struct Undecodable {
    lane: Arc<Lane>,
    /// From when on the events ahead of the clock can be counted.
    due: Mutex<Option<Timestamp>>,
    /// D had something to do: from then on every event has to be counted.
    is_redriven: AtomicBool,
}

impl Undecodable {
    pub fn new(lane: Arc<Lane>) -> Self {
        Self { lane, due: Mutex::default(), is_redriven: AtomicBool::new(false) }
    }

    fn due(&self) -> Option<Timestamp> {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Drill for Undecodable {
    fn mode(&self) -> &'static str {
        "AN-03"
    }

    fn fault(&self) -> &'static str {
        "120 records that are no events, and 20 events ahead of the clock, in the stream of drills"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: K, target: "LOADLINE-DRILL" }, Press { key: D, target: "stream=LOADLINE-DRILL" }]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        self.lane.begin().await
    }

    /// Garbage is gone with the stream's retention: there is no fault that could outlive its time.
    async fn inject(&self, _: Duration) -> Result<(), DrillError> {
        self.is_redriven.store(false, SeqCst);
        let due = self.lane.now().plus(AHEAD_FOR);
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Some(due);
        self.lane.append((0..GARBAGE).map(|n| Bytes::from(format!("\u{7f}no event {n}"))).collect()).await?;
        self.lane.publish(AHEAD, due.plus(self.lane.backends.rules.future_tolerance)).await?;
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        let (now, before) = (self.lane.progress().await, self.lane.before());
        match (now, before) {
            (Ok(now), Ok(before)) if now.dead_lettered > before.dead_lettered => Ok(()),
            (Ok(_), Ok(_)) => Err("no record of the drill became a dead letter".to_owned()),
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        }
    }

    /// The breaker has stopped this stream, and all that was read until then is kept as a letter.
    async fn contained(&self) -> Result<(), String> {
        let progress = self.lane.progress().await.map_err(|error| error.to_string())?;
        if progress.stopped.is_none() {
            return Err(format!("the breaker of {} is closed", self.lane.name()));
        }
        let before = self.lane.before().map_err(|error| error.to_string())?;
        let (read, letters) = (progress.applied - before.applied, progress.dead_lettered - before.dead_lettered);
        if read == letters { Ok(()) } else { Err(format!("{read} records were read, and {letters} letters kept")) }
    }

    /// K: it is stopped. D: everything is judged, and what is ahead of the clock no longer is.
    async fn ready(&self, press: &Press) -> Result<(), String> {
        if press.key == K {
            return match self.lane.status.seen().progress.and_then(|progress| progress.stopped) {
                Some(_) => Ok(()),
                None => Err(format!("{} is not seen to be stopped", self.lane.name())),
            };
        }
        self.lane.settled().await?;
        match self.due() {
            Some(due) if due < self.lane.now() => {
                self.is_redriven.store(true, SeqCst);
                Ok(())
            }
            _ => Err("events are ahead of the clock".to_owned()),
        }
    }

    /// Cut off before D, it discards events that D would have counted: those are not lost.
    async fn undo(&self) -> Result<(), DrillError> {
        self.lane.resume().await?;
        self.lane.settle().await?;
        if !self.is_redriven.load(SeqCst) {
            self.lane.give_up_what_is_ahead().await?;
        }
        self.lane.tidy().await
    }

    async fn clean(&self) -> Result<(), String> {
        self.lane.clean().await
    }

    async fn tally(&self) -> Result<Tally, DrillError> {
        self.lane.tally().await
    }
}
