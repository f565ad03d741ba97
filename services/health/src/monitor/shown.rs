//! What operators and remedies put on the monitor, beside the readings.

use super::{Modes, Monitor};
use crate::{
    Desk, Drills,
    attention::{Attention, AttentionError},
    signal::{Moment, Signal},
};
use loadline_proto::health::{DrillRun, ModeStatus, RemedyOffer, RemedyPlan, RemedyRun};
use std::sync::MutexGuard;
use tokio::time::Instant;

impl Monitor {
    /// Whether a mode is OK by a reading taken at `since` or later.
    pub(crate) fn is_good_since(&self, id: &str, since: Instant) -> bool {
        let mut modes = self.modes();
        modes.advance(Moment::now());
        self.announce(&modes);
        modes.watched.iter().any(|watched| watched.signal.id() == id && watched.signal.is_good_since(since))
    }

    /// Whether this process detects a mode.
    pub fn detects(&self, id: &str) -> bool {
        self.modes().watched.iter().any(|watched| watched.signal.id() == id)
    }

    /// The desk of its remedies, where there is one.
    pub fn desk(&self) -> Option<&Desk> {
        self.0.desk.get()
    }

    /// False: it has one.
    pub(crate) fn set_desk(&self, desk: Desk) -> bool {
        self.0.desk.set(desk).is_ok()
    }

    /// Its drills, where there are some.
    pub(crate) fn drills(&self) -> Option<&Drills> {
        self.0.drills.get()
    }

    /// False: it has some.
    pub(crate) fn set_drills(&self, drills: Drills) -> bool {
        self.0.drills.set(drills).is_ok()
    }

    /// Says which drill causes a mode from now on; an empty id: none.
    pub(crate) fn set_drill(&self, id: &str, drill: &str) {
        let set = self.attend(id, |_, attention, _| {
            attention.set_drill(drill);
            Ok(())
        });
        if let Err(error) = set {
            tracing::error!(id, %error, "a drill of a mode that is not detected here");
        }
    }

    /// Remedies that a drill has begun.
    pub(crate) fn runs_of_drill(&self, id: &str) -> Vec<RemedyRun> {
        self.modes().board.runs().into_iter().filter(|run| run.drill_id == id).collect()
    }

    /// Shows a drill, or how it is now.
    pub(crate) fn show_drill(&self, run: DrillRun) {
        let mut modes = self.modes();
        modes.board.show_drill(run);
        self.flush_if(true, modes);
    }

    /// Changes what people have to do with a mode, and tells watchers.
    pub(crate) fn attend(
        &self,
        id: &str,
        change: impl FnOnce(&Signal, &mut Attention, Moment) -> Result<(), AttentionError>,
    ) -> Result<ModeStatus, AttentionError> {
        let now = Moment::now();
        let mut modes = self.modes();
        modes.advance(now);
        let service = modes.log.service().to_owned();
        let watched = modes.watched.iter_mut().find(|watched| watched.signal.id() == id);
        let watched = watched.ok_or_else(|| AttentionError::NotDetected { id: id.to_owned(), service })?;
        change(&watched.signal, &mut watched.attention, now)?;
        watched.unsent = true;
        let status = watched.status();
        modes.flush(now);
        self.announce(&modes);
        Ok(status)
    }

    /// Shows what remedies a mode has here.
    pub(crate) fn show_offers(&self, id: &str, offers: Vec<RemedyOffer>) {
        let mut modes = self.modes();
        if let Some(watched) = modes.watched.iter_mut().find(|watched| watched.signal.id() == id) {
            watched.unsent |= watched.attention.set_offers(offers);
        } else if let Some(status) = modes.undetected.iter_mut().find(|status| status.id == id) {
            // In snapshots only: what is not detected has no changes to tell.
            status.remedies = offers;
        }
    }

    /// Shows a run, and its mode as it is worked on.
    pub(crate) fn show_run(&self, run: RemedyRun) {
        let mut modes = self.modes();
        let changed = modes.board.show_run(run);
        let Modes { board, watched, .. } = &mut *modes;
        for watched in watched {
            watched.unsent |= watched.attention.set_work(board.work_on(watched.signal.id()));
        }
        self.flush_if(changed, modes);
    }

    /// Shows the plans that wait for confirmation.
    pub(crate) fn show_armed(&self, armed: Vec<RemedyPlan>) {
        let mut modes = self.modes();
        let changed = modes.board.show_armed(armed);
        self.flush_if(changed, modes);
    }

    fn flush_if(&self, changed: bool, mut modes: MutexGuard<'_, Modes>) {
        if changed {
            modes.flush(Moment::now());
            self.announce(&modes);
        }
    }
}
