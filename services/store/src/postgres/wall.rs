//! The second wall around accounts: row-level security, underneath whatever a statement's conditions say.
//!
//! A transaction says whose data it sees. What works for every account says so in its BEGIN ([`every_account`]); what answers for one
//! account says whose in its statement itself ([`in_sight_of`]), which costs no round trip. Nothing said is an error of the server.

use crate::StoreError;
use loadline_domain::{AccountId, AccountScope};
use sqlx::PgConnection;

use super::fault::Fault;

/// Lets the transaction that a BEGIN starts see and change the data of every account.
macro_rules! every_account {
    ($begin:expr) => {
        concat!($begin, "; SET LOCAL loadline.account TO 'every account'")
    };
}
pub(super) use every_account;

/// The last FROM of a statement that has nothing else there: says whose data its transaction sees. What is selected is found for the
/// row that comes of it, hence afterwards.
macro_rules! in_sight_of {
    ($account:literal) => {
        concat!(" FROM (SELECT set_config('loadline.account', ", $account, ", true)) AS wall")
    };
}
pub(super) use in_sight_of;

/// Whose data an answer about `asked` may see. A caller of one account sees that account and nothing else, whatever was asked.
///
/// # Errors
/// [`StoreError::OutOfScope`].
pub(super) fn sight(scope: &AccountScope, asked: &AccountId) -> Result<AccountId, StoreError> {
    match scope.contains(asked) {
        true => Ok(scope.only().unwrap_or(asked).clone()),
        false => Err(StoreError::OutOfScope(asked.clone())),
    }
}

/// Why the wall does not hold for this connection; `None` when it does.
pub(super) async fn gap(connection: &mut PgConnection) -> Result<Option<String>, Fault> {
    let bypassed = "SELECT current_user::text, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user";
    let (role, bypassed): (String, bool) = sqlx::query_as(bypassed).fetch_one(&mut *connection).await?;
    let without = "SELECT string_agg(name, ', ' ORDER BY name)
         FROM unnest(ARRAY['usage_hourly', 'latency_hourly', 'usage_daily', 'dirty_day', 'dead_letter']) AS names (name)
         LEFT JOIN pg_class AS class ON class.oid = to_regclass(name)
         WHERE (relrowsecurity AND relforcerowsecurity) IS NOT TRUE";
    let open: Option<String> = sqlx::query_scalar(without).fetch_one(connection).await?;
    Ok(match (bypassed, open) {
        (true, _) => Some(format!(
            "the role {role} bypasses row-level security, so accounts are kept apart by the query layer alone; connect as an \
             ordinary role that owns the database (deploy/postgresql.sql)"
        )),
        (false, Some(open)) => {
            Some(format!("row-level security is off for {open}; accounts are kept apart by the query layer alone"))
        }
        (false, None) => None,
    })
}

#[cfg(test)]
mod tests;
