//! What a run of `verify` found, as it is told.

use super::{
    days::Days,
    findings::{Open, Sighting},
};
use loadline_domain::{
    AccountId, Day, Hour,
    usage::{Usage, UsageKey},
};
use loadline_recount::Compared;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Most rows that differ, and most reasons, that are listed.
const LISTED: usize = 100;

/// Columns of [`Usage::columns`], as they are told.
const COLUMNS: [&str; 10] =
    ["events", "messages", "segments", "amount_micros", "delivered", "undelivered", "expired", "rejected", "failed", "not_final"];

/// Counts and lists; account-hours unless it says otherwise.
#[derive(Debug)]
pub struct Report {
    /// Hours gone through.
    pub hours: u64,
    /// Records read of the log.
    pub records: u64,
    /// The store agrees.
    pub equal: u64,
    /// It does not.
    pub different: u64,
    /// Of these, put right.
    pub repaired: u64,
    /// Of these, left alone because they changed after they were compared.
    pub moved: u64,
    /// Account-days of which some hour differs beyond doubt, and was not put right.
    pub suspect: HashSet<(AccountId, Day)>,
    /// What this shows of older findings.
    pub sighting: Sighting,
    /// Whole days against their hours.
    pub days: Days,
    unknown: u64,
    differences: Vec<Value>,
    undecided: Vec<Value>,
    reasons: BTreeMap<String, Reason>,
}

/// Why something is unknown or not repaired, and how much.
#[derive(Debug, Default)]
struct Reason {
    hours: BTreeSet<Hour>,
    account_hours: u64,
}

