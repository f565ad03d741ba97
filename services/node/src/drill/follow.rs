//! A drill that was begun, followed to its end over the health stream, however often that breaks.

use crate::connect::Peer;
use anyhow::{Context as _, ensure};
use loadline_proto::health::{
    Delta, DrillRun, Frame, ListDrillsRequest, Snapshot, WatchRequest, drill_run::Verdict,
    drill_service_client::DrillServiceClient, failure_mode_service_client::FailureModeServiceClient, frame::Body,
};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

/// Frames come every second.
const SILENCE: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Watches that break one after the other.
const MOST_BREAKS: u32 = 10;

/// Tells of every change until the end; how it ended.
pub async fn follow(peer: &Peer, mut run: DrillRun, mut tell: impl FnMut(&DrillRun)) -> anyhow::Result<DrillRun> {
    let mut breaks = 0;
    loop {
        let broken = match watched(peer, &mut run, &mut tell).await {
            Ok(()) => return Ok(run),
            Err(error) => error,
        };
        breaks += 1;
        ensure!(breaks < MOST_BREAKS, "the drill goes on, but cannot be followed ({broken:#}); `loadline drill` shows its end");
        sleep(RETRY_AFTER).await;
        if let Some(ended) = ended(peer, &run).await {
            return Ok(ended);
        }
    }
}

/// Follows the stream until the run has ended.
async fn watched(peer: &Peer, run: &mut DrillRun, tell: &mut impl FnMut(&DrillRun)) -> anyhow::Result<()> {
    let mut client = FailureModeServiceClient::<Channel>::new(peer.channel.clone());
    let mut frames = peer.call(client.watch(WatchRequest::default())).await?;
    // What ended before this watch began is not in its frames.
    if let Some(ended) = ended(peer, run).await {
        *run = ended;
        return Ok(());
    }
    loop {
        let frame = timeout(SILENCE, frames.message()).await.context("the health stream is silent")??;
        let news = drills(frame.context("the health stream ended")?).into_iter().find(|news| news.id == run.id);
        if let Some(news) = news {
            let is_new = (news.phase, news.verdict, &news.detail) != (run.phase, run.verdict, &run.detail);
            *run = news;
            if is_new {
                tell(run);
            }
        }
        if run.verdict() != Verdict::Running {
            return Ok(());
        }
    }
}

fn drills(frame: Frame) -> Vec<DrillRun> {
    match frame.body {
        Some(Body::Snapshot(Snapshot { drills, .. }) | Body::Delta(Delta { drills, .. })) => drills,
        Some(Body::Heartbeat(_)) | None => Vec::new(),
    }
}

/// Its result, where there is one.
async fn ended(peer: &Peer, run: &DrillRun) -> Option<DrillRun> {
    let mut client = DrillServiceClient::<Channel>::new(peer.channel.clone());
    let listed = peer.call(client.list(peer.request(ListDrillsRequest {}))).await.ok()?;
    let latest = listed.drills.into_iter().flat_map(|drill| [drill.last, drill.last_control]).flatten();
    latest.into_iter().find(|latest| latest.id == run.id)
}
