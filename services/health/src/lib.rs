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
//! - [`Desk`]: plans [`Remedy`]s, executes and verifies them, takes them back; every step in an [`audit`]
//! - [`Drills`]: cause a mode on purpose and prove that it is seen, contained, repaired and over; [`drill`] says how
//! - [`failure_modes`]: the gRPC service over a monitor and its desk
//! - [`Port`]: a gRPC port with all of it
//! - [`load`]: what a process has to do; [`Latch`]: a limit about which a number goes to and fro
//! - [`grpc_health`]: `grpc.health.v1`, and the handle that sets what it answers
//!
//! The nasty invariant: **nothing is OK by default.** A mode is OK only while a detector keeps saying so; one that has fallen
//! silent is UNKNOWN, one that nothing detects yet is PLANNED, and neither is ever left out of a snapshot. A remedy closes no
//! mode: the mode's own signal does.

mod attention;
pub mod audit;
mod board;
pub mod catalogue;
pub mod desk;
pub mod drill;
pub mod failure_modes;
mod frames;
mod gauge;
pub mod grpc_health;
mod latch;
pub mod load;
mod monitor;
pub mod port;
mod reading;
pub mod remedy;
mod severity;
mod signal;
mod world;

pub use attention::{AttentionError, LONGEST_MUTE};
pub use catalogue::{Catalogue, CatalogueError, FailureMode};
pub use desk::{Desk, DeskError};
pub use drill::{Drill, Drills};
pub use grpc_health::{HealthReporter, ServingStatus};
pub use latch::Latch;
pub use monitor::{Monitor, MonitorError, WeakMonitor};
pub use port::Port;
pub use reading::Reading;
pub use remedy::Remedy;
pub use severity::Severity;
pub use world::World;
