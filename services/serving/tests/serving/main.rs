//! The service as callers see it: over a socket, through every layer, with models in a folder of its own.

#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

mod bad_input;
mod cache;
mod changes;
mod football;
mod gate;
mod hostile;
mod jobs;
mod load;
mod modes;
#[path = "../../../event-log/tests/nats/mod.rs"]
mod nats;
mod onnx;
mod outage;
mod protocol;
mod routes;
mod skill;
mod world;
