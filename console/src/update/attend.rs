//! Looking after a mode: acknowledging it with a note, and muting it for a time that has to be given.

use super::{aim, card::ticket};
use crate::{
    model::{Model, hand::Sent, ui::Overlay},
    moment::Moment,
    msg::{Act, Effect},
};
use loadline_proto::health::{AcknowledgeRequest, MuteRequest};
use std::time::Duration;

/// Longest note that servers take, in characters.
const LONGEST: usize = 500;
const DAY: Duration = Duration::from_secs(86_400);

/// Opens the line in which the note is typed.
///
/// # Errors
/// Why it cannot be sent.
pub fn begin(model: &mut Model, mute: bool) -> Result<(), String> {
    let (mode, _) = if mute { aim::mutable(model)? } else { aim::untaken(model)? };
    model.ui.overlay = Some(Overlay::Note { mode, mute, text: String::new() });
    Ok(())
}

/// Sends the note to every process that it concerns.
///
/// # Errors
/// What is wrong with it.
pub fn finish(model: &mut Model, now: Moment) -> Result<Vec<Effect>, String> {
    let Some(Overlay::Note { mode, mute, text }) = model.ui.overlay.clone() else { return Ok(Vec::new()) };
    let text = text.trim();
    let (duration, note) = if mute { until(text)? } else { (Duration::ZERO, text) };
    if note.chars().count() > LONGEST {
        return Err(format!("a note has at most {LONGEST} characters"));
    }
    let (selected, endpoints) = if mute { aim::mutable(model)? } else { aim::untaken(model)? };
    if selected != mode {
        return Err(format!("{mode} is not selected any more"));
    }
    model.ui.overlay = None;
    let words = match (mute, duration.is_zero()) {
        (false, _) => format!("acknowledge {mode}"),
        (true, true) => format!("end the mute of {mode}"),
        (true, false) => format!("mute {mode}"),
    };
    let effects = endpoints.into_iter().map(|endpoint| {
        let act = if mute {
            let duration = prost_types::Duration { seconds: duration.as_secs().cast_signed(), nanos: 0 };
            Act::Mute(MuteRequest { failure_mode: mode.clone(), duration: Some(duration), note: note.to_owned() })
        } else {
            Act::Acknowledge(AcknowledgeRequest { failure_mode: mode.clone(), note: note.to_owned() })
        };
        let ticket = ticket(model);
        model.ui.sent.insert(ticket, Sent { words: words.clone(), endpoint, since: now.elapsed, card: None });
        Effect::Act { endpoint, ticket, act }
    });
    Ok(effects.collect())
}

/// `30m why` as a time and a note; `0` ends a mute.
fn until(text: &str) -> Result<(Duration, &str), String> {
    let how = || "begin with for how long: 30m, 2h, a day at most, or 0 to end it".to_owned();
    let (time, note) = text.split_once(' ').unwrap_or((text, ""));
    let (number, unit) = time.split_at(time.find(|char: char| !char.is_ascii_digit()).unwrap_or(time.len()));
    let number: u64 = number.parse().map_err(|_| how())?;
    let seconds = match (unit, number) {
        ("", 0) => 0,
        ("s", _) => 1,
        ("m" | "min", _) => 60,
        ("h", _) => 3_600,
        ("d", _) => 86_400,
        _ => return Err(how()),
    };
    let duration = Duration::from_secs(number.saturating_mul(seconds));
    if duration > DAY { Err(how()) } else { Ok((duration, note.trim())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_muted_without_an_end() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(until("30m backfill due"), Ok((minutes(30), "backfill due")));
        assert_eq!(
            [until("2h"), until("1d x"), until("0")],
            [Ok((minutes(120), "")), Ok((minutes(1_440), "x")), Ok((minutes(0), ""))]
        );
        for wrong in ["", "later", "30", "25h", "2d", "-5m", "5y", "99999999999999999999h", "18446744073709551615d"] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
    }
}
