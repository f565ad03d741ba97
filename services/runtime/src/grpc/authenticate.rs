//! Authentication: who is calling. Whether that matters is authorisation's to say, so a failure travels on with the call.

use std::sync::Arc;

use tonic::Status;

use super::around::{Around, Call, Inner, Reply};
use crate::identity::{IdentityProvider, Peer};

/// Why a caller is not known; in the call's extensions instead of an identity.
#[derive(Clone)]
pub(super) struct Unidentified(pub(super) Status);

#[derive(Clone)]
pub(super) struct Authenticate(pub(super) Arc<dyn IdentityProvider>);

impl Around for Authenticate {
    async fn around(self, mut call: Call, inner: impl Inner) -> Reply {
        let identified = match call.extensions().get::<Peer>().copied() {
            Some(peer) => self.0.identify(&peer, call.headers()).await,
            None => Err(Status::unauthenticated("the connection has no peer")),
        };
        match identified {
            Ok(identity) => drop(call.extensions_mut().insert(identity)),
            Err(status) => drop(call.extensions_mut().insert(Unidentified(status))),
        }
        inner.pass(call).await
    }
}
