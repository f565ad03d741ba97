//! The embedded store: one SQLite file, one machine.
//!
//! ```text
//! callers ──▶ Writer: one connection, BEGIN IMMEDIATE, each transaction in a task of its own
//!        └──▶ readers: a pool, one snapshot an answer
//! ```
//!
//! All writes pass through one connection, so there are no deadlocks and what a transaction has looked up stays true until
//! it commits. Other processes may open the same file; SQLite's own lock keeps them apart.

mod aliases;
mod archive;
mod audit;
mod commit;
mod connect;
mod days;
mod dead_letters;
mod dedup;
mod export;
mod jobs;
mod leadership;
mod leases;
mod losses;
mod other_days;
mod prediction_jobs;
mod progress;
mod purge;
mod ranking;
mod retention;
mod rollups;
mod statistics;
mod trail;
mod usage;

pub use connect::SqliteStore;
