//! What drills of one process stand on: results in the audit, the books of everything, and what faults are active.
//!
//! A result is an entry of the chain, so that a proof cannot be changed afterwards; the newest of a mode is what counts.

use crate::Ledger;
use async_trait::async_trait;
use loadline_domain::Timestamp;
use loadline_fault::Faults;
use loadline_health::{
    Drill, Drills, Monitor,
    audit::{AuditLog as _, Record},
    drill::{Accounts, DrillError, Parts, Results, Tally},
};
use loadline_proto::{
    event::{BillingEvent, Channel, Event, event::Body},
    health::{DrillRun, drill_run::Verdict},
};
use loadline_store::Store;
use prost::Message as _;
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

/// Whose usage the events of drills are.
pub const ACCOUNT: &str = "loadline-drill";

/// Action of an entry that is the result of a drill.
const RESULT: &str = "drill.finish";
/// Entries of one look at the audit.
const PAGE: u32 = 1_000;

/// An event of one of the drills' accounts, as a producer would write it. It costs nothing.
pub fn event(account: &str, id: &str, at: Timestamp) -> Vec<u8> {
    let (seconds, micros) = (at.micros().div_euclid(1_000_000), at.micros().rem_euclid(1_000_000));
    let billing = BillingEvent {
        event_id: id.to_owned(),
        account: account.to_owned(),
        occurred_at: Some(prost_types::Timestamp { seconds, nanos: (micros * 1_000) as i32 }),
        channel: Channel::Sms.into(),
        messages: 1,
        segments: 1,
        ..BillingEvent::default()
    };
    Event { body: Some(Body::Billing(billing)) }.encode_to_vec()
}

/// Gives a monitor its drills, over the store itself: what they write down must not meet their own faults.
pub fn install(monitor: &Monitor, store: Arc<dyn Store>, faults: Vec<Faults>, drills: Vec<Arc<dyn Drill>>) {
    let ledger = Arc::new(Ledger::new(store));
    let active = move || faults.iter().flat_map(Faults::active).map(|fault| fault.to_string()).collect();
    let parts = Parts { drills, leases: ledger.clone(), results: ledger.clone(), accounts: ledger, faults: Arc::new(active) };
    if let Err(error) = Drills::install(monitor, parts) {
        tracing::error!(%error, "nothing can be drilled here");
    }
}

#[async_trait]
impl Results for Ledger {
    async fn keep(&self, run: &DrillRun) -> Result<(), DrillError> {
        let verdict = run.verdict().as_str_name().trim_start_matches("VERDICT_");
        let record = Record {
            actor: run.started_by.clone(),
            action: RESULT.to_owned(),
            target: run.failure_mode.clone(),
            reason: format!("{}: {}", if run.control { "control" } else { "drill" }, run.detail),
            before: String::new(),
            after: format!("\"{}\"", hex(&run.encode_to_vec())),
            outcome: format!("{verdict} {}", run.id),
        };
        self.append(record).await.map(drop).map_err(DrillError::of)
    }

    async fn latest(&self) -> Result<Vec<DrillRun>, DrillError> {
        let (mut latest, mut after) = (BTreeMap::new(), 0);
        loop {
            let entries = self.entries(after, PAGE).await.map_err(DrillError::of)?;
            let Some(last) = entries.last() else { return Ok(latest.into_values().collect()) };
            after = last.id;
            for run in entries.iter().filter(|entry| entry.record.action == RESULT).filter_map(|entry| read(&entry.record.after))
            {
                latest.insert((run.failure_mode.clone(), run.control), run);
            }
        }
    }
}

#[async_trait]
impl Accounts for Ledger {
    async fn tally(&self) -> Result<Tally, DrillError> {
        let sums = self.store.conservation().await.map_err(DrillError::of)?;
        // Applied and nowhere, or counted and not in usage; and the other way round.
        let (missing, surplus) = (sums.unaccounted, sums.usage_events - sums.counted);
        let at_least_nothing = |count: i64| u64::try_from(count).unwrap_or_default();
        let lost = at_least_nothing(missing) + at_least_nothing(-surplus);
        Ok(Tally { lost, duplicated: at_least_nothing(surplus) + at_least_nothing(-missing) })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `None`: no result, or of a build that wrote another kind. One that did not end is no proof.
fn read(text: &str) -> Option<DrillRun> {
    let text = text.strip_prefix('"')?.strip_suffix('"')?;
    let byte = |at| text.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let bytes: Option<Vec<_>> = (0..text.len()).step_by(2).map(byte).collect();
    DrillRun::decode(&bytes?[..]).ok().filter(|run| run.verdict() != Verdict::Running && !run.id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_store::Options;

    fn run(id: &str, mode: &str, control: bool) -> DrillRun {
        DrillRun {
            id: id.to_owned(),
            failure_mode: mode.to_owned(),
            control,
            verdict: Verdict::Passed.into(),
            detail: "seen".to_owned(),
            started_by: "alice".to_owned(),
            build: "1.2.3".to_owned(),
            ..DrillRun::default()
        }
    }

    #[tokio::test]
    async fn results_are_read_again_from_the_audit_the_latest_of_each_and_break_no_chain() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.db").display());
        let store = loadline_store::open(&url, Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        let ledger = Ledger::new(store.clone());
        assert_eq!(ledger.latest().await.unwrap(), []);
        for old in [run("1", "AN-01", false), run("2", "AN-03", false), run("3", "AN-01", true), run("4", "AN-01", false)] {
            ledger.keep(&old).await.unwrap();
        }
        ledger.append(Record { action: RESULT.to_owned(), after: "no result".to_owned(), ..Record::default() }).await.unwrap();
        let again = Ledger::new(loadline_store::open(&url, Options::default()).await.unwrap());
        let latest = again.latest().await.unwrap();
        assert_eq!(latest, [run("4", "AN-01", false), run("3", "AN-01", true), run("2", "AN-03", false)]);
        assert_eq!(loadline_store::first_break(&*store).await.unwrap(), None);
        assert_eq!(ledger.tally().await.unwrap(), Tally::default());
    }
}
