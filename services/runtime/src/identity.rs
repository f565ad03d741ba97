//! Who is calling: the seam between a connection and the rights of whoever is at its other end.
//!
//! A provider turns a [`Peer`] and the request's headers into an [`Identity`], which the gRPC stack puts into the request's
//! extensions. Providers are the only place where trust is decided; services read the identity and nothing else.

use std::net::SocketAddr;

use http::HeaderMap;
use tonic::{Code, Status};

use crate::errors;

/// What a caller may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the platform: may call every method, sees every account.
    Operator,
    /// Another service: may call what is open to services, sees its own accounts.
    Service,
}

impl Role {
    /// The role's name in messages and logs.
    pub fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Service => "service",
        }
    }
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name in audit entries and logs.
    pub name: String,
    /// What the caller may be.
    pub role: Role,
    /// Accounts whose data the caller may see. Empty for an operator means all; empty for a service means none.
    pub accounts: Vec<String>,
}

impl Identity {
    /// The identity that the gRPC stack put into a request, if the method required one.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<&Identity> {
        request.extensions().get()
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address, as the socket says.
    pub addr: SocketAddr,
}

/// Turns a caller into an identity.
#[async_trait::async_trait]
pub trait IdentityProvider: Send + Sync + 'static {
    /// The identity behind one request.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when it cannot be established, `INVALID_ARGUMENT` when what the caller sent is malformed; the message says what to do.
    async fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Identity, Status>;
}

/// Header that narrows a local caller to one account, so that a service's view can be tried from a laptop.
pub const ACCOUNT_HEADER: &str = "x-loadline-account";

/// Identities for **local development only**: whoever reaches the loopback interface is trusted.
///
/// - A loopback peer is the operator `local`, with all accounts.
/// - With the header [`ACCOUNT_HEADER`] it is a service with that one account.
/// - Any other peer is refused: nothing it could send would prove who it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalProvider;

#[async_trait::async_trait]
impl IdentityProvider for LocalProvider {
    async fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Identity, Status> {
        // An IPv4 loopback client of a dual-stack socket arrives as ::ffff:127.0.0.1.
        if !peer.addr.ip().to_canonical().is_loopback() {
            return Err(errors::rich(
                Code::Unauthenticated,
                "NOT_LOOPBACK",
                "only callers on this machine are known to the local identity provider: call from the server's own machine, or \
                 through a tunnel to its loopback address",
                [("peer", peer.addr.ip().to_string())],
            ));
        }
        let Some(account) = headers.get(ACCOUNT_HEADER) else {
            return Ok(Identity { name: "local".to_owned(), role: Role::Operator, accounts: Vec::new() });
        };
        match account.to_str().map(str::trim) {
            Ok(account) if !account.is_empty() => {
                Ok(Identity { name: format!("local/{account}"), role: Role::Service, accounts: vec![account.to_owned()] })
            }
            _ => Err(errors::invalid(ACCOUNT_HEADER, "must be one account's name in visible ASCII, or be left out")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn identify(addr: &str, account: Option<&'static str>) -> Result<Identity, Status> {
        let mut headers = HeaderMap::new();
        if let Some(account) = account {
            headers.insert(ACCOUNT_HEADER, account.parse().expect("a header value"));
        }
        LocalProvider.identify(&Peer { addr: addr.parse().expect("an address") }, &headers).await
    }

    #[tokio::test]
    async fn a_loopback_peer_is_the_operator() {
        for addr in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            let identity = identify(addr, None).await.expect("identified");
            assert_eq!((identity.name.as_str(), identity.role, identity.accounts.len()), ("local", Role::Operator, 0));
        }
    }

    #[tokio::test]
    async fn the_account_header_narrows_to_one_account() {
        let identity = identify("127.0.0.1:5", Some("acme")).await.expect("identified");
        assert_eq!((identity.role, identity.accounts), (Role::Service, vec!["acme".to_owned()]));
    }

    #[tokio::test]
    async fn an_empty_account_header_is_refused_not_ignored() {
        assert_eq!(identify("127.0.0.1:5", Some(" ")).await.expect_err("refused").code(), Code::InvalidArgument);
    }

    #[tokio::test]
    async fn a_remote_peer_is_told_what_to_do() {
        let status = identify("192.0.2.7:5", None).await.expect_err("refused");
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains("call from the server's own machine"), "{}", status.message());
    }
}
