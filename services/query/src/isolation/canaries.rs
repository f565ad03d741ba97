//! The canaries: callers with an account that nobody has, with none, and without a name. Each asks for accounts of others by
//! every method; and the first asks for its own, which has nothing, so that a row is somebody else's.

use super::{Canary, Round};
use crate::Query;
use futures::StreamExt as _;
use loadline_domain::{
    AccountScope, Hour, Timestamp,
    question::{RankBy, UsageFilter},
};
use loadline_proto::query::{
    ExplainUsageRequest, GetDeliveryRequest, GetUsageRequest, GetUsageResponse, Granularity, ListTopAccountsRequest, UsageTotals,
    WatchUsageRequest, usage_service_server::UsageService,
};
use loadline_runtime::identity::{Identity, Role};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

/// Accounts of others that are asked for.
const OTHERS: u32 = 2;
/// What is asked about: the last two days.
const DAYS: i32 = 2;
/// The first answer of a watch comes at once.
const FIRST: Duration = Duration::from_secs(5);

/// How long accounts are asked for before it is looked anew which have usage.
const SAME_FOR: Duration = Duration::from_secs(60);

/// Accounts with usage, and since when they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Others(Mutex<Option<(Instant, Vec<String>)>>);

impl Others {
    /// Where there were some a short while ago.
    fn known(&self) -> Option<Vec<String>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .filter(|(since, others)| since.elapsed() < SAME_FOR && !others.is_empty())
            .map(|(_, others)| others.clone())
    }

    fn note(&self, others: Vec<String>) -> Vec<String> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), others.clone()));
        others
    }
}

impl Query {
    /// Asks everything once.
    pub(super) async fn canaries(&self) -> Round {
        let mut round = Round::default();
        // Not to be guessed, so that nobody can publish for it.
        let own = format!("canary-{}", Uuid::new_v4());
        let mut others = self.accounts_with_usage(&mut round).await;
        others.push(format!("canary-{}", Uuid::new_v4()));
        for who in [Some(caller(&[&own])), Some(caller(&[])), None] {
            for other in &others {
                self.ask_for(other, who.as_ref(), &mut round).await;
            }
            let (from, to) = self.range();
            let ranking = ListTopAccountsRequest { from, to, ..ListTopAccountsRequest::default() };
            let ranked = self.list_top_accounts(canary(ranking, who.as_ref())).await;
            refused("ListTopAccounts", ranked, |ranked| ranked.accounts.len(), &mut round);
        }
        self.ask_for_own(&own, &mut round).await;
        round
    }

    /// Real accounts: to ask for these would give something. Who has most is a question about a day of all usage, which is not
    /// asked at every round.
    async fn accounts_with_usage(&self, round: &mut Round) -> Vec<String> {
        if let Some(known) = self.others.known() {
            return known;
        }
        let to = Hour::from_index(self.now().hour().index() + 1);
        let from = Hour::from_index(to.index() - 24);
        let filter = UsageFilter::default();
        match self.parts.store.top_accounts(&AccountScope::All, from, to, &filter, RankBy::Messages, OTHERS).await {
            Ok((accounts, _)) => self.others.note(accounts.into_iter().map(|(account, _)| account.to_string()).collect()),
            Err(error) => {
                round.untold.push(format!("accounts with usage: {error}"));
                Vec::new()
            }
        }
    }

    async fn ask_for(&self, account: &str, who: Option<&Identity>, round: &mut Round) {
        let usage = self.usage_of(account, Granularity::Hour);
        let answer = self.get_usage(canary(usage.clone(), who)).await;
        refused("GetUsage", answer, |answer| rows(&answer), round);
        let delivery = self.delivery_of(account);
        refused("GetDelivery", self.get_delivery(canary(delivery, who)).await, |answer| answer.rows.len(), round);
        let explanation = ExplainUsageRequest { account: account.to_owned(), hour: usage.to };
        refused("ExplainUsage", self.explain_usage(canary(explanation, who)).await, |answer| answer.stored.len(), round);
        let watch = WatchUsageRequest { usage: Some(usage), min_interval: None };
        refused("WatchUsage", self.watch_usage(canary(watch, who)).await, |_| 0, round);
    }

