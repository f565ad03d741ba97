//! An account sees only its own.

use super::{Subject, account, by_hour, first_day};
use crate::HistoryError;
use loadline_domain::AccountScope;

pub async fn another_accounts_usage_is_out_of_scope(subject: &Subject) {
    let book = subject.archive_days(first_day(), 2).await;
    let scope = AccountScope::of([account("Zeta"), account("other")]).unwrap();
    let (own, foreign) = (by_hour("Zeta", first_day(), 2), by_hour("acme", first_day(), 2));
    assert_eq!(subject.usage(&scope, &book.parts(), &own).await.unwrap(), book.usage(&own));
    assert_eq!(subject.delivery(&scope, &book.parts(), &own).await.unwrap(), book.delivery(&own));
    let refused = [
        subject.usage(&scope, &book.parts(), &foreign).await.unwrap_err(),
        subject.delivery(&scope, &book.parts(), &foreign).await.unwrap_err(),
    ];
    let is_out = |error: &HistoryError| matches!(error, HistoryError::OutOfScope(asked) if *asked == account("acme"));
    assert!(refused.iter().all(is_out), "{refused:?}");
}

pub async fn only_operators_ask_of_all_accounts(subject: &Subject) {
    let book = subject.archive_days(first_day(), 1).await;
    let scope = AccountScope::of([account("acme")]).unwrap();
    let query = by_hour("acme", first_day(), 1);
    let refused = subject.account_totals(&scope, &book.parts(), query.from, query.to, &query.filter).await;
    assert!(matches!(refused, Err(HistoryError::NeedsAllAccounts)), "{refused:?}");
}
