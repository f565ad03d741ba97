//! What a run of `verify` is asked for.

use super::findings::What;
use loadline_domain::{AccountId, Day, Hour, Rules, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// Most hours of a run: a month. The log is rarely kept so long.
pub const MAX_HOURS: i32 = 31 * 24;

/// Checked parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// First hour, and hour after the last; the default day when it is absent.
    pub range: Option<(Hour, Hour)>,
    /// Of this account only.
    pub account: Option<AccountId>,
    /// What of the differences is repaired.
    pub repairs: Repairs,
    /// Why findings of the range are taken as they are, without looking.
    pub accept: Option<String>,
}

/// Which differences are repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repairs {
    /// How many of them, account-hours and account-days together.
    most: u64,
    /// Of hours or of days only.
    only: Option<What>,
    /// Only what older runs found, and list.
    found: bool,
}

impl Repairs {
    /// None.
    pub const NONE: Self = Self { most: 0, only: None, found: false };

    /// Whether one more may be repaired after so many.
    pub fn allow(self, what: What, done: u64, is_found: bool) -> bool {
        done < self.most && self.only.is_none_or(|only| only == what) && (is_found || !self.found)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    from: Option<String>,
    to: Option<String>,
    account: Option<String>,
    #[serde(default)]
    repair: bool,
    repair_at_most: Option<u64>,
    repair_only: Option<What>,
    #[serde(default)]
    repair_found: bool,
    accept: Option<String>,
}

impl Asked {
    /// Reads parameters.
    ///
    /// # Errors
    /// What is wrong with them, and what to send instead.
    pub fn read(parameters: &Value, now: Timestamp) -> Result<Self, String> {
        if !parameters.is_object() {
            return Err("are no JSON object; send `from`, `to`, `account` and `repair`, or leave them out".to_owned());
        }
        let given = Parameters::deserialize(parameters).map_err(|error| {
            format!(
                "{error}; takes `from` and `to` (hours, RFC 3339), `account`, `repair` (true or false), `repair_at_most`, \
                 `repair_only` (`hours` or `days`), `repair_found` (true or false), and `accept` (why)"
            )
        })?;
        let account = given.account.map(|account| AccountId::new(&account).map_err(|error| format!("`account`: {error}")));
        let range = match (given.from, given.to) {
            (None, None) => None,
            (Some(from), Some(to)) => Some(range(hour("from", &from)?, hour("to", &to)?, now)?),
            (Some(_), None) => return Err("names `from` without `to`; send both, or neither for the default day".to_owned()),
            (None, Some(_)) => return Err("names `to` without `from`; send both, or neither for the default day".to_owned()),
        };
        let bounds = [
            ("repair_at_most", given.repair_at_most.is_some()),
            ("repair_only", given.repair_only.is_some()),
            ("repair_found", given.repair_found),
        ];
        if let Some((bound, _)) = bounds.iter().find(|(_, is_named)| *is_named && !given.repair) {
            return Err(format!("names `{bound}` without `repair`; send both, or leave both out"));
        }
        if given.repair_at_most == Some(0) {
            return Err("names `repair_at_most` 0, which repairs nothing; leave `repair` out to be told only".to_owned());
        }
        if let Some(why) = &given.accept {
            if given.repair {
                return Err("names both `repair` and `accept`; repair first, then accept what is left".to_owned());
            }
            if range.is_none() {
                return Err(
                    "names `accept` without `from` and `to`; send the range of the findings to be taken as they are".to_owned()
                );
            }
            if why.trim().is_empty() {
                return Err("`accept` is empty; say why the findings are taken as they are".to_owned());
            }
        }
        let most = given.repair_at_most.unwrap_or(u64::MAX);
        let repairs = Repairs { most, only: given.repair_only, found: given.repair_found };
        Ok(Self {
            range,
            account: account.transpose()?,
            repairs: if given.repair { repairs } else { Repairs::NONE },
            accept: given.accept,
        })
    }
}

fn hour(field: &str, text: &str) -> Result<Hour, String> {
    let wrong = || format!("`{field}`: `{text}` is no hour; send its start, such as 2026-11-21T10:00:00Z");
    let time: Timestamp = text.parse().map_err(|_| wrong())?;
    if time < Timestamp::EARLIEST || time >= Timestamp::END || time.hour().start() != time {
        return Err(wrong());
    }
    Ok(time.hour())
}

fn range(from: Hour, to: Hour, now: Timestamp) -> Result<(Hour, Hour), String> {
    let hours = to.index() - from.index();
    if hours <= 0 {
        return Err(format!("`from` {} is not before `to` {}; `to` is the hour after the last", from.start(), to.start()));
    }
    if hours > MAX_HOURS {
        return Err(format!("asks for {hours} hours; at most {MAX_HOURS} at once: ask for one part after the other"));
    }
    let end = now.hour().next();
    if to > end {
        return Err(format!("`to` {} is ahead of now; at most {} can be asked for", to.start(), end.start()));
    }
    Ok((from, to))
}

/// The day that is verified when none is asked for: the last whole UTC day, once no record of an event from it can be ahead of
/// it any more. Later is not better: what comes late is in both countings, while retention takes the day's receipts from the
/// log after three days by default.
pub fn default_day(now: Timestamp, rules: &Rules) -> (Hour, Hour) {
    let today = now.minus(rules.future_tolerance).day();
    (Day::from_index(today.index() - 1).first_hour(), today.first_hour())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-11-21T10:20:00Z".parse().unwrap()
    }

