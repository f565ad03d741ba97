//! The service as callers see it: over a socket, through every layer, on a real store and a real log in a folder of its own.

#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

mod bad_input;
mod delivery;
mod explain;
mod health;
mod isolation;
#[path = "../../../ledger/tests/operator/mod.rs"]
mod operator;
mod outage;
mod periods;
#[path = "../../../store/tests/postgres_server.rs"]
mod postgres_server;
mod process;
mod remedies;
mod scope;
mod top;
mod usage;
mod watch;
mod world;
