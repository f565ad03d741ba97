//! The gRPC server: our own accept loop around hyper, and the layers every request passes, outside in.
//!
//! ```text
//!  accept (cap, handshake deadline) ▸ HTTP/2 limits ▸ trace ▸ metrics ▸ overload ▸ authenticate ▸ authorise ▸ message size ▸ deadline ▸ shed ▸ service
//! ```
//!
//! tonic's own server leaves out hyper's reset-flood limits, ends its time limits at the response head and waits forever for silent
//! sockets at shutdown; so connections are accepted here, and every limit holds until the end of the response body.

mod around;
mod authenticate;
mod authorise;
mod connection;
mod deadline;
mod ending;
mod message_size;
mod metrics;
mod overload;
mod reflection;
mod server;
mod settings;
mod shed;
mod stack;
mod trace;

pub use deadline::Deadline;
pub use reflection::{ReflectionError, reflection};
pub use server::Server;
pub use settings::Settings;
