//! Accounts, and the set of accounts a caller may see.

use std::{collections::BTreeSet, fmt, sync::Arc};

/// Longest account id, in bytes.
pub const MAX_ACCOUNT_BYTES: usize = 128;

/// An account id: 1 to 128 bytes of visible ASCII. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

/// Why a text is no account id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("account is empty; name the account the event belongs to")]
    Empty,
    #[error("account has {0} bytes; at most {MAX_ACCOUNT_BYTES} are allowed")]
    TooLong(usize),
    #[error("account contains a space, control or non-ASCII character at byte {0}; use visible ASCII only")]
    Character(usize),
}

impl AccountId {
    /// Checks and wraps an id.
    pub fn new(text: &str) -> Result<Self, AccountError> {
        if text.is_empty() {
            return Err(AccountError::Empty);
        }
        if text.len() > MAX_ACCOUNT_BYTES {
            return Err(AccountError::TooLong(text.len()));
        }
        match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            Some(at) => Err(AccountError::Character(at)),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// The accounts a caller may see. There is no empty scope and no default: it is made from an authenticated identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountScope {
    /// Operators.
    All,
    /// These, at least one.
    Accounts(NonEmptyAccounts),
}

/// At least one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonEmptyAccounts(BTreeSet<AccountId>);

impl AccountScope {
    /// Scope of these accounts; `None` when there are none.
    pub fn of(accounts: impl IntoIterator<Item = AccountId>) -> Option<Self> {
        let accounts: BTreeSet<_> = accounts.into_iter().collect();
        (!accounts.is_empty()).then_some(Self::Accounts(NonEmptyAccounts(accounts)))
    }

    /// Whether the account may be seen.
    pub fn contains(&self, account: &AccountId) -> bool {
        match self {
            Self::All => true,
            Self::Accounts(accounts) => accounts.0.contains(account),
        }
    }

    /// The account meant by a caller who named none: the only one of its scope.
    pub fn only(&self) -> Option<&AccountId> {
        match self {
            Self::Accounts(accounts) if accounts.0.len() == 1 => accounts.0.first(),
            _ => None,
        }
    }

    /// The accounts, or `None` for all.
    pub fn accounts(&self) -> Option<impl Iterator<Item = &AccountId>> {
        match self {
            Self::All => None,
            Self::Accounts(accounts) => Some(accounts.0.iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_visible_ascii_of_bounded_length() {
        assert!(AccountId::new("acme-1").is_ok());
        assert_eq!(AccountId::new(""), Err(AccountError::Empty));
        assert_eq!(AccountId::new("a b"), Err(AccountError::Character(1)));
        assert_eq!(AccountId::new("\u{1b}[2J"), Err(AccountError::Character(0)));
        assert_eq!(AccountId::new(&"x".repeat(129)), Err(AccountError::TooLong(129)));
    }

    #[test]
    fn a_scope_is_never_empty() {
        assert_eq!(AccountScope::of([]), None);
        let (a, b) = (AccountId::new("a").unwrap(), AccountId::new("b").unwrap());
        let scope = AccountScope::of([a.clone()]).unwrap();
        assert!(scope.contains(&a) && !scope.contains(&b));
        assert_eq!(scope.only(), Some(&a));
    }
}
