//! gRPC clients of the services, as another program would use them.

use anyhow::{Context, Result};
use loadline_proto::{
    health::failure_mode_service_client::FailureModeServiceClient,
    ingest::{
        dead_letter_service_client::DeadLetterServiceClient, event_service_client::EventServiceClient,
        stream_service_client::StreamServiceClient,
    },
    query::usage_service_client::UsageServiceClient,
    rollup::job_service_client::JobServiceClient,
};
use std::{net::SocketAddr, time::Duration};
use tonic::transport::{Channel, Endpoint};

/// Clients over one connection. Which services answer depends on who listens there.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Publishing.
    pub events: EventServiceClient<Channel>,
    /// Progress and losses.
    pub streams: StreamServiceClient<Channel>,
    /// What could not be counted.
    pub dead_letters: DeadLetterServiceClient<Channel>,
    /// What was.
    pub usage: UsageServiceClient<Channel>,
    /// What is done in the background.
    pub jobs: JobServiceClient<Channel>,
    /// How it fails.
    pub failure_modes: FailureModeServiceClient<Channel>,
}

impl Clients {
    /// Connects at once. Every call ends within ten seconds.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let endpoint = Self::endpoint(address)?;
        Ok(Self::over(endpoint.connect().await.with_context(|| format!("gRPC to {address}"))?))
    }

    /// Connects with the first call, and again after each loss: what a client of a restarting service needs.
    ///
    /// # Errors
    /// When the address makes no URL, which an address does.
    pub fn lazy(address: SocketAddr) -> Result<Self> {
        Ok(Self::over(Self::endpoint(address)?.connect_lazy()))
    }

    fn endpoint(address: SocketAddr) -> Result<Endpoint> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        Ok(endpoint.connect_timeout(Duration::from_secs(2)).timeout(Duration::from_secs(10)))
    }

    fn over(channel: Channel) -> Self {
        Self {
            events: EventServiceClient::new(channel.clone()),
            streams: StreamServiceClient::new(channel.clone()),
            dead_letters: DeadLetterServiceClient::new(channel.clone()),
            usage: UsageServiceClient::new(channel.clone()),
            jobs: JobServiceClient::new(channel.clone()),
            failure_modes: FailureModeServiceClient::new(channel),
        }
    }
}
