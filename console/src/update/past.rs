//! The recorded past: gone to, left, and moved in.

use crate::model::{Model, Replay};
use std::time::Duration;

/// Goes to the past, or back to the present.
pub fn replay(model: &mut Model) {
    if model.replay.is_some() {
        leave_replay(model);
        return;
    }
    let at = model.recorder.last();
    let (world, applied) = model.recorder.world_at(at);
    model.replay = Some(Box::new(Replay { world, at, playing: false, applied }));
}

/// A file that is looked at has no present to go back to.
pub fn leave_replay(model: &mut Model) {
    if !model.offline {
        model.replay = None;
    }
}

/// Moves in it.
pub fn shift(model: &mut Model, by: Duration, forward: bool) {
    let Some(replay) = &mut model.replay else { return };
    replay.playing = false;
    let at = if forward { replay.at + by } else { replay.at.saturating_sub(by) };
    seek(model, at);
}

/// Shows the past as it was then, within what is recorded.
pub fn seek(model: &mut Model, at: Duration) {
    let Some(replay) = &mut model.replay else { return };
    let at = at.clamp(model.recorder.first(), model.recorder.last());
    if at < replay.at {
        (replay.world, replay.applied) = model.recorder.world_at(at);
    } else {
        replay.applied = model.recorder.advance(&mut replay.world, replay.applied, at);
    }
    replay.playing &= at < model.recorder.last();
    replay.at = at;
}
