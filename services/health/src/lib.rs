//! How a service says what is wrong with it: the catalogue of failure modes, their state now, and the standard health protocol.
//!
//! ```text
//! catalogue.toml ──▶ Catalogue
//!                        │ thresholds, hold times, severities
//!  detectors ──Reading──▶ Monitor ──frames──▶ FailureModeService.Watch ──▶ console
//!                        └──────── gauge loadline_failure_mode_state{service,id}
//!  lifecycle ──ServingStatus──▶ HealthReporter ──▶ grpc.health.v1 (Check, Watch, List) ──▶ load balancers, Kubernetes
//! ```
//!
//! - [`catalogue`]: the 25 modes, one TOML file, parsed and checked once
//! - [`Monitor`]: takes [`Reading`]s, keeps each mode's state and one numbered log of frames
//! - [`failure_modes`]: the gRPC service over a monitor
//! - [`Port`]: a gRPC port with all of it
//! - [`grpc_health`]: `grpc.health.v1`, and the handle that sets what it answers
//!
//! The nasty invariant: **nothing is OK by default.** A mode is OK only while a detector keeps saying so; one that has fallen
//! silent is UNKNOWN, one that nothing detects yet is PLANNED, and neither is ever left out of a snapshot.

pub mod catalogue;
pub mod failure_modes;
mod frames;
mod gauge;
pub mod grpc_health;
mod monitor;
pub mod port;
mod reading;
mod severity;
mod signal;

pub use catalogue::{Catalogue, CatalogueError, FailureMode};
pub use grpc_health::{HealthReporter, ServingStatus};
pub use monitor::{Monitor, MonitorError};
pub use port::Port;
pub use reading::Reading;
pub use severity::Severity;
