//! The other processes of this deployment, as one service sees them: whether each serves, and who it is.
//!
//! ```text
//!  [peers] ──▶ follow, a task a peer: grpc.health.v1 Watch, and its first health frame every 5 s ──▶ Seen ──▶ PR-09, PR-14
//! ```

pub(crate) mod agree;
pub(crate) mod crash;
mod follow;
mod seen;

pub(crate) use follow::{identify, reach};
pub(crate) use seen::{Peer, Seen, Standing, Who};

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// How long after the start of this process nothing is said of a peer that was never seen: all may be starting.
const STARTING: Duration = Duration::from_secs(15);

/// The peers of one service. Clones are one; with the last of them nobody is watched any more.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Shared>);

struct Shared {
    own: Who,
    began: Instant,
    watched: Mutex<Vec<Watched>>,
}

struct Watched {
    peer: Peer,
    seen: Arc<Mutex<Seen>>,
    _following: AbortOnDropHandle<()>,
}

impl Peers {
    /// Nobody yet.
    pub fn of(own: Who) -> Self {
        Self(Arc::new(Shared { own, began: Instant::now(), watched: Mutex::default() }))
    }

    /// Begins to watch one more.
    pub fn watch(&self, peer: Peer) {
        let seen = Arc::new(Mutex::new(Seen::nothing(Instant::now())));
        let following = tokio::spawn(follow::follow(peer.clone(), self.0.own.boot.clone(), seen.clone()));
        self.watched().push(Watched { peer, seen, _following: AbortOnDropHandle::new(following) });
    }

    /// Watches it no longer.
    pub fn forget(&self, peer: &Peer) {
        self.watched().retain(|watched| watched.peer != *peer);
    }

    /// This process.
    pub fn own(&self) -> &Who {
        &self.0.own
    }

    /// All of them now, without this process itself where it was among those named.
    pub fn seen(&self) -> Vec<(Peer, Seen)> {
        let seen = |watched: &Watched| {
            let seen = watched.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (watched.peer.clone(), seen)
        };
        self.watched().iter().map(seen).filter(|(_, seen)| seen.standing != Standing::Myself).collect()
    }

    /// Whether one that was never seen may still be starting.
    pub fn is_starting(&self) -> bool {
        self.0.began.elapsed() < STARTING
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
