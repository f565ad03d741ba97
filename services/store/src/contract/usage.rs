//! Hourly usage, asked for.

use super::{Owner, Payload, Subject, always, billing, events::wire, noon, receipt};
use crate::{DeadLetterFilter, DeadLetterState, StoreError};
use loadline_domain::question::{GroupBy, RankBy, UsageFilter, UsageQuery, UsageRow};
use loadline_domain::{
    AccountId, AccountScope, DeadLetterReason, Hour, Rules,
    decode::MAX_AMOUNT_MICROS,
    event::{Channel, Country, Currency},
    latency,
    usage::Usage,
};
use loadline_proto::event::{BillingEvent, Channel as WireChannel, DeliveryReceipt, DeliveryStatus};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const ALL: AccountScope = AccountScope::All;

fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

fn code<const N: usize>(text: &str) -> loadline_domain::event::Code<N> {
    loadline_domain::event::Code::parse(text).unwrap()
}

fn noon_to(hours: i32) -> UsageQuery {
    let from = noon().hour();
    UsageQuery { from, to: Hour::from_index(from.index() + hours), ..always("acme") }
}

async fn rows(subject: &Subject, query: &UsageQuery) -> Vec<UsageRow> {
    subject.usage(&ALL, query).await.unwrap().0
}

/// Two hours of acme in two channels, three countries (one unknown) and two currencies; and somebody else's.
async fn mixed(subject: &Subject) {
    let event = |id: &str, hours: u32, channel: WireChannel, country: &str, currency: &str, amount_micros| BillingEvent {
        channel: channel.into(),
        country: country.to_owned(),
        currency: currency.to_owned(),
        amount_micros,
        ..billing(id, "acme", noon().minus(HOUR * hours))
    };
    let events = [
        event("1", 0, WireChannel::Sms, "DE", "EUR", 1),
        event("2", 0, WireChannel::Sms, "AT", "EUR", 10),
        event("3", 0, WireChannel::Email, "", "USD", 100),
        event("4", 1, WireChannel::Sms, "DE", "USD", 1_000),
        event("5", 1, WireChannel::Sms, "DE", "EUR", 10_000),
        billing("6", "other", noon()),
    ];
    Owner::of(&subject.store, "BILLING").await.count(&events).await;
}

pub async fn rows_are_by_hour_then_by_what_is_grouped(subject: &Subject) {
    mixed(subject).await;
    let from = Hour::from_index(noon().hour().index() - 1);
    let ask = |channel, country, currency| UsageQuery { from, group_by: GroupBy { channel, country, currency }, ..noon_to(1) };
    let plain = rows(subject, &ask(false, false, false)).await;
    assert_eq!(
        plain.iter().map(|row| (row.hour, row.usage.amount_micros)).collect::<Vec<_>>(),
        [(Some(from), 11_000), (Some(from.next()), 111)]
    );
    assert!(plain.iter().all(|row| row.channel.is_none() && row.country.is_none() && row.currency.is_none()));

    let by_country = rows(subject, &ask(false, true, false)).await;
    let told: Vec<_> = by_country.iter().map(|row| (row.hour, row.country.unwrap(), row.usage.amount_micros)).collect();
    let (first, second) = (Some(from), Some(from.next()));
    assert_eq!(
        told,
        [(first, code("DE"), 11_000), (second, Country::UNKNOWN, 100), (second, code("AT"), 10), (second, code("DE"), 1)]
    );

    let by_all = rows(subject, &ask(true, true, true)).await;
    assert_eq!(by_all.len(), 5);
    let keys: Vec<_> = by_all.iter().map(|row| (row.hour, row.channel, row.country, row.currency)).collect();
    assert!(keys.is_sorted() && keys.iter().all(|key| key.1.is_some() && key.2.is_some() && key.3.is_some()));
    let by_currency = rows(subject, &ask(false, false, true)).await;
    let told: Vec<_> = by_currency.iter().map(|row| (row.currency.unwrap(), row.usage.amount_micros)).collect();
    let (eur, usd): (Currency, Currency) = (code("EUR"), code("USD"));
    assert_eq!(told, [(eur, 10_000), (usd, 1_000), (eur, 11), (usd, 100)]);
}

