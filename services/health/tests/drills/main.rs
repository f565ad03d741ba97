//! Drills as operators meet them: every way in which a proof can fail has its verdict, and none leaves its fault behind.

#![allow(clippy::unwrap_used, dead_code)] // a test may panic, what it shares too

#[path = "../remedies/bench.rs"]
mod bench;
mod elsewhere;
mod several;
mod stage;
mod starts;
mod verdicts;
