//! What is seen of one peer.

use std::fmt;
use tokio::time::Instant;

/// A process that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Such as `query`.
    pub service: String,
    /// Host and port of its gRPC port.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.service, self.address)
    }
}

/// Who answers at an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    /// Such as `query`.
    pub service: String,
    /// Its name among the service's replicas.
    pub instance: String,
    /// New for each start.
    pub boot: String,
    /// Hash of the configuration in force.
    pub configuration: String,
}

/// How a peer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has come of looking yet.
    Awaited,
    /// It says that it serves.
    Serving,
    /// It does not, or cannot be reached: why.
    Down(String),
    /// It is the process that looks.
    Myself,
}

/// What was last seen of a peer.
#[derive(Debug, Clone)]
pub struct Seen {
    pub standing: Standing,
    /// Since when it is down, or is not.
    pub since: Instant,
    /// Who it was when it last said so; never seen: none.
    pub who: Option<Who>,
}

impl Seen {
    pub fn nothing(now: Instant) -> Self {
        Self { standing: Standing::Awaited, since: now, who: None }
    }

    /// Another reason to be down does not begin its time again.
    pub fn stands(&mut self, standing: Standing, now: Instant) {
        let is_down = |standing: &Standing| matches!(standing, Standing::Down(_));
        if is_down(&self.standing) != is_down(&standing) {
            self.since = now;
        }
        self.standing = standing;
    }
}