pub async fn filters_restrict_rows(subject: &Subject) {
    mixed(subject).await;
    let nothing = UsageFilter::default;
    let questions = [
        (nothing(), 11_111),
        (UsageFilter { channels: vec![Channel::SMS], ..nothing() }, 11_011),
        (UsageFilter { channels: Channel::all().collect(), ..nothing() }, 11_111),
        (UsageFilter { countries: vec![code("DE"), code("FR")], ..nothing() }, 11_001),
        (UsageFilter { countries: vec![Country::UNKNOWN], ..nothing() }, 100),
        (UsageFilter { currencies: vec![code("USD")], ..nothing() }, 1_100),
        (UsageFilter { currencies: vec![code("USD")], countries: vec![code("DE")], ..nothing() }, 1_000),
        (UsageFilter { channels: vec![Channel::parse("push").unwrap()], ..nothing() }, 0),
    ];
    for (filter, sum) in questions {
        let found = rows(subject, &UsageQuery { filter: filter.clone(), ..always("acme") }).await;
        assert_eq!(found.iter().map(|row| row.usage.amount_micros).sum::<i64>(), sum, "{filter:?}");
    }
}

pub async fn a_range_has_its_first_hour_and_not_its_last(subject: &Subject) {
    mixed(subject).await;
    let hours = |from: i32, to: i32| {
        let noon = noon().hour().index();
        UsageQuery { from: Hour::from_index(noon + from), to: Hour::from_index(noon + to), ..always("acme") }
    };
    for (from, to, sum) in [(0, 1, 111), (-1, 0, 11_000), (-1, 1, 11_111), (0, 0, 0), (1, 9, 0), (1, -1, 0)] {
        let found = rows(subject, &hours(from, to)).await;
        assert_eq!(found.iter().map(|row| row.usage.amount_micros).sum::<i64>(), sum, "{from} to {to}");
    }
    // Hours without usage have no row.
    assert_eq!(rows(subject, &hours(-30, 30)).await.len(), 2);
    assert_eq!(rows(subject, &always("nobody")).await, []);
}

pub async fn another_accounts_usage_is_out_of_scope(subject: &Subject) {
    mixed(subject).await;
    let scope = AccountScope::of([account("other"), account("third")]).unwrap();
    let (own, _) = subject.usage(&scope, &always("other")).await.unwrap();
    assert_eq!(own.len(), 1);
    let refused = subject.usage(&scope, &always("acme")).await;
    assert!(matches!(&refused, Err(StoreError::OutOfScope(asked)) if *asked == account("acme")), "{refused:?}");
    let refused = subject.delivery(&scope, &always("acme")).await;
    assert!(matches!(&refused, Err(StoreError::OutOfScope(asked)) if *asked == account("acme")), "{refused:?}");
    let (from, to) = (Hour::from_index(0), noon().hour().next());
    let refused = subject.top_accounts(&scope, from, to, &UsageFilter::default(), RankBy::Messages, 10).await;
    assert!(matches!(refused, Err(StoreError::NeedsAllAccounts)), "{refused:?}");
}

pub async fn money_adds_up_to_the_micro(subject: &Subject) {
    let event = |i: u32, amount_micros| BillingEvent {
        messages: 1_000_000,
        segments: 1_000_000,
        amount_micros,
        ..billing(&format!("event-{i}"), "acme", noon())
    };
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    // 9,000 times the largest amount and one micro on top: a double would lose it.
    for batch in 0..3 {
        let events: Vec<_> = (0..3_000).map(|i| event(batch * 3_000 + i, MAX_AMOUNT_MICROS)).collect();
        owner.count(&events).await;
    }
    owner.count(&[event(9_000, 1)]).await;
    let total = subject.total("acme").await;
    assert_eq!((total.amount_micros, total.messages, total.events), (9_000_000_000_000_001, 9_001_000_000, 9_001));
}

