//! What carriers report of a message, and when.

use super::accounts::{Account, Route};
use crate::when::to_proto;
use loadline_domain::Timestamp;
use loadline_proto::event::{DeliveryReceipt, DeliveryStatus, Event, event::Body};
use rand::{RngExt as _, rngs::StdRng};
use rand_distr::LogNormal;
use std::time::Duration;

/// Messages that carriers never finish reporting on.
const NEVER: f64 = 0.005;
/// Messages with a report on the way.
const ON_THE_WAY: f64 = 0.3;
/// Final reports that come again.
const AGAIN: f64 = 0.02;
/// Half of all deliveries are faster than this.
const MEDIAN_SECONDS: f64 = 2.5;
/// Longest time to a delivery, so that a simulation of minutes sees them all.
const LONGEST_SECONDS: f64 = 120.0;

/// A receipt and when a carrier sends it.
pub type Report = (Timestamp, Event);

/// Reports on one message submitted at `submitted_at`, none sent before `now`.
pub fn reports(
    account: &Account,
    route: Route,
    message_id: &str,
    submitted_at: Timestamp,
    now: Timestamp,
    rng: &mut StdRng,
) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut add = |status, after: f64, said_after: f64| {
        let reported_at = submitted_at.plus(Duration::from_secs_f64(after));
        let said_at = submitted_at.plus(Duration::from_secs_f64(said_after)).max(now);
        reports.push((said_at, receipt(account, route, message_id, submitted_at, reported_at, status)));
    };
    let seconds = seconds(rng);
    if rng.random_bool(ON_THE_WAY) {
        let status = if rng.random_bool(0.5) { DeliveryStatus::Accepted } else { DeliveryStatus::Enroute };
        add(status, seconds * 0.3, seconds * 0.3);
    }
    if rng.random_bool(NEVER) {
        return reports;
    }
    let status = final_status(account, rng);
    let seconds = if status == DeliveryStatus::Expired { seconds + 60.0 } else { seconds };
    add(status, seconds, seconds);
    if rng.random_bool(AGAIN) {
        let later = seconds + rng.random_range(2.0..60.0);
        // Carriers that repeat themselves often give the time of the repetition.
        add(status, if rng.random_bool(0.5) { later } else { seconds }, later);
    }
    reports
}

/// One receipt.
pub fn receipt(
    account: &Account,
    route: Route,
    message_id: &str,
    submitted_at: Timestamp,
    reported_at: Timestamp,
    status: DeliveryStatus,
) -> Event {
    Event {
        body: Some(Body::Receipt(DeliveryReceipt {
            message_id: message_id.to_owned(),
            account: account.name.clone(),
            submitted_at: Some(to_proto(submitted_at)),
            reported_at: Some(to_proto(reported_at)),
            channel: route.channel.into(),
            country: route.country.to_owned(),
            status: status.into(),
        })),
    }
}

/// From submission to the final status.
fn seconds(rng: &mut StdRng) -> f64 {
    let typical = LogNormal::new(MEDIAN_SECONDS.ln(), 0.8).expect("a finite deviation");
    rng.sample::<f64, _>(typical).min(LONGEST_SECONDS)
}

fn final_status(account: &Account, rng: &mut StdRng) -> DeliveryStatus {
    if rng.random_bool(account.quality) {
        return DeliveryStatus::Delivered;
    }
    match rng.random_range(0..10) {
        0..5 => DeliveryStatus::Undelivered,
        5..7 => DeliveryStatus::Expired,
        7..9 => DeliveryStatus::Failed,
        _ => DeliveryStatus::Rejected,
    }
}
