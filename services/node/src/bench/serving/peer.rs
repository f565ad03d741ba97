//! Another server of the protocol, asked for the same rows in turns with ours.

use super::{
    MODEL, ServingArgs, channels,
    load::answered,
    report::middle,
    request,
    wire::{Call, call},
};
use anyhow::Context as _;
use loadline_proto::inference::model_metadata_response::TensorMetadata;
use serde::Serialize;
use std::{net::SocketAddr, time::Duration};
use tonic::transport::Channel;

/// Medians of rounds in turns.
#[derive(Debug, Serialize)]
pub struct Peer {
    pub ours_per_second: f64,
    pub peers_per_second: f64,
    /// ours / the peer's.
    pub ratio: f64,
    pub ours_p50_ms: f64,
    pub peers_p50_ms: f64,
}

/// Asks the peer, which serves a model of the same inputs under the bench's name, and `ours`.
///
/// # Errors
/// When a call fails.
pub async fn measured(
    args: &ServingArgs,
    peer: SocketAddr,
    ours: (&[Channel], &Call),
    inputs: &[TensorMetadata],
) -> anyhow::Result<Peer> {
    let theirs = channels(peer, args.connections)?;
    let infer = Call::new("/inference.GRPCInferenceService/ModelInfer", &request(MODEL, inputs, 1));
    call(theirs[0].clone(), infer.clone()).await.with_context(|| format!("asking `{MODEL}` of the peer"))?;
    let lasts = Duration::from_secs(args.seconds.max(1));
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for round in 0..args.rounds.max(1) {
        eprintln!("ours, the peer's, round {} …", round + 1);
        for (channels, of, rounds) in [(ours.0, ours.1, &mut own), (&theirs, &infer, &mut other)] {
            rounds.push(answered(channels, of, args.in_flight, lasts).await?);
        }
    }
    let (ours_per_second, peers_per_second) = (middle(&own, |round| round.per_second), middle(&other, |round| round.per_second));
    Ok(Peer {
        ours_per_second,
        peers_per_second,
        ratio: ours_per_second / peers_per_second,
        ours_p50_ms: middle(&own, |round| round.ms(0.5)),
        peers_p50_ms: middle(&other, |round| round.ms(0.5)),
    })
}
