//! CSV: a header, then one record a line. Fields may be quoted; a line break inside a field is not supported, so that a
//! forgotten quote spoils one line and not the rest of the file.

use super::{
    fault::{Fault, Reason},
    fields::{Fields, Kind, names},
};
use crate::csv::Splitter;
use loadline_proto::event as wire;

/// Most columns of a line.
const MAX_COLUMNS: usize = 64;
/// Column that tells the kind.
const TYPE: &str = "type";

/// Reads lines under a header.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    splitter: Splitter,
}

impl Table {
    /// Columns by the header line.
    ///
    /// # Errors
    /// In words, when a column is unknown, doubled, or `type` is missing: every line would be wrong.
    pub fn new(header: &str) -> Result<Self, String> {
        let mut splitter = Splitter::new(MAX_COLUMNS);
        let columns: Vec<String> = splitter.split(header)?.into_iter().map(|name| name.trim().to_owned()).collect();
        let known = || format!("{TYPE}, {}", names().collect::<Vec<_>>().join(", "));
        for (at, name) in columns.iter().enumerate() {
            if name != TYPE && !names().any(|known| known == name) {
                return Err(format!("the header names an unknown column {name:?}; known are {}", known()));
            }
            if columns[..at].contains(name) {
                return Err(format!("the header names the column {name:?} twice"));
            }
        }
        if !columns.iter().any(|name| name == TYPE) {
            return Err(format!("the header has no column {TYPE:?}; the first line must name the columns: {}", known()));
        }
        Ok(Self { columns, splitter })
    }

    /// The event of a line.
    ///
    /// # Errors
    /// The first fault found.
    pub fn event(&mut self, line: &str) -> Result<wire::Event, Fault> {
        let unreadable = |detail: String| Fault::new(Reason::Unreadable, "", detail);
        let cells = self.splitter.split(line).map_err(unreadable)?;
        if cells.len() != self.columns.len() {
            return Err(unreadable(format!("has {} columns where the header has {}", cells.len(), self.columns.len())));
        }
        let filled = self.columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
        let (kind, fields): (Vec<_>, Vec<_>) = filled.partition(|(name, _)| *name == TYPE);
        let kind = kind.first().map_or("", |(_, text)| text);
        let wrong = || Fault::new(Reason::Unreadable, TYPE, format!("is {kind:?}; must be billing or receipt"));
        let values = fields.into_iter().map(|(name, text)| (name.clone(), text.to_owned())).collect();
        Fields::new(Kind::parse(kind).ok_or_else(wrong)?, values).event()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "type,event_id,message_id,account,occurred_at,submitted_at,reported_at,channel,country,currency,messages,segments,amount,status";

    #[test]
    fn both_kinds_share_a_table() {
        let mut table = Table::new(HEADER).unwrap();
        let billing = table.event(r#"billing,"e,""1""",,acme,2026-11-21T10:00:00Z,,,sms,DE,EUR,1,2,0.0075,"#).unwrap();
        let Some(wire::event::Body::Billing(billing)) = billing.body else { panic!("no billing") };
        assert_eq!((billing.event_id.as_str(), billing.amount_micros), ("e,\"1\"", 7_500));
        let receipt = table.event("receipt,,m-1,acme,,2026-11-21T10:00:00Z,2026-11-21T10:00:01Z,sms,DE,,,,,expired").unwrap();
        let Some(wire::event::Body::Receipt(receipt)) = receipt.body else { panic!("no receipt") };
        assert_eq!((receipt.message_id.as_str(), receipt.status), ("m-1", 12));
    }

    #[test]
    fn a_csv_line_and_its_json_are_the_same_event() {
        let json = r#"{"billing": {"event_id": "7", "account": "acme", "occurred_at": "2026-11-21T10:00:00Z", "channel": "sms",
            "messages": 1, "segments": 1}}"#;
        let mut table = Table::new("account,type,event_id,occurred_at,channel,messages,segments").unwrap();
        let line = "acme,billing,7,2026-11-21T10:00:00Z,sms,1,1";
        assert_eq!(table.event(line), super::super::fields::from_json(json));
    }

    #[test]
    fn a_bad_line_says_why() {
        let mut table = Table::new(HEADER).unwrap();
        for (line, says) in [
            ("billing,e", "has 2 columns where the header has 14"),
            (",,,,,,,,,,,,,", "must be billing or receipt"),
            ("invoice,,,,,,,,,,,,,", "must be billing or receipt"),
            ("billing,\"e-1,,acme,2026-11-21T10:00:00Z,,,sms,DE,EUR,1,2,0.0075,", "columns"),
            ("billing,e,,acme,2026-11-21T10:00:00Z,,,sms,DE,EUR,1,2,0.0075,delivered", "is no field of a billing"),
            ("billing,e,,acme,2026-11-21T10:00:00Z,,,sms,DE,EUR,x,2,0.0075,", "whole number"),
        ] {
            let fault = table.event(line).unwrap_err();
            assert!(fault.detail.contains(says), "{line}: {fault}");
        }
        assert!(table.event(&",".repeat(100)).unwrap_err().detail.contains("64 columns"));
        assert!(table.event("").is_err());
    }

    #[test]
    fn a_wrong_header_stops_before_the_first_line() {
        assert!(Table::new("event_id,account").unwrap_err().contains("no column \"type\""));
        assert!(Table::new("type,ammount").unwrap_err().contains("\"ammount\""));
        assert!(Table::new("type,account,account").unwrap_err().contains("twice"));
        assert!(Table::new("").is_err());
    }
}