pub async fn a_sum_past_64_bits_is_refused_and_never_rounded(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    subject.tamper("UPDATE usage_hourly SET amount_micros = 9223372036854775807").await;
    let batch = owner.batch(&[billing("b", "acme", noon())]);
    let refused = owner.try_commit(&batch).await;
    assert!(matches!(refused, Err(StoreError::Overflow(_))), "{refused:?}");
    assert_eq!(owner.refresh().await, (1, 0, 0, 0));
    assert_eq!(subject.total("acme").await.amount_micros, i64::MAX);
}

pub async fn a_record_that_would_overflow_a_sum_can_be_refused_alone(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    // Room for one more.
    subject.tamper("UPDATE usage_hourly SET amount_micros = 9223372036854775807 - 75000").await;
    let poison = BillingEvent { amount_micros: 75_001, ..billing("poison", "acme", noon()) };
    let mut waiting = vec![owner.batch(&[billing("b", "other", noon()), poison, billing("c", "acme", noon())])];
    while let Some(batch) = waiting.pop() {
        match (owner.try_commit(&batch).await, batch.halves(&Rules::default())) {
            (Err(StoreError::Overflow(_)), Some([first, second])) => waiting.extend([second, first]),
            (Err(StoreError::Overflow(_)), None) => waiting.push(batch.refused_as_too_much().unwrap()),
            (committed, _) => committed.unwrap(),
        }
    }
    assert_eq!((owner.progress.applied, owner.refresh().await), (4, (3, 0, 1, 0)));
    assert_eq!(subject.total("acme").await.amount_micros, i64::MAX);
    let letters = subject.dead_letters(&DeadLetterFilter::default(), DeadLetterState::Open, 0, 10).await.unwrap();
    let [stored] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((stored.letter.sequence, stored.letter.refusal.field), (3, "billing.amount_micros"));
    assert_eq!(stored.letter.refusal.reason, DeadLetterReason::Invalid);
    // It stays dead for as long as there is no room, and its identity is not taken.
    let now = noon();
    let again = subject.redrive(&DeadLetterFilter::default(), &Rules::default(), now, 10, false).await;
    assert!(matches!(again, Err(StoreError::Overflow(_))), "{again:?}");
    subject.tamper("UPDATE usage_hourly SET amount_micros = 0").await;
    let again = subject.redrive(&DeadLetterFilter::default(), &Rules::default(), now, 10, false).await.unwrap();
    assert_eq!(again.counted, 1);
    subject.assert_conserved().await;
}

fn receipts() -> Vec<DeliveryReceipt> {
    use DeliveryStatus::{Delivered, Enroute, Expired, Failed, Rejected, Undelivered};
    let mut receipts: Vec<_> = [Delivered, Delivered, Undelivered, Expired, Rejected, Failed, Enroute]
        .into_iter()
        .enumerate()
        .map(|(i, status)| receipt(&format!("message-{i}"), "acme", noon(), status))
        .collect();
    receipts[1].reported_at = Some(wire(noon().plus(Duration::from_secs(300))));
    receipts[1].channel = WireChannel::Rcs.into();
    receipts.push(receipt("earlier", "acme", noon().minus(HOUR), Delivered));
    receipts.push(receipt("other's", "other", noon(), Delivered));
    receipts
}

