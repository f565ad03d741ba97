//! Which account-hours are counted again.

use loadline_domain::{AccountId, Hour};

/// Hours, `from` inclusive, `to` exclusive, of one account or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Of this account; `None` for all.
    pub account: Option<AccountId>,
    /// First hour.
    pub from: Hour,
    /// Hour after the last.
    pub to: Hour,
}

impl Span {
    /// One account-hour.
    pub fn of(account: AccountId, hour: Hour) -> Self {
        Self { account: Some(account), from: hour, to: hour.next() }
    }

    /// Whether an account-hour is in it.
    pub fn holds(&self, account: &AccountId, hour: Hour) -> bool {
        (self.from..self.to).contains(&hour) && self.account.as_ref().is_none_or(|own| own == account)
    }

    /// Number of hours.
    pub fn hours(&self) -> u32 {
        u32::try_from(self.to.index().saturating_sub(self.from.index())).unwrap_or(0)
    }
}
