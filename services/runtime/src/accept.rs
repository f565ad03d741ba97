//! Accepting connections without falling over: a cap on how many, and a pause when the process is out of files.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// First and longest pause while the process has no file left for a connection.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A listener with a cap.
pub(crate) struct Acceptor<R> {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    /// Told of every connection refused because of the cap.
    refused: R,
    pause: Duration,
}

/// An accepted connection; its place is free again when `slot` is dropped.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) slot: OwnedSemaphorePermit,
}

impl<R: FnMut()> Acceptor<R> {
    pub(crate) fn new(listener: TcpListener, max_connections: usize, refused: R) -> Self {
        let slots = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Self { listener, slots, refused, pause: PAUSES.0 }
    }

    /// The next connection within the cap. Those beyond it are closed at once: in the backlog they would only time out.
    /// Cancelling loses no connection.
    pub(crate) async fn next(&mut self) -> Accepted {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = PAUSES.0;
                    match self.slots.clone().try_acquire_owned() {
                        Ok(slot) => return Accepted { stream, peer, slot },
                        Err(_) => (self.refused)(),
                    }
                }
                Err(error) => self.wait_out(&error).await,
            }
        }
    }

    /// A connection that failed while it was accepted is not ours to mourn; being out of files is, and a busy loop makes it worse.
    async fn wait_out(&mut self, error: &io::Error) {
        if !is_exhaustion(error) {
            return;
        }
        tracing::warn!(%error, pause = ?self.pause, "cannot accept connections: raise the limit of open files (ulimit -n)");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}

/// ENOMEM, ENFILE, EMFILE, ENOBUFS: the same accept would fail again at once.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_resources_pauses_accepting() {
        assert!(is_exhaustion(&io::Error::from_raw_os_error(24)));
        assert!(!is_exhaustion(&io::Error::from(io::ErrorKind::ConnectionAborted)));
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_slot_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let refusals = std::cell::Cell::new(0);
        let mut acceptor = Acceptor::new(listener, 1, || refusals.set(refusals.get() + 1));
        let _first = TcpStream::connect(addr).await.expect("connected");
        let held = acceptor.next().await;
        let mut second = TcpStream::connect(addr).await.expect("connected");
        let closed = async {
            let mut byte = [0];
            tokio::io::AsyncReadExt::read(&mut second, &mut byte).await
        };
        tokio::select! {
            _ = acceptor.next() => panic!("accepted beyond the cap"),
            read = closed => assert!(matches!(read, Ok(0) | Err(_)), "the connection beyond the cap is closed"),
        }
        assert_eq!(refusals.get(), 1);
        drop(held);
        let _third = TcpStream::connect(addr).await.expect("connected");
        acceptor.next().await;
    }
}
