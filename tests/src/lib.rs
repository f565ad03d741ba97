//! The harness of Loadline's scenario tests: real servers, real faults, and an independent account of what must be counted.
//!
//! ```text
//! events ──▶ our binaries ──▶ private nats-server ──▶ private PostgreSQL
//!    │            │ client        ▲    kill · stop · cut · half-open · reply lost ▲
//!    │            │               └──────────────── proxy ────────────────────────┘
//!    └─▶ journal ─┴─▶ checker ◀── the store, read with plain SQL
//! ```
//!
//! - [`ports`], [`process`], [`binaries`]: free ports; child processes that never outlive their owner; where programs are found
//! - [`nats`], [`postgres`], [`history`], [`mlflow`]: private servers in temporary folders, to kill, stop and start again
//! - [`proxy`]: the network between two of them, and its faults; [`collector`]: of telemetry
//! - [`service`], [`client`]: our binaries, and gRPC clients of their services
//! - [`world`]: all of them together, to publish to, to break, and to check
//! - [`events`], [`workload`]: events one by one, and seeded streams of them with every kind of trouble
//! - [`days`], [`jobs`]: days full of events, asked for all the while they roll up and move; runs of the jobs that do it
//! - [`model`], [`journal`], [`log`], [`snapshot`], [`checker`]: what was
//!   published, what stands in the log, what the store holds, and whether they agree
//! - [`upstream`], [`questions`], [`command`]: publishing past the API; what scenarios ask the services; programs run to their end
//! - [`compatibility`], [`corpus`]: whether new contracts still read what old ones wrote, and still count it the same
//! - [`listed`]: whether contract suites of ports run all that was written
//!
//! The nasty invariant: [`model`] and [`checker`] share no decoding and no sums with the code under test. They decide for
//! themselves what an event is worth.

pub mod binaries;
pub mod checker;
pub mod client;
pub mod collector;
pub mod command;
pub mod compatibility;
pub mod corpus;
pub mod days;
pub mod events;
pub mod history;
pub mod jobs;
pub mod journal;
pub mod listed;
pub mod log;
pub mod mlflow;
pub mod model;
pub mod nats;
pub mod ports;
pub mod postgres;
pub mod predictions;
pub mod process;
pub mod proxy;
pub mod questions;
pub mod redis;
pub mod service;
pub mod snapshot;
pub mod upstream;
pub mod workload;
pub mod world;
