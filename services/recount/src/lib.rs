//! Recount: account-hours counted again from the log, as far as the store had applied it.
//!
//! ```text
//!  one snapshot of the store ──positions──▶ scan of the log ──▶ fold, again ──▶ recounted rows
//!        └── stored rows ─────────────────────────────────────────────┴──▶ equal, different, or nobody can tell
//! ```
//!
//! - [`Span`]: which account-hours; [`Recount`]: the fold of a span; [`scan`]: reading what may belong to it
//! - [`Letters`]: what the dead letters say about it; [`Recounted`]: the rows, and why they may prove nothing
//! - [`compare`]: stored rows against recounted ones, an account-hour at a time
//!
//! The nasty invariant: **both sides are of the same records.** The stored rows and the positions come from one snapshot, and
//! the log is read up to exactly those positions; whatever the log, the keys or the dead letters can no longer say makes the
//! account-hour unknown, never different. It only reads. Rules are those of now: an hour counted under others cannot be compared.

mod compare;
mod count;
mod letters;
mod recounted;
mod scan;
mod span;

pub use compare::{Compared, Verdict, compare};
pub use count::{AccountHour, Recount, Rows};
pub use letters::Letters;
pub use recounted::{Doubt, Recounted, Scanned};
pub use scan::{Limits, RecountError, Sources, recount};
pub use span::Span;
