//! The shell around a service: everything a server process needs that has nothing to do with what it serves.
//!
//! ```text
//!  main ──▶ config ──▶ run ──▶ telemetry ─ lifecycle
//!                       │
//!        ┌──────────────┴───────────────┐
//!   admin (HTTP)                  grpc (HTTP/2)
//!   /metrics /livez /readyz       accept ▸ trace ▸ metrics ▸ identity ▸ access ▸ message size ▸ deadline ▸ shed ▸ service
//! ```
//!
//! - [`config`]: defaults < file < environment < flags; all problems at once; secrets never print.
//! - [`telemetry`]: logs, spans and one set of instruments, exported over OTLP and scraped by Prometheus.
//! - [`identity`] and [`access`]: who calls, and what they may call; denied unless listed.
//! - [`grpc`]: the accept loop and the tower layers, one idea a file.
//! - [`errors`]: rich gRPC errors that say what to do.
//! - [`admin`]: the port of the operator's tools.
//! - [`mod@build`]: which build a program is.
//! - [`standing`]: whether too much waits.
//! - [`lifecycle`] and [`mod@run`]: start, drain, close within a bounded time.
//!
//! The nasty invariant: a limit on a request holds until the **end of the response body**, not until its head. Deadline, load
//! shed and metrics all follow the body, because a gRPC stream does its work there.
//!
//! This crate contains no domain word and imports none of our crates.

mod accept;
pub mod access;
pub mod admin;
pub mod build;
pub mod config;
pub mod errors;
pub mod grpc;
pub mod identity;
pub mod lifecycle;
pub mod run;
pub mod standing;
pub mod telemetry;

pub use lifecycle::Shutdown;
pub use run::run;
pub use standing::StandingQueue;
