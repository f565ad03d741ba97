//! Following one peer: a connection that notices when nobody is at its other end, and what is said over it.

use super::{Peer, Seen, Standing, Who};
use loadline_proto::{
    grpc_health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    health::{WatchRequest, failure_mode_service_client::FailureModeServiceClient},
};
use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// Pause before it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// How long connecting, and a first answer, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A peer that does not even answer a ping for so long is gone, though its connection stands.
const PINGS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// How often it is asked who it is: a configuration may be replaced while it runs.
const IDENTIFY: Duration = Duration::from_secs(5);

/// Keeps `seen` at what is seen of a peer, until dropped or found to be the process that looks, whose boot is `own`.
pub async fn follow(peer: Peer, own: String, seen: Arc<Mutex<Seen>>) {
    let note = |change: &dyn Fn(&mut Seen)| change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
    loop {
        match watch(&peer, &own, &note).await {
            Ok(()) => return,
            Err(why) => note(&|seen| seen.stands(Standing::Down(why.clone()), Instant::now())),
        }
        sleep(RETRY_AFTER).await;
    }
}

/// Ends well only where the peer is this process.
async fn watch(peer: &Peer, own: &str, note: &(dyn Fn(&dyn Fn(&mut Seen)) + Sync)) -> Result<(), String> {
    let channel = reach(&peer.address).await?;
    let who = identify(channel.clone()).await?;
    if who.boot == own {
        note(&|seen| seen.stands(Standing::Myself, Instant::now()));
        return Ok(());
    }
    if who.service != peer.service {
        return Err(format!("{} answers there", who.service));
    }
    note(&|seen| seen.who = Some(who.clone()));
    let mut client = HealthClient::new(channel.clone());
    let watched = timeout(PATIENCE, client.watch(HealthCheckRequest::default())).await.map_err(|_| silent())?;
    let mut statuses = watched.map_err(|status| told(&status))?.into_inner();
    let mut identifying = interval(IDENTIFY);
    identifying.set_missed_tick_behavior(MissedTickBehavior::Delay);
    identifying.reset();
    loop {
        tokio::select! {
            said = statuses.message() => {
                let said = said.map_err(|status| told(&status))?.ok_or("its health stream ended")?;
                note(&|seen| seen.stands(standing(said.status()), Instant::now()));
            }
            _ = identifying.tick() => {
                // Whether it serves is said by the stream: one that is too busy to say who it is may still serve.
                if let Ok(who) = identify(channel.clone()).await {
                    note(&|seen| seen.who = Some(who.clone()));
                }
            }
        }
    }
}

fn standing(said: ServingStatus) -> Standing {
    match said {
        ServingStatus::Serving => Standing::Serving,
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
            Standing::Down("it says that it does not serve".to_owned())
        }
    }
}

/// A connection to a gRPC port.
///
/// # Errors
/// In words, why there is none.
pub async fn reach(address: &str) -> Result<Channel, String> {
    let (every, within) = PINGS;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let endpoint = endpoint.connect_timeout(PATIENCE).http2_keep_alive_interval(every).keep_alive_timeout(within);
    let connected = timeout(PATIENCE, endpoint.keep_alive_while_idle(true).connect()).await.map_err(|_| silent())?;
    connected.map_err(|error| format!("it cannot be reached: {}", cause(&error)))
}

/// Who is at the other end.
///
/// # Errors
/// In words, why that cannot be told.
pub async fn identify(channel: Channel) -> Result<Who, String> {
    let asked = async {
        let mut client = FailureModeServiceClient::new(channel);
        client.watch(WatchRequest::default()).await?.into_inner().message().await
    };
    let frame = timeout(PATIENCE, asked).await.map_err(|_| silent())?.map_err(|status| told(&status))?;
    let frame = frame.ok_or("it says nothing of itself")?;
    let (service, instance, boot) = (frame.service, frame.instance, frame.boot_id);
    Ok(Who { service, instance, boot, configuration: frame.configuration })
}

fn silent() -> String {
    format!("no answer within {PATIENCE:?}")
}

fn told(status: &Status) -> String {
    match status.source() {
        Some(source) => format!("its connection broke: {}", cause(source)),
        None => format!("it answers {}: {}", status.code(), status.message()),
    }
}

/// The innermost cause: what is around it only says that something failed.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
