//! The vocabulary of Loadline and the pure logic of exact counting. No I/O, no async, no clock of its own.
//!
//! ```text
//! payload ──judge──▶ candidate or dead letter ──Batch::push──▶ Batch ──Batch::settle(keys already known)──▶ Settled
//! ```
//!
//! - [`account`], [`time`], [`stream`]: ids, scope, instants, hours and days, streams and their positions
//! - [`event`], [`decode`]: what producers publish, and how bytes become it or are refused
//! - [`identity`]: who is a duplicate of whom
//! - [`usage`], [`latency`]: what is counted, keyed by hour
//! - [`fold`]: records to one batch, one batch to the rows of one transaction
//! - [`breaker`]: when to stop rather than drain a stream into the dead letters
//! - [`progress`]: conservation, lag and headroom of a stream
//! - [`question`]: what is asked of usage, and the rows of an answer
//! - [`archive`]: the parts in which days move to history
//! - [`completeness`]: pending, provisional or final
//! - [`gate`]: whether one model may take another's place
//! - [`football`]: matches, and what was known before them
//!
//! The nasty invariant: whether an event is late or in the future is judged against **the time its record was appended**,
//! not against the clock of whoever reads it. A record therefore folds the same way today, after a week of backlog, and
//! when it is counted again for an explanation.

pub mod account;
pub mod archive;
pub mod breaker;
pub mod completeness;
pub mod dead_letter;
pub mod decode;
pub mod event;
pub mod fold;
pub mod football;
pub mod gate;
pub mod identity;
pub mod latency;
pub mod progress;
pub mod question;
pub mod stream;
pub mod time;
pub mod usage;

pub use account::{AccountId, AccountScope};
pub use dead_letter::{DeadLetter, DeadLetterReason};
pub use fold::{Batch, Rules, Settled};
pub use stream::{Incarnation, Loss, LossCause, Record, Sequence, StreamName};
pub use time::{Clock, Day, Hour, Timestamp};
