//! One dead letter: its story and its payload, as an event when it is one, else as bytes.

use super::{reason_name, state_name};
use crate::{
    json,
    output::{Output, Tone, clean},
    when::second,
};
use loadline_proto::{event::Event, ingest::DeadLetter};
use prost::Message as _;
use serde_json::Value;
use std::fmt::Write as _;

/// Most bytes shown; the rest is in the answer's JSON.
const SHOWN_BYTES: usize = 4_096;
const BYTES_A_LINE: usize = 16;

/// The whole letter.
///
/// # Errors
/// Never in practice: when the event does not fit its own contract.
pub fn text(letter: &DeadLetter, output: &Output) -> anyhow::Result<String> {
    let mut text = String::new();
    let account = if letter.account.is_empty() { "not known" } else { &letter.account };
    let resolved = letter.resolved_at.as_ref().map(|at| format!(" since {}", second(Some(at)))).unwrap_or_default();
    for (name, value) in [
        ("id", letter.id.to_string()),
        ("reason", format!("{}: {}", reason_name(letter.reason()), letter.detail)),
        ("state", format!("{}{resolved}", state_name(letter.state()))),
        ("stream", format!("{} {}, incarnation {}", letter.stream, letter.sequence, letter.incarnation)),
        ("account", account.to_owned()),
        ("event time", second(letter.event_time.as_ref())),
        ("appended", second(letter.recorded_at.as_ref())),
        ("payload", format!("{} bytes", letter.payload.len())),
    ] {
        let _ = writeln!(text, "{name:<12}{}", clean(&value));
    }
    text.push('\n');
    match decoded(&letter.payload)? {
        Some(event) => {
            let _ = writeln!(text, "{}", crate::output::clean_lines(&format!("{event:#}")));
        }
        None => {
            let _ = writeln!(text, "{}", output.paint(Tone::Warn, "the payload is no event of a schema that this program knows"));
            text.push_str(&hexdump(&letter.payload));
        }
    }
    Ok(text)
}

/// The payload as JSON that `publish` reads, once it is put right; `None` when it is no event.
///
/// # Errors
/// As [`text`].
pub fn decoded(payload: &[u8]) -> anyhow::Result<Option<Value>> {
    match Event::decode(payload) {
        // Any bytes that look like fields decode to an event of nothing.
        Ok(event) if event.body.is_some() => json::of("loadline.event.v1.Event", &event).map(Some),
        _ => Ok(None),
    }
}

/// Offset, bytes, and the characters among them.
fn hexdump(payload: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in payload[..payload.len().min(SHOWN_BYTES)].chunks(BYTES_A_LINE).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
        let visible = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
        let characters: String = bytes.iter().map(visible).collect();
        let _ = writeln!(text, "{:08x}  {hex:<width$} |{characters}|", line * BYTES_A_LINE, width = BYTES_A_LINE * 3);
    }
    if payload.len() > SHOWN_BYTES {
        let _ = writeln!(text, "… {} bytes more, in --json as base64", payload.len() - SHOWN_BYTES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::PLAIN;
    use loadline_proto::event::{BillingEvent, event::Body};

    #[test]
    fn an_event_is_shown_as_one_and_cannot_act_on_the_terminal() {
        let billing =
            BillingEvent { account: "a\u{1b}[2J".to_owned(), amount_micros: -5, channel: 99, ..BillingEvent::default() };
        let payload = Event { body: Some(Body::Billing(billing)) }.encode_to_vec();
        let letter = DeadLetter {
            id: 7,
            reason: 2,
            state: 1,
            detail: "bad\u{9b}".to_owned(),
            payload: payload.into(),
            ..DeadLetter::default()
        };
        let text = text(&letter, &PLAIN).unwrap();
        assert!(
            text.contains("INVALID: bad\u{fffd}") && text.contains("\"amount_micros\": -5") && text.contains("OPEN"),
            "{text}"
        );
        assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
    }

    #[test]
    fn other_bytes_are_dumped() {
        let payload = b"\x00\x1bnot an event, and longer than a line".to_vec();
        let letter = DeadLetter { payload: payload.into(), ..DeadLetter::default() };
        let text = text(&letter, &PLAIN).unwrap();
        assert!(text.contains("00000000  00 1b 6e 6f 74 20 61 6e 20 65 76 65 6e 74 2c 20  |..not an event, |"), "{text}");
        assert!(text.contains("00000020  61 20 6c 69 6e 65"), "{text}");
        // A field that nobody knows is bytes, not an event of nothing.
        assert_eq!(decoded(&[0x7a, 0x01, 0x00]).unwrap(), None);
        assert_eq!(decoded(&[]).unwrap(), None);
    }

    #[test]
    fn a_large_payload_is_cut_and_says_so() {
        let text = hexdump(&vec![0xff; SHOWN_BYTES + 10]);
        assert_eq!(text.lines().count(), SHOWN_BYTES / BYTES_A_LINE + 1);
        assert!(text.ends_with("… 10 bytes more, in --json as base64\n"));
    }
}
