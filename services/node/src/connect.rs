//! A lazy connection to a service, calls that end, and errors that say what to do.

use crate::output::clean_lines;
use anyhow::{Context as _, anyhow};
use std::{error::Error, io, time::Duration};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

/// Most that a call may take, connecting and queueing included.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// What is left for the way back when the server has used up its deadline.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// Where ingest listens.
#[derive(Debug, Clone, clap::Args)]
pub struct IngestAddress {
    /// Address of the ingest service
    #[arg(long, env = "LOADLINE_INGEST", default_value = "127.0.0.1:7401", value_name = "HOST:PORT", global = true)]
    pub ingest: String,
}

/// Where query listens.
#[derive(Debug, Clone, clap::Args)]
pub struct QueryAddress {
    /// Address of the query service
    #[arg(long, env = "LOADLINE_QUERY", default_value = "127.0.0.1:7402", value_name = "HOST:PORT", global = true)]
    pub query: String,
}

/// Where rollup listens.
#[derive(Debug, Clone, clap::Args)]
pub struct RollupAddress {
    /// Address of the rollup service
    #[arg(long, env = "LOADLINE_ROLLUP", default_value = "127.0.0.1:7403", value_name = "HOST:PORT", global = true)]
    pub rollup: String,
}

/// Where serving listens.
#[derive(Debug, Clone, clap::Args)]
pub struct ServingAddress {
    /// Address of the serving service
    #[arg(long, env = "LOADLINE_SERVING", default_value = "127.0.0.1:7404", value_name = "HOST:PORT", global = true)]
    pub serving: String,
}

impl ServingAddress {
    /// A lazy connection.
    ///
    /// # Errors
    /// When it is no address.
    pub fn connect(&self) -> anyhow::Result<Peer> {
        Peer::new("serving", &self.serving)
    }
}

impl RollupAddress {
    /// A lazy connection.
    ///
    /// # Errors
    /// When it is no address.
    pub fn connect(&self) -> anyhow::Result<Peer> {
        Peer::new("rollup", &self.rollup)
    }
}

impl IngestAddress {
    /// A lazy connection.
    ///
    /// # Errors
    /// When it is no address.
    pub fn connect(&self) -> anyhow::Result<Peer> {
        Peer::new("ingest", &self.ingest)
    }
}

impl QueryAddress {
    /// A lazy connection.
    ///
    /// # Errors
    /// When it is no address.
    pub fn connect(&self) -> anyhow::Result<Peer> {
        Peer::new("query", &self.query)
    }
}

/// A service somewhere, connected to by the first call.
#[derive(Debug, Clone)]
pub struct Peer {
    service: &'static str,
    address: String,
    /// For the generated clients.
    pub channel: Channel,
}

impl Peer {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When it is no address.
    pub fn new(service: &'static str, address: &str) -> anyhow::Result<Self> {
        Ok(Self {
            service,
            address: address.to_owned(),
            channel: channel(address).with_context(|| format!("address of {service}"))?,
        })
    }

    /// A request that tells the server how long somebody waits for it.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT - ROUND_TRIP);
        request
    }

    /// Waits for an answer, [`CALL_TIMEOUT`] at most.
    ///
    /// # Errors
    /// In words that say what to do.
    pub async fn call<T>(&self, reply: impl Future<Output = Result<Response<T>, Status>>) -> anyhow::Result<T> {
        self.heard(reply).await?.map_err(|status| self.explain(&status))
    }

    /// The same, for who makes something of a refusal.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub async fn heard<T>(&self, reply: impl Future<Output = Result<Response<T>, Status>>) -> anyhow::Result<Result<T, Status>> {
        let reply = tokio::time::timeout(CALL_TIMEOUT, reply).await.map_err(|_| self.silent())?;
        Ok(reply.map(Response::into_inner))
    }

    /// The error of a call that nobody answered in time.
    pub fn silent(&self) -> anyhow::Error {
        let Self { service, address, .. } = self;
        anyhow!("{service} at {address} did not answer within {} s; it may be overloaded or unreachable", CALL_TIMEOUT.as_secs())
    }

    /// What a failed call means, and what to do.
    pub fn explain(&self, status: &Status) -> anyhow::Error {
        let Self { service, address, .. } = self;
        if let Some(error) = network_error(status) {
            let variable = service.to_uppercase();
            return anyhow!(
                "nothing answers at {address} ({error}). Is `loadline up` running? Start it, or say where {service} listens with \
                 --{service} or LOADLINE_{variable}"
            );
        }
        let mut text = match status.code() {
            Code::Unavailable => format!("{service} at {address} is unavailable: {}", status.message()),
            code => format!("{service} at {address} refused the call ({}): {}", name(code), status.message()),
        };
        for detail in details(status).into_iter().filter(|detail| !status.message().contains(detail)) {
            text.push_str("\n  ");
            text.push_str(&detail);
        }
        anyhow!(clean_lines(&text))
    }
}