pub async fn delivery_sums_the_range_with_its_latency(subject: &Subject) {
    Owner::of(&subject.store, "BILLING").await.count(&[billing("a", "acme", noon()), billing("b", "acme", noon())]).await;
    let mut owner = Owner::of(&subject.store, "DLR").await;
    // In several batches, so that sums and latency counts add up within a row.
    let receipts = receipts();
    owner.count(&receipts[..4]).await;
    owner.count(&receipts[4..]).await;
    owner.count(&[receipt("one more", "acme", noon(), DeliveryStatus::Delivered)]).await;
    let (rows, latency, as_of) = subject.delivery(&ALL, &noon_to(1)).await.unwrap();
    let expected = Usage {
        events: 10,
        messages: 2,
        segments: 4,
        amount_micros: 150_000,
        delivered: 3,
        undelivered: 1,
        expired: 1,
        rejected: 1,
        failed: 1,
        not_final: 1,
    };
    assert_eq!(rows, [UsageRow { hour: None, channel: None, country: None, currency: None, usage: expected }]);
    let (fast, slow) = (latency::bucket(Duration::from_secs(3)), latency::bucket(Duration::from_secs(300)));
    assert_eq!(latency.len(), 1);
    assert_eq!((latency[0].channel, latency[0].country), (None, None));
    assert_eq!(latency[0].counts, [(fast, 2), (slow, 1)]);
    assert_eq!(as_of.progress, subject.all_progress().await.unwrap());

    let (_, latency, _) = subject.delivery(&ALL, &always("acme")).await.unwrap();
    assert_eq!(latency[0].counts, [(fast, 3), (slow, 1)]);
    assert_eq!(subject.delivery(&ALL, &always("nobody")).await.unwrap().0, []);
}

pub async fn delivery_is_kept_apart_by_channel_and_country(subject: &Subject) {
    Owner::of(&subject.store, "DLR").await.count(&receipts()).await;
    let group_by = GroupBy { channel: true, country: true, currency: true };
    let (rows, latency, _) = subject.delivery(&ALL, &UsageQuery { group_by, ..noon_to(1) }).await.unwrap();
    let (rcs, germany) = (Channel::parse("rcs"), Some(code("DE")));
    let told: Vec<_> = rows.iter().map(|row| (row.channel, row.country, row.currency, row.usage.delivered)).collect();
    assert_eq!(told, [(Some(Channel::SMS), germany, None, 1), (rcs, germany, None, 1)]);
    let told: Vec<_> = latency.iter().map(|row| (row.channel, row.country, row.counts.len())).collect();
    assert_eq!(told, [(Some(Channel::SMS), germany, 1), (rcs, germany, 1)]);

    let filter = UsageFilter { channels: vec![rcs.unwrap()], currencies: vec![code("EUR")], ..UsageFilter::default() };
    let (rows, latency, _) = subject.delivery(&ALL, &UsageQuery { filter, ..noon_to(1) }).await.unwrap();
    // Receipts have no currency: asking for one does not hide them.
    assert_eq!((rows.len(), rows[0].usage.delivered), (1, 1));
    assert_eq!(latency.iter().flat_map(|row| &row.counts).map(|(_, count)| count).sum::<u64>(), 1);
}