impl Report {
    /// Nothing yet.
    pub fn new(sighting: Sighting, days: Days) -> Self {
        Self {
            hours: 0,
            records: 0,
            equal: 0,
            different: 0,
            repaired: 0,
            moved: 0,
            suspect: HashSet::new(),
            sighting,
            days,
            unknown: 0,
            differences: Vec::new(),
            undecided: Vec::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// An account-hour that differs and stays so.
    pub fn stays_wrong(&mut self, account: &AccountId, hour: Hour) {
        self.suspect.insert((account.clone(), hour.day()));
        self.sighting.wrong_hour(account, hour.start());
    }

    /// An account-hour that differs.
    pub fn differs(&mut self, compared: &Compared) {
        self.different += 1;
        list(&mut self.differences, compared);
    }

    /// An account-hour that has less than the log, of which for these reasons nobody knows what is right.
    pub fn is_short(&mut self, compared: &Compared, reasons: &[String]) {
        let (account, hour) = &compared.place;
        self.differs(compared);
        self.stays_wrong(account, *hour);
        for reason in reasons {
            self.because(*hour, &format!("less than the log has, which may not be all: {reason}")).account_hours += 1;
        }
    }

    /// An account-hour of which nothing can be told, for these reasons. Where the sums differ they are told all the same: whoever
    /// knows better than the log can say which are right.
    pub fn cannot_tell(&mut self, compared: &Compared, reasons: &[String]) {
        self.unknown += 1;
        self.sighting.cannot_tell(Some(&compared.place.0), compared.place.1.start());
        list(&mut self.undecided, compared);
        for reason in reasons {
            self.because(compared.place.1, reason).account_hours += 1;
        }
    }

    /// An hour that was not looked at; of how many accounts it is, nobody knows.
    pub fn not_looked_at(&mut self, hour: Hour, reason: &str) {
        self.unknown += 1;
        self.sighting.cannot_tell(None, hour.start());
        self.because(hour, reason);
    }

    fn because(&mut self, hour: Hour, reason: &str) -> &mut Reason {
        let full = self.reasons.len() >= LISTED && !self.reasons.contains_key(reason);
        let reason = self.reasons.entry(if full { "others".to_owned() } else { reason.to_owned() }).or_default();
        reason.hours.insert(hour);
        reason
    }

    /// As a JSON object. `findings` are account-hours and account-days that differ: what makes a run more than a success. `open` is
    /// what this and older runs found and nobody has put right, by the run of this number.
    pub fn told(&self, from: Hour, to: Hour, account: Option<&str>, turn: u64, open: &[Open]) -> Value {
        let reason = |(why, reason): (&String, &Reason)| {
            json!({
                "reason": why,
                "from": reason.hours.first().map(|hour| hour.start().to_string()),
                "hours": reason.hours.len(),
                "account_hours": reason.account_hours,
            })
        };
        json!({
            "from": from.start().to_string(),
            "to": to.start().to_string(),
            "account": account,
            "hours": self.hours,
            "records": self.records,
            "account_hours": self.equal + self.different,
            "equal": self.equal,
            "different": self.different,
            "differences": self.differences,
            "unknown": self.unknown,
            "undecided": self.undecided,
            "reasons": self.reasons.iter().map(reason).collect::<Vec<_>>(),
            "repaired": self.repaired,
            "moved": self.moved,
            "days": self.days,
            "findings": self.different + self.days.different,
            "turn": turn,
            "open": open,
        })
    }
}

/// The rows in which an account-hour differs, while there is room.
fn list(listed: &mut Vec<Value>, compared: &Compared) {
    let keys: BTreeSet<_> = compared.stored.keys().chain(compared.recounted.keys()).collect();
    for key in keys {
        let (counted, recounted) = (compared.stored.get(key), compared.recounted.get(key));
        if counted != recounted && listed.len() < LISTED {
            listed.push(difference(key, counted, recounted));
        }
    }
}

fn difference(key: &UsageKey, counted: Option<&Usage>, recounted: Option<&Usage>) -> Value {
    json!({
        "account": key.account.as_str(),
        "hour": key.hour.start().to_string(),
        "channel": key.channel.as_str(),
        "country": key.country.as_str(),
        "currency": key.currency.as_str(),
        "counted": sums(counted),
        "recounted": sums(recounted),
    })
}

/// What is not zero, by name; null for a row that is not there.
fn sums(usage: Option<&Usage>) -> Value {
    let Some(usage) = usage else { return Value::Null };
    let told = COLUMNS.into_iter().zip(usage.columns()).filter(|(_, sum)| *sum != 0);
    Value::Object(told.map(|(name, sum)| (name.to_owned(), sum.into())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::verify::findings::What;
    use loadline_domain::event::{Channel, Country, Currency};
    use loadline_recount::{Rows, Verdict};

    fn report() -> Report {
        let (from, to) = (Day::from_index(0), Day::from_index(7));
        Report::new(Sighting::over(What::Hours, (from.start(), to.start()), None, &[]), Days::between(from, to, None, &[]))
    }

    fn compared(hour: i32, stored: i64) -> Compared {
        let (account, hour) = (AccountId::new("acme").unwrap(), Hour::from_index(hour));
        let key = UsageKey {
            account: account.clone(),
            hour,
            channel: Channel::SMS,
            country: Country::UNKNOWN,
            currency: Currency::parse("EUR").unwrap(),
        };
        let stored = Rows::from([(key, Usage { events: stored, amount_micros: -7, ..Usage::default() })]);
        Compared { place: (account, hour), stored, recounted: Rows::new(), verdict: Verdict::Different }
    }

    #[test]
    fn a_difference_is_told_with_both_sides() {
        let mut report = report();
        report.differs(&compared(5, 2));
        let told = report.told(Hour::from_index(0), Hour::from_index(24), Some("acme"), 1, &[]);
        let expected = json!([{ "account": "acme", "hour": "1970-01-01T05:00:00Z", "channel": "sms", "country": "", "currency": "EUR",
                                "counted": { "events": 2, "amount_micros": -7 }, "recounted": null }]);
        assert_eq!(told["differences"], expected);
        assert_eq!(
            (&told["findings"], &told["account_hours"], &told["to"]),
            (&json!(1), &json!(1), &json!("1970-01-02T00:00:00Z"))
        );
    }

    #[test]
    fn of_many_differences_the_first_are_listed_and_all_counted() {
        let mut report = report();
        (0..150).for_each(|hour| report.differs(&compared(hour, 1)));
        let told = report.told(Hour::from_index(0), Hour::from_index(150), None, 1, &[]);
        assert_eq!((told["differences"].as_array().map(Vec::len), told["different"].as_u64()), (Some(100), Some(150)));
        assert_eq!(told["differences"][99]["hour"], "1970-01-05T03:00:00Z");
    }

    #[test]
    fn reasons_are_told_with_their_hours() {
        let mut report = report();
        for hour in [7, 5, 5] {
            report.cannot_tell(&compared(hour, 2), &["gone".to_owned(), "lost".to_owned()]);
        }
        report.not_looked_at(Hour::from_index(9), "too many");
        let told = report.told(Hour::from_index(0), Hour::from_index(24), None, 1, &[]);
        assert_eq!(told["unknown"], 4);
        assert_eq!(
            told["undecided"][0]["hour"], "1970-01-01T07:00:00Z",
            "with its sums, although nobody can tell which are right"
        );
        assert_eq!(
            told["reasons"][0],
            json!({ "reason": "gone", "from": "1970-01-01T05:00:00Z", "hours": 2, "account_hours": 3 })
        );
        assert_eq!(told["reasons"][2]["account_hours"], 0);
    }
}