/// A channel that connects with its first call and again whenever it must. It notices a dead peer within 15 s, also while
/// nothing is asked.
///
/// # Errors
/// When `address` is neither `host:port` nor `http://host:port`.
pub fn channel(address: &str) -> anyhow::Result<Channel> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let wrong = || format!("{address:?} is no address; write host:port, such as 127.0.0.1:7401");
    let endpoint = Endpoint::from_shared(url).with_context(wrong)?;
    if endpoint.uri().port().is_none() || endpoint.uri().scheme_str() != Some("http") {
        return Err(anyhow!(wrong()));
    }
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    Ok(endpoint.connect_lazy())
}

/// Whether the same call, made again, fails the same way: what was sent is wrong, or not allowed.
pub fn is_lasting(status: &Status) -> bool {
    use Code::{FailedPrecondition, InvalidArgument, NotFound, OutOfRange, PermissionDenied, Unauthenticated, Unimplemented};
    let lasting = [InvalidArgument, NotFound, OutOfRange, FailedPrecondition, PermissionDenied, Unauthenticated, Unimplemented];
    lasting.contains(&status.code())
}

/// The operating system's word on why there is no connection.
pub fn network_error(status: &Status) -> Option<&io::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return (status.code() == Code::Unavailable).then_some(error);
        }
        cause = error.source();
    }
    None
}

/// The rich part of an error: fields, reason, help.
fn details(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let fields = details.bad_request().into_iter().flat_map(|request| &request.field_violations);
    let preconditions = details.precondition_failure().into_iter().flat_map(|failure| &failure.violations);
    let preconditions = preconditions.filter(|fault| !status.message().contains(&fault.description));
    let links = details.help().into_iter().flat_map(|help| &help.links);
    fields
        .map(|fault| format!("{}: {}", fault.field, fault.description))
        .chain(preconditions.map(|fault| format!("{}: {}", fault.subject, fault.description)))
        .chain(links.map(|link| format!("{} {}", link.description, link.url)))
        .collect()
}

/// `InvalidArgument` as `INVALID_ARGUMENT`, the way other languages and grpcurl show it.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_proto::ingest::{ListStreamsRequest, stream_service_client::StreamServiceClient};
    use tonic_types::ErrorDetails;

    #[tokio::test]
    async fn when_nothing_listens_the_error_says_how_to_start_it() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let peer = Peer::new("ingest", &free.to_string()).unwrap();
        let mut client = StreamServiceClient::new(peer.channel.clone());
        let error = peer.call(client.list(peer.request(ListStreamsRequest {}))).await.unwrap_err().to_string();
        assert!(
            error.contains(&free.to_string()) && error.contains("loadline up") && error.contains("LOADLINE_INGEST"),
            "{error}"
        );
        assert!(error.contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn an_address_needs_host_and_port() {
        for address in ["", "127.0.0.1", "http://", "https://127.0.0.1:1", "a b:1"] {
            let error = format!("{:#}", Peer::new("query", address).map(|_| ()).unwrap_err());
            assert!(error.contains("host:port"), "{error}");
        }
        assert!(Peer::new("query", "localhost:7402").is_ok() && Peer::new("query", "http://[::1]:7402").is_ok());
    }

    #[tokio::test]
    async fn a_rich_error_shows_its_fields_and_no_escape() {
        let mut rich = ErrorDetails::new();
        rich.add_bad_request_violation("to", "is before from\u{1b}[2J; swap them");
        rich.add_bad_request_violation("said", "already");
        let status = Status::with_error_details(Code::InvalidArgument, "the range is upside down; said: already", rich);
        let error = Peer::new("query", "127.0.0.1:1").unwrap().explain(&status).to_string();
        assert!(error.contains("INVALID_ARGUMENT") && error.contains("\n  to: is before from\u{fffd}[2J; swap them"), "{error}");
        assert_eq!(error.matches("said: already").count(), 1);
        let twice = ErrorDetails::with_precondition_failure_violation("UNCHANGED", "champion", "names version 1 already");
        let status = Status::with_error_details(Code::FailedPrecondition, "names version 1 already", twice);
        let error = Peer::new("serving", "127.0.0.1:1").unwrap().explain(&status).to_string();
        assert_eq!(error.matches("already").count(), 1, "{error}");
        assert!(is_lasting(&status) && !is_lasting(&Status::unavailable("")));
    }
}
