//! The ingest service: takes events into the log, and applies the log to the store, each record exactly once.
//!
//! ```text
//! Publish ──▶ publish ──append──▶ EVENT LOG ──read──▶ fold ──▶ commit ──▶ STORE
//!                                        └─ one owner a stream, by lease ─┘
//! ```
//!
//! - [`publish`]: judges events one by one and appends the valid ones
//! - [`owner`]: holds a stream's lease and keeps it applied; [`pipeline`]: reads and folds the next batch while one commits
//! - [`watch`]: lag, headroom and losses of every stream; [`pace`]: how long commits take; [`detect`]: the failure modes seen
//!   from here; [`remedies`]: what an operator can have done about them; [`drills`]: causes them on purpose, to prove it
//! - [`load`]: how much there is to do, for the health stream
//! - [`grpc`]: `loadline.ingest.v1`, thin over the above; [`serve`]: the service on its ports
//!
//! The nasty invariant: nothing here decides whether an event was counted. Leases, positions and batches in memory may all be
//! wrong; the first statement of the store's transaction finds out, and then everything is read again from the store.

mod detect;
mod drills;
mod grpc;
mod load;
mod owner;
mod pace;
mod pipeline;
mod publish;
mod remedies;
pub mod serve;
mod service;
mod watch;

pub use grpc::ACCESS;
pub use owner::OwnerSettings;
pub use publish::Publisher;
pub use service::{Drilling, Ingest, Parts};
pub use watch::{Backlog, backlog};