    fn read(parameters: Value) -> Result<Asked, String> {
        Asked::read(&parameters, now())
    }

    #[test]
    fn everything_may_be_left_out() {
        assert_eq!(read(json!({})), Ok(Asked { range: None, account: None, repairs: Repairs::NONE, accept: None }));
        let asked =
            json!({ "from": "2026-11-21T09:00:00Z", "to": "2026-11-21T12:00:00+01:00", "account": "acme", "repair": true });
        let asked = read(asked).unwrap();
        let (from, to) = asked.range.unwrap();
        assert_eq!(
            (from.start().to_string(), to.start().to_string()),
            ("2026-11-21T09:00:00Z".into(), "2026-11-21T11:00:00Z".into())
        );
        assert!(asked.account.is_some() && asked.repairs.allow(What::Days, 1_000_000, false));
    }

    #[test]
    fn repairs_are_bounded_by_number_by_kind_and_by_what_was_found() {
        let repairs = |parameters| read(parameters).unwrap().repairs;
        assert!(!repairs(json!({})).allow(What::Hours, 0, true));
        let two = repairs(json!({ "repair": true, "repair_at_most": 2 }));
        assert_eq!([1, 2].map(|done| two.allow(What::Hours, done, false)), [true, false]);
        let days = repairs(json!({ "repair": true, "repair_only": "days" }));
        assert_eq!([What::Hours, What::Days].map(|what| days.allow(what, 0, false)), [false, true]);
        let found = repairs(json!({ "repair": true, "repair_found": true }));
        assert_eq!([true, false].map(|is_found| found.allow(What::Hours, 0, is_found)), [true, false]);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_send() {
        let ten = "2026-11-21T10:00:00Z";
        for (wrong, told) in [
            (json!({ "days": 3 }), "unknown field `days`"),
            (json!({ "repair": "yes" }), "`repair` (true or false)"),
            (json!({ "repair_at_most": 3 }), "without `repair`"),
            (json!({ "repair_only": "days" }), "without `repair`"),
            (json!({ "repair_found": true }), "without `repair`"),
            (json!({ "repair": true, "repair_only": "weeks" }), "`hours` or `days`"),
            (json!({ "repair": true, "repair_at_most": -1 }), "`repair_at_most`"),
            (json!({ "repair": true, "repair_at_most": 0 }), "leave `repair` out"),
            (json!([]), "no JSON object"),
            (json!({ "from": ten }), "without `to`"),
            (json!({ "to": ten }), "without `from`"),
            (json!({ "from": ten, "to": ten }), "is not before"),
            (json!({ "from": "2026-11-21T11:00:00Z", "to": ten }), "is not before"),
            (json!({ "from": "2026-11-21T10:30:00Z", "to": "2026-11-21T11:00:00Z" }), "is no hour"),
            (json!({ "from": "yesterday", "to": ten }), "is no hour"),
            (json!({ "from": "2026-10-01T00:00:00Z", "to": ten }), "at most 744 at once"),
            (json!({ "from": ten, "to": "2026-11-21T12:00:00Z" }), "ahead of now"),
            (json!({ "account": "a b" }), "`account`"),
            (json!({ "accept": "known" }), "without `from` and `to`"),
            (json!({ "from": "2026-11-21T09:00:00Z", "to": ten, "accept": " " }), "say why"),
            (json!({ "from": "2026-11-21T09:00:00Z", "to": ten, "accept": "known", "repair": true }), "repair first"),
        ] {
            let error = read(wrong.clone()).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
        assert!(read(json!({ "from": ten, "to": "2026-11-21T11:00:00Z" })).is_ok(), "the present hour can be told");
    }

    #[test]
    fn the_default_is_the_last_day_that_nothing_can_be_ahead_of() {
        let day = |now: &str| {
            let (from, to) = default_day(now.parse().unwrap(), &Rules::default());
            assert_eq!(to.index() - from.index(), 24);
            from.day().to_string()
        };
        assert_eq!(day("2026-11-21T10:20:00Z"), "2026-11-20");
        assert_eq!(day("2026-11-21T00:05:00Z"), "2026-11-20");
        assert_eq!(day("2026-11-21T00:04:59Z"), "2026-11-19");
    }
}
