//! The store on PostgreSQL.
//!
//! ```text
//! callers ──▶ a task of its own ──▶ pool: lazy, each connection probed before use ──▶ BEGIN … COMMIT, every wait bounded
//! ```
//!
//! Any number of processes write at once. They lock in one order, and each table's rows in the order of its key: progress,
//! dedup by partition and key, usage, latency, dirty days, dead letters, losses. What still collides is tried again.
//!
//! The nasty invariant: **no caller is ever told that nothing happened while a COMMIT may have**. Only what fails before the
//! COMMIT is sent, or what the server itself refuses, is a plain failure.

mod aliases;
mod archive;
mod audit;
mod commit;
mod connect;
mod copied;
mod days;
mod dead_letters;
mod dedup;
mod export;
mod fault;
mod hot_days;
mod jobs;
mod leadership;
mod leases;
mod locks;
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
mod transact;
mod usage;
mod wall;

pub use connect::PostgresStore;

#[cfg(test)]
#[path = "../../tests/postgres_server.rs"]
mod postgres_server;