pub async fn top_accounts_are_ranked_and_ties_are_by_name(subject: &Subject) {
    let event = |id: u32, account: &str, messages, segments, currency: &str, amount_micros| BillingEvent {
        messages,
        segments,
        amount_micros,
        currency: currency.to_owned(),
        ..billing(&id.to_string(), account, noon())
    };
    let events: Vec<Box<dyn Payload>> = vec![
        Box::new(event(1, "beta", 5, 5, "EUR", 10)),
        Box::new(event(2, "alpha", 2, 9, "EUR", 30)),
        Box::new(event(3, "alpha", 3, 3, "USD", 900)),
        Box::new(event(4, "Zeta", 5, 6, "USD", 20)),
        Box::new(event(5, "gamma", 9, 9, "EUR", 20)),
        Box::new(receipt("m", "gamma", noon(), DeliveryStatus::Delivered)),
        Box::new(billing("too early", "early", noon().minus(HOUR))),
    ];
    Owner::of(&subject.store, "BILLING").await.count(&events).await;
    let (from, to) = (noon().hour(), noon().hour().next());
    let (eur, usd): (Currency, Currency) = (code("EUR"), code("USD"));
    let nothing = UsageFilter::default();
    let questions = [
        (RankBy::Messages, &nothing, 10, vec!["gamma", "Zeta", "alpha", "beta"]),
        (RankBy::Messages, &nothing, 2, vec!["gamma", "Zeta"]),
        (RankBy::Segments, &nothing, 10, vec!["alpha", "gamma", "Zeta", "beta"]),
        (RankBy::Amount(eur), &nothing, 10, vec!["alpha", "gamma", "beta"]),
        (RankBy::Amount(usd), &nothing, 1, vec!["alpha"]),
    ];
    for (rank_by, filter, limit, expected) in questions {
        let (accounts, _) = subject.top_accounts(&ALL, from, to, filter, rank_by, limit).await.unwrap();
        assert_eq!(accounts.iter().map(|(account, _)| account.as_str()).collect::<Vec<_>>(), expected, "{rank_by:?}");
    }
    let (accounts, as_of) = subject.top_accounts(&ALL, from, to, &nothing, RankBy::Messages, 3).await.unwrap();
    let sums = |at: usize| accounts[at].1.iter().map(|(currency, usage)| (*currency, usage.messages, usage.delivered));
    assert_eq!(sums(0).collect::<Vec<_>>(), [(Currency::UNKNOWN, 0, 1), (eur, 9, 0)]);
    assert_eq!(sums(2).collect::<Vec<_>>(), [(eur, 2, 0), (usd, 3, 0)]);
    assert_eq!(as_of.progress, subject.all_progress().await.unwrap());

    let dollars = UsageFilter { currencies: vec![usd], ..UsageFilter::default() };
    let (accounts, _) = subject.top_accounts(&ALL, from, to, &dollars, RankBy::Messages, 10).await.unwrap();
    assert_eq!(
        accounts.iter().map(|(account, sums)| (account.as_str(), sums.len())).collect::<Vec<_>>(),
        [("Zeta", 1), ("alpha", 1)]
    );
}

pub async fn more_final_receipts_than_messages_are_noticed(subject: &Subject) {
    let delivered = |message: &str, account: &str, at| receipt(message, account, at, DeliveryStatus::Delivered);
    Owner::of(&subject.store, "BILLING")
        .await
        .count(&[billing("a", "acme", noon()), billing("b", "acme", noon()), billing("c", "other", noon())])
        .await;
    let mut owner = Owner::of(&subject.store, "DLR").await;
    owner.count(&[delivered("1", "acme", noon()), delivered("2", "other", noon())]).await;
    owner.count(&[receipt("3", "other", noon(), DeliveryStatus::Enroute)]).await;
    let hour = noon().hour();
    assert_eq!(subject.overdelivered(hour).await.unwrap(), 0);
    // One account's excess is not hidden by another's lack.
    owner.count(&[receipt("4", "other", noon(), DeliveryStatus::Failed)]).await;
    assert_eq!(subject.overdelivered(hour).await.unwrap(), 1);
    owner.count(&[delivered("5", "third", noon())]).await;
    assert_eq!(subject.overdelivered(hour).await.unwrap(), 2);
    assert_eq!(subject.overdelivered(hour.next()).await.unwrap(), 0);
}

pub async fn a_message_charged_for_in_the_hour_before_or_after_its_submission_is_no_surplus(subject: &Subject) {
    let (submitted, moment) = (noon(), Duration::from_micros(1));
    let mut messages = Owner::of(&subject.store, "BILLING").await;
    let events = [billing("a", "before", submitted.minus(moment)), billing("b", "after", submitted.plus(HOUR))];
    messages.count_at(submitted.plus(HOUR), &events).await;
    let mut receipts = Owner::of(&subject.store, "DLR").await;
    for account in ["before", "after"] {
        receipts.count(&[receipt(account, account, submitted, DeliveryStatus::Delivered)]).await;
    }
    let hour = submitted.hour();
    for from in [hour, Hour::from_index(hour.index() - 1), Hour::from_index(hour.index() - 23)] {
        assert_eq!(subject.overdelivered(from).await.unwrap(), 0, "from {from:?}");
    }
    receipts.count(&[receipt("again", "before", submitted, DeliveryStatus::Failed)]).await;
    assert_eq!(subject.overdelivered(hour).await.unwrap(), 1);
}
