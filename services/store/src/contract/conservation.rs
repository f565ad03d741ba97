//! Promise one: nothing is lost or counted twice, whatever happens in whatever order.

use super::{Owner, Payload, Subject, billing, noon, receipt};
use crate::{DeadLetterFilter, DeadLetterState, StoreError};
use loadline_domain::{Loss, LossCause, Rules};
use loadline_proto::event::{BillingEvent, DeliveryStatus};
use std::{collections::HashMap, time::Duration};

/// Marsaglia's xorshift64: the same story for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What must be true, told by a model so simple that it is plainly right.
#[derive(Default)]
struct Model {
    /// Content of each identity that was counted.
    counted: HashMap<String, u64>,
    dead: u64,
    lost: u64,
}

impl Model {
    fn see(&mut self, identity: String, content: u64) {
        match self.counted.get(&identity) {
            None => drop(self.counted.insert(identity, content)),
            Some(known) => self.dead += u64::from(*known != content),
        }
    }
}

fn some_event(dice: &mut Dice, model: &mut Model) -> Box<dyn Payload> {
    let (id, content, account) = (dice.below(400), dice.below(12) / 11, format!("account-{}", dice.below(5)));
    let name = format!("{account}-{id}");
    let at = noon().minus(Duration::from_secs(3600 * (id % 30)));
    match dice.below(20) {
        0 => {
            model.dead += 1;
            Box::new("garbage")
        }
        1 => {
            model.dead += 1;
            let unique = format!("late-{}", dice.below(u64::MAX));
            Box::new(billing(&unique, &account, noon().minus(Duration::from_secs(3600 * (50 + id % 20)))))
        }
        2..8 => {
            let status = [DeliveryStatus::Delivered, DeliveryStatus::Failed][content as usize];
            model.see(format!("receipt {name}"), content);
            Box::new(receipt(&name, &account, at, status))
        }
        _ => {
            model.see(format!("billing {name}"), content);
            Box::new(BillingEvent { amount_micros: content as i64, ..billing(&name, &account, at) })
        }
    }
}

async fn check(subject: &Subject, model: &Model, step: u64) {
    subject.assert_conserved().await;
    let conservation = subject.conservation().await.unwrap();
    assert_eq!(conservation.counted, model.counted.len() as i64, "step {step}");
    let open = subject.open_dead_letters(&DeadLetterFilter::default()).await.unwrap().values().sum::<u64>();
    let all = DeadLetterFilter::default();
    let discarded = subject.dead_letters(&all, DeadLetterState::Discarded, 0, u32::MAX).await.unwrap().len();
    assert_eq!(open + discarded as u64, model.dead, "step {step}");
    let lost: u64 = subject.losses(None, 0, u32::MAX).await.unwrap().iter().map(|stored| stored.loss.count()).sum();
    assert_eq!(lost, model.lost, "step {step}");
}

async fn one_step(subject: &Subject, dice: &mut Dice, owners: &mut [Owner], model: &mut Model, step: u64) {
    let at = dice.below(owners.len() as u64) as usize;
    let owner = &mut owners[at];
    let stream = owner.lease.stream.to_string();
    match dice.below(12) {
        0 => {
            let incarnation = owner.progress.incarnation.to_string();
            *owner = Owner::of_incarnation(&subject.store, &stream, &incarnation).await;
        }
        1 => {
            let unapplied = dice.below(4);
            let head = owner.progress.applied + unapplied;
            subject.note_head(&owner.lease, &owner.progress.incarnation, head).await.unwrap();
            *owner = Owner::of_incarnation(&subject.store, &stream, &format!("incarnation-{step}")).await;
            model.lost += unapplied;
        }
        2 => {
            let rules = Rules { accept_late: dice.below(2) == 0, ..Rules::default() };
            let limit = dice.below(8) as u32;
            let done = subject.redrive(&DeadLetterFilter::default(), &rules, noon(), limit, false).await.unwrap();
            for i in 0..done.counted {
                model.counted.insert(format!("redriven {step} {i}"), 0);
            }
            model.dead -= done.counted + done.duplicates;
        }
        3 => {
            let letters = subject.dead_letters(&DeadLetterFilter::default(), DeadLetterState::Open, 0, 2).await.unwrap();
            let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
            if !ids.is_empty() {
                subject.discard(&DeadLetterFilter { ids, ..DeadLetterFilter::default() }, "drawn", false).await.unwrap();
            }
        }
        4 => {
            let mut batch = owner.empty();
            let (first, count) = (batch.to() + 1, 1 + dice.below(9));
            let last = batch.to() + count;
            batch.push_loss(Loss { first, last, cause: LossCause::Retention, after: None, before: None });
            owner.try_commit(&batch.seal()).await.unwrap();
            model.lost += count;
        }
        _ => {
            let events: Vec<_> = (0..=dice.below(60)).map(|_| some_event(dice, model)).collect();
            let batch = owner.batch(&events);
            owner.try_commit(&batch).await.unwrap();
            if dice.below(3) == 0 {
                let again = owner.try_commit(&batch).await;
                assert!(matches!(again, Err(StoreError::Stale(_))), "{again:?}");
            }
        }
    }
}

pub async fn everything_is_accounted_for_after_any_story(subject: &Subject) {
    let seed = 0x9e37_79b9_7f4a_7c15;
    let (mut dice, mut model, mut owners) = (Dice(seed), Model::default(), Vec::new());
    for stream in ["BILLING-0", "BILLING-1", "DLR"] {
        owners.push(Owner::of(&subject.store, stream).await);
    }
    for step in 0..120 {
        one_step(subject, &mut dice, &mut owners, &mut model, step).await;
        check(subject, &model, step).await;
    }
    assert!(model.counted.len() > 500 && model.dead > 50 && model.lost > 10, "the story was too quiet to tell anything");
}

pub async fn a_tampered_usage_row_is_noticed(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon()), billing("b", "other", noon())]).await;
    subject.assert_conserved().await;
    subject.tamper("UPDATE usage_hourly SET events = events + 1 WHERE account = 'acme'").await;
    let conservation = subject.conservation().await.unwrap();
    assert_eq!((conservation.counted, conservation.usage_events, conservation.unaccounted), (2, 3, 0));
}

pub async fn a_tampered_counter_is_noticed(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    // Also in an incarnation that is no longer current.
    Owner::of_incarnation(&subject.store, "BILLING", "two").await;
    subject.tamper("UPDATE stream_progress SET duplicates = 2 WHERE incarnation = 'one'").await;
    assert_eq!(subject.conservation().await.unwrap().unaccounted, -2);
}
