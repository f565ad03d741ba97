//! Remedies as operators meet them: planned, executed once, verified, undone, and refused whenever something is in doubt.

#![allow(clippy::unwrap_used)] // a test may panic, its helpers too

mod aborts;
mod bench;
mod executions;
mod handover;
mod plans;
mod property;
mod shutdown;
mod trail;
mod undoing;
mod wire;
