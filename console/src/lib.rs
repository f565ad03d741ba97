//! The operator's console: what is broken, how bad, and how sure, on one screen that does not lie.
//!
//! ```text
//!  processes ──gRPC──▶ connection ──Msg──▶ update(Model, Msg, now) ──▶ Effects ──▶ connection, terminal
//!  keyboard ─────────▶ terminal ────Msg──────────▲        │
//!                                                │      Model ──▶ draw ──▶ terminal │ --once │ --plain │ check
//!                                            recorder ◀───┘
//! ```
//!
//! - [`action`]: the one table of actions; keys, hints, help, palette and documentation are made from it
//! - [`model`]: what was heard, and what the operator looks at
//! - [`update`]: the only way in which either changes; pure
//! - [`view`]: a frame from a model, a file a region; pure
//! - [`connection`], [`terminal`]: the edge; [`run`]: the loop between them
//! - [`recorder`]: what came in, kept, so that the past can be looked at again
//!
//! The nasty invariant: **nothing is drawn as OK unless each part that is to detect it is seen now and says so.** Silence,
//! a gap between frames, a state of a newer server, and a mode that nobody detects yet are all something else.

pub mod action;
pub mod cli;
pub mod clock;
pub mod connection;
pub mod headless;
pub mod keys;
pub mod model;
pub mod moment;
pub mod msg;
pub mod plain;
pub mod recorder;
pub mod run;
pub mod terminal;
pub mod text;
pub mod update;
pub mod view;
