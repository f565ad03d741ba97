//! Authorisation: what is not in the table is denied.

use std::sync::Arc;

use super::around::{Around, Call, Inner, Reply};
use super::authenticate::Unidentified;
use crate::access::{Access, AccessRules};
use crate::identity::Identity;

#[derive(Clone)]
pub(super) struct Authorise(pub(super) Arc<AccessRules>);

impl Around for Authorise {
    async fn around(self, call: Call, inner: impl Inner) -> Reply {
        let method = call.uri().path();
        // Why the caller is unknown says more than that it is.
        if self.0.access(method) != Some(Access::Anyone)
            && let Some(Unidentified(status)) = call.extensions().get()
        {
            return status.clone().into_http();
        }
        match self.0.check(method, call.extensions().get::<Identity>()) {
            Ok(()) => inner.pass(call).await,
            Err(status) => status.into_http(),
        }
    }
}
