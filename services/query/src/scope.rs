//! Whose data a caller may see, from who the caller is.

use crate::{request::Invalid, status::QueryError};
use loadline_domain::{AccountId, AccountScope, account::AccountError};
use loadline_runtime::identity::{Identity, Role};

/// Why a caller gets nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The request carries no identity: the authentication layer is missing, so nothing is answered.
    #[error("the caller is not known; call through an authenticated connection")]
    Anonymous,
    /// An identity without any account.
    #[error("identity `{0}` has no accounts; give it at least one")]
    NoAccounts(String),
    /// An identity with an account that cannot exist: it is refused whole rather than narrowed in silence.
    #[error("identity `{identity}` names an account that cannot be: {error}")]
    BrokenIdentity {
        /// Name of the identity.
        identity: String,
        /// What is wrong with the account.
        error: AccountError,
    },
    /// The request's account is outside the scope. Reads the same whether the account exists or not.
    #[error("this identity may not see account `{0}`; ask for one of its own accounts")]
    Outside(AccountId),
    /// The question is about all accounts.
    #[error("this question is about all accounts; only operators may ask it")]
    OperatorsOnly,
}

/// Scope of an identity.
///
/// # Errors
/// When there is no identity, or none of its accounts can be used: there is no empty scope.
pub fn of(identity: Option<&Identity>) -> Result<AccountScope, ScopeError> {
    let identity = identity.ok_or(ScopeError::Anonymous)?;
    if identity.role == Role::Operator {
        return Ok(AccountScope::All);
    }
    let accounts: Result<Vec<_>, _> = identity.accounts.iter().map(|account| AccountId::new(account)).collect();
    let accounts = accounts.map_err(|error| ScopeError::BrokenIdentity { identity: identity.name.clone(), error })?;
    AccountScope::of(accounts).ok_or_else(|| ScopeError::NoAccounts(identity.name.clone()))
}

/// The account a request is about; an empty one means the only one of the scope.
///
/// # Errors
/// [`ScopeError::Outside`], or [`Invalid`] when it is no account id, or empty and not clear.
pub fn account(scope: &AccountScope, requested: &str) -> Result<AccountId, QueryError> {
    let invalid = |detail: String| Invalid { field: "account".to_owned(), detail };
    if requested.is_empty() {
        let ambiguous = || invalid("is empty, and the caller sees more than one account; name the account".to_owned());
        return Ok(scope.only().cloned().ok_or_else(ambiguous)?);
    }
    let account = AccountId::new(requested).map_err(|error| invalid(error.to_string()))?;
    if scope.contains(&account) { Ok(account) } else { Err(ScopeError::Outside(account).into()) }
}

/// Lets operators pass.
///
/// # Errors
/// For any scope but all accounts.
pub fn operators_only(scope: &AccountScope) -> Result<(), ScopeError> {
    if *scope == AccountScope::All { Ok(()) } else { Err(ScopeError::OperatorsOnly) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(accounts: &[&str]) -> Identity {
        Identity {
            name: "billing-ui".to_owned(),
            role: Role::Service,
            accounts: accounts.iter().map(|account| (*account).to_owned()).collect(),
        }
    }

    #[test]
    fn a_caller_without_identity_has_no_scope() {
        assert_eq!(of(None), Err(ScopeError::Anonymous));
    }

    #[test]
    fn a_service_without_accounts_has_no_scope() {
        assert_eq!(of(Some(&service(&[]))), Err(ScopeError::NoAccounts("billing-ui".to_owned())));
    }

    #[test]
    fn one_broken_account_refuses_the_whole_identity() {
        assert!(matches!(of(Some(&service(&["acme", ""]))), Err(ScopeError::BrokenIdentity { .. })));
    }

    #[test]
    fn an_operator_sees_all_and_must_name_the_account() {
        let scope = of(Some(&Identity { role: Role::Operator, ..service(&[]) })).unwrap();
        assert_eq!(scope, AccountScope::All);
        assert!(operators_only(&scope).is_ok());
        assert!(matches!(account(&scope, ""), Err(QueryError::Invalid(_))));
        assert_eq!(account(&scope, "acme").unwrap().as_str(), "acme");
    }

    #[test]
    fn an_empty_account_means_the_only_one() {
        let one = of(Some(&service(&["acme"]))).unwrap();
        assert_eq!(account(&one, "").unwrap().as_str(), "acme");
        let two = of(Some(&service(&["acme", "bolt"]))).unwrap();
        assert!(matches!(account(&two, ""), Err(QueryError::Invalid(_))));
        assert_eq!(operators_only(&two), Err(ScopeError::OperatorsOnly));
    }

    #[test]
    fn a_foreign_account_is_refused_and_a_malformed_one_is_explained() {
        let scope = of(Some(&service(&["acme"]))).unwrap();
        assert!(matches!(account(&scope, "bolt"), Err(QueryError::Scope(ScopeError::Outside(_)))));
        assert!(matches!(account(&scope, "a b"), Err(QueryError::Invalid(invalid)) if invalid.field == "account"));
    }
}