    async fn ask_for_own(&self, own: &str, round: &mut Round) {
        let who = caller(&[own]);
        for granularity in [Granularity::Hour, Granularity::Day] {
            let answer = self.get_usage(canary(self.usage_of(own, granularity), Some(&who))).await;
            empty("GetUsage", own, answer.map(|answer| told(answer.into_inner())), round);
        }
        let answer = self.get_delivery(canary(self.delivery_of(own), Some(&who))).await;
        let answer = answer.map(Response::into_inner);
        empty("GetDelivery", own, answer.map(|answer| (answer.account, answer.rows.len())), round);
        let watch = WatchUsageRequest { usage: Some(self.usage_of(own, Granularity::Hour)), min_interval: None };
        let late = || Status::deadline_exceeded("no first answer");
        let first = async {
            let mut answers = self.watch_usage(canary(watch, Some(&who))).await?.into_inner();
            timeout(FIRST, answers.next()).await.map_err(|_| late())?.unwrap_or_else(|| Err(late()))
        };
        empty("WatchUsage", own, first.await.map(told), round);
    }

    fn usage_of(&self, account: &str, granularity: Granularity) -> GetUsageRequest {
        let (account, (from, to)) = (account.to_owned(), self.range());
        GetUsageRequest { account, from, to, granularity: granularity.into(), ..GetUsageRequest::default() }
    }

    fn delivery_of(&self, account: &str) -> GetDeliveryRequest {
        let (account, (from, to)) = (account.to_owned(), self.range());
        GetDeliveryRequest { account, from, to, ..GetDeliveryRequest::default() }
    }

    fn range(&self) -> (Option<prost_types::Timestamp>, Option<prost_types::Timestamp>) {
        let to = self.now().hour();
        let from = Hour::from_index(to.index() - 24 * DAYS);
        (Some(wire(from.start())), Some(wire(to.start())))
    }
}

fn wire(at: Timestamp) -> prost_types::Timestamp {
    crate::convert::timestamp(at)
}

fn caller(accounts: &[&str]) -> Identity {
    let accounts = accounts.iter().map(|account| (*account).to_owned()).collect();
    Identity { name: "isolation canary".to_owned(), role: Role::Service, accounts }
}

/// As the gRPC stack would hand it over.
fn canary<T>(message: T, who: Option<&Identity>) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Canary);
    if let Some(who) = who {
        request.extensions_mut().insert(who.clone());
    }
    request
}

/// Scope is looked at before anything is read: whatever is not a refusal for it got past it.
fn refused<T>(method: &str, answer: Result<Response<T>, Status>, rows: impl FnOnce(T) -> usize, round: &mut Round) {
    round.asked += 1;
    match answer {
        Err(status) if matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) => {}
        Err(status) => round.breaches.push(format!("{method} for another account was let in, as far as {}", status.code())),
        Ok(answer) => {
            let rows = rows(answer.into_inner());
            round.rows += rows as u64;
            round.breaches.push(format!("{method} for another account was answered with {rows} rows"));
        }
    }
}

/// An account that nobody has: no row of it can be.
fn empty(method: &str, own: &str, answer: Result<(String, usize), Status>, round: &mut Round) {
    round.asked += 1;
    match answer {
        Ok((account, 0)) if account == own => {}
        Ok((_, rows)) => {
            round.rows += rows as u64;
            round.breaches.push(format!("{method} of an account that has nothing gave {rows} rows, of another account then"));
        }
        Err(status) => round.untold.push(format!("{method}: {}", status.message())),
    }
}

fn told(answer: GetUsageResponse) -> (String, usize) {
    (answer.account.clone(), rows(&answer))
}

fn rows(answer: &GetUsageResponse) -> usize {
    let sums =
        answer.totals.iter().filter(|totals| **totals != UsageTotals { currency: totals.currency.clone(), ..Default::default() });
    answer.rows.len().max(sums.count())
}
