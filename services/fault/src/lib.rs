//! Faults that a process injects into its own ports, by name and for a time.
//!
//! ```text
//!  drill ──inject──▶ Faults (what is active, until when) ◀──looks── Faulty<T>, which implements T's ports ──▶ T
//! ```
//!
//! - [`Fault`]: what goes wrong, for which calls, for how long
//! - [`Faults`]: those active in one port; the one place that decides what becomes of a call
//! - [`Held`]: one of them, in the hands of a drill
//! - [`Faulty`]: a port behind its faults; [`faulty!`] implements a trait for it, a line a method
//!
//! The nasty invariant: **no fault outlives its time**, whatever becomes of whoever injected it. The time is looked at by the
//! calls themselves, and a call that a fault holds goes on when it is over.

mod fault;
mod faults;
mod faulty;
mod held;

pub use fault::{Active, Calls, Fault, Kind, LONGEST};
pub use faults::{Call, Faults, Injected};
pub use faulty::{Fails, Faulty};
pub use held::Held;
