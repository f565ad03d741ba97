//! What the cache of predictions is worth, and what it costs: a row that is known, rows that never are, and the row without a
//! cache.

use super::{
    MODEL, ServingArgs, channels, check,
    load::{Closed, answered},
    promoted, server,
    wire::Call,
};
use anyhow::{Context as _, ensure};
use loadline_proto::inference::{ModelStatisticsRequest, grpc_inference_service_client::GrpcInferenceServiceClient};
use loadline_settings::CacheSettings;
use std::{path::Path, time::Duration};
use tonic::transport::Channel;

/// How long a server that has nothing to do may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// Rounds of each kind.
#[derive(Debug, Default)]
pub struct Cached {
    pub hit: Vec<Closed>,
    pub miss: Vec<Closed>,
    pub off: Vec<Closed>,
}

/// In turns, on a server beside the one without a cache (`plain`), whose `infer` asks a row.
///
/// # Errors
/// When the server does not start, a call fails, or what should be known is not.
pub async fn measured(
    args: &ServingArgs,
    plain: &[Channel],
    infer: &Call,
    file: Vec<u8>,
    scratch: &Path,
) -> anyhow::Result<Cached> {
    let (address, shutdown) = server(scratch, CacheSettings::default().memory, None).await?;
    let with_cache = channels(address, args.connections)?;
    promoted(&with_cache[0], MODEL, file).await?;
    check(&with_cache[0], infer).await?;
    let (lasts, news) = (Duration::from_secs(args.seconds.max(1)), infer.clone().ever_new());
    let mut cached = Cached::default();
    for round in 0..args.rounds.max(1) {
        eprintln!("known, new, without a cache, round {} …", round + 1);
        let before = found(&with_cache[0]).await?;
        cached.hit.push(answered(&with_cache, infer, args.in_flight, lasts).await?);
        let known = found(&with_cache[0]).await?;
        cached.miss.push(answered(&with_cache, &news, args.in_flight, lasts).await?);
        let after = found(&with_cache[0]).await?;
        ensure!(before[1] == known[1] && known[0] == after[0], "hits and misses are not apart: {before:?}, {known:?}, {after:?}");
        cached.off.push(answered(plain, infer, args.in_flight, lasts).await?);
    }
    shutdown.begin();
    // What is measured next must not share the machine with its end.
    tokio::time::sleep(ENDING).await;
    Ok(cached)
}

/// Hits and misses until now.
async fn found(channel: &Channel) -> anyhow::Result<[u64; 2]> {
    let request = ModelStatisticsRequest { name: MODEL.to_owned(), ..ModelStatisticsRequest::default() };
    let told = GrpcInferenceServiceClient::new(channel.clone()).model_statistics(request).await?.into_inner().model_stats;
    let told = told.first().and_then(|version| version.inference_stats).context("no statistics")?;
    Ok([told.cache_hit, told.cache_miss].map(|figure| figure.map_or(0, |figure| figure.count)))
}
