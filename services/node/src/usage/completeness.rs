//! What an answer rests on, in words.

use crate::{
    output::{BAD_NEWS, Output, Tone, clean, plural},
    when::{length, minute, second},
};
use loadline_proto::query::{Completeness, Part, Period, StreamAsOf, part::Origin, period::State};
use std::{fmt::Write as _, process::ExitCode};

/// Lines under an answer; `account` for the command that shows its dead letters.
pub fn text(periods: &[Period], completeness: Option<&Completeness>, account: &str, output: &Output) -> String {
    let mut text = String::new();
    for period in periods {
        let (name, tone, meaning) = state(period.state());
        let range = format!("{} to {}", minute(period.from.as_ref()), minute(period.to.as_ref()));
        let _ = writeln!(text, "{}  {range}  {meaning}", output.paint(tone, &format!("{name:<12}")));
    }
    let Some(completeness) = completeness else {
        text.push_str(&output.paint(Tone::Bad, "the service does not say what this rests on"));
        return text + "\n";
    };
    for stream in &completeness.streams {
        let _ = writeln!(text, "{:<12}  {}", "as of", as_of(stream, output));
    }
    for part in completeness.parts.iter().filter(|part| part.origin() != Origin::Hourly) {
        let _ = match part.missing.as_str() {
            "" => writeln!(text, "{:<12}  {}", "read from", origin(part)),
            why => writeln!(text, "{}  {}: {}", output.paint(Tone::Bad, "missing     "), origin(part), clean(why)),
        };
    }
    text.push_str(&dead_letters(completeness.dead_letters, account, output));
    if completeness.lost > 0 {
        let lost =
            format!("{} may have belonged here, and will not come back: loadline streams losses", records(completeness.lost));
        let _ = writeln!(text, "{}  {lost}", output.paint(Tone::Bad, &format!("{:<12}", "lost")));
    }
    text
}

/// Name, colour and meaning of an hour's state.
pub fn state(state: State) -> (&'static str, Tone, &'static str) {
    match state {
        State::Final => ("final", Tone::Good, ""),
        State::Provisional => ("provisional", Tone::Quiet, "counted; later events may still add to it"),
        State::Pending => ("pending", Tone::Warn, "not counted yet, or not answered: what is missing here is not zero"),
        State::Unspecified => ("unknown", Tone::Bad, "this program is too old to know the state"),
    }
}

/// Whether part of the time asked for is not in the answer.
fn is_missing_some(completeness: Option<&Completeness>) -> bool {
    completeness.is_some_and(|completeness| completeness.parts.iter().any(|part| !part.missing.is_empty()))
}

/// Said before the numbers of such an answer, with what it means for them.
pub fn warning(completeness: Option<&Completeness>, meaning: &str, output: &Output) -> String {
    if !is_missing_some(completeness) {
        return String::new();
    }
    let text = format!("part of the time asked for is missing, see below: {meaning}");
    format!("{}\n\n", output.paint(Tone::Bad, &text))
}

/// Bad news when part of the time asked for is not in the answer: its sums are too small.
pub fn exit(completeness: Option<&Completeness>) -> ExitCode {
    if is_missing_some(completeness) { ExitCode::from(BAD_NEWS) } else { ExitCode::SUCCESS }
}

/// Whether any hour of the answer is counted.
pub fn is_any_counted(periods: &[Period]) -> bool {
    periods.iter().any(|period| matches!(period.state(), State::Final | State::Provisional))
}

fn as_of(stream: &StreamAsOf, output: &Output) -> String {
    let progress = stream.progress.clone().unwrap_or_default();
    let read = match progress.applied {
        0 => "nothing read yet".to_owned(),
        applied => format!("read to {} of {}", crate::output::count(applied), second(progress.applied_at.as_ref())),
    };
    let lag = match &stream.lag {
        None => output.paint(Tone::Warn, "how far behind is not known: the log cannot be asked"),
        Some(lag) if lag.seconds == 0 && lag.nanos == 0 => "up to date".to_owned(),
        Some(lag) => format!("{} behind", length(lag)),
    };
    format!("{}: {read}, {lag}", clean(&progress.stream))
}

fn origin(part: &Part) -> String {
    let origin = match part.origin() {
        Origin::Hourly => "hourly usage",
        Origin::Daily => "daily usage",
        Origin::History => "history",
        Origin::Unspecified => "an unknown place",
    };
    format!("{origin}, {} to {}", minute(part.from.as_ref()), minute(part.to.as_ref()))
}

fn dead_letters(open: u64, account: &str, output: &Output) -> String {
    if open == 0 {
        return String::new();
    }
    // Those of nobody known could be this account's, and only an unfiltered list shows them.
    let which = if account.is_empty() { String::new() } else { format!(" (--account {} for its own)", clean(account)) };
    let label = output.paint(Tone::Warn, &format!("{:<12}", "dead letters"));
    format!("{label}  {} could change this: loadline dead-letters list{which}\n", plural(open, "open one", "open ones"))
}

fn records(number: u64) -> String {
    plural(number, "record", "records")
}
