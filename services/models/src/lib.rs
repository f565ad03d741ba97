//! Models: where they are registered, how their files are kept, and what they answer.
//!
//! ```text
//!  registry ──▶ artifacts ──▶ predictor
//!  names, versions, aliases     files by sha256, on disk     ONNX, run in this process
//!  files │ MLflow
//! ```
//!
//! [`registry::Registry`] is the port; [`artifacts`] keeps what was downloaded, by content; [`onnx`] decides at registration
//! whether a file can be served; [`predictor`] answers.
//!
//! The nasty invariant: **no byte is run that was not checked**: a predictor is made only from an artifact whose sha256 is the
//! one pinned when the version was registered, after its golden vectors were answered as the exporter answered them.

pub mod artifacts;
pub mod contract;
mod disk;
pub mod golden;
pub mod onnx;
pub mod predictor;
pub mod registry;
mod sha256;
pub mod tensor;

pub use sha256::{NoSha256, Sha256};
pub use tensor::{DataType, Port, Tensor, Values};
