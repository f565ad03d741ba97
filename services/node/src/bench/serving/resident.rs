//! What many models take of memory, and how long a service that has their files takes to be ready while its registry is down.

use super::{channels, check, inputs_of, promoted, request, server, wire::Call};
use crate::bench::memory;
use anyhow::Context as _;
use loadline_runtime::config::ByteSize;
use serde::Serialize;
use std::{path::Path, time::Instant};
use tonic::transport::Channel;

/// Nobody listens there.
const NO_REGISTRY: &str = "mlflow+http://127.0.0.1:9";
const MIB: f64 = 1024.0 * 1024.0;

/// With all of them in memory.
#[derive(Debug, Serialize)]
pub struct Resident {
    pub models: u32,
    /// Of their files together.
    pub files_mib: f64,
    /// What the process has more than before them, and more than their files.
    pub above_files_mib: f64,
    /// From the start of the service to READY without its registry.
    pub ready_ms: f64,
}

/// Registers and promotes so many, each another file; then starts anew.
///
/// # Errors
/// When one is not loaded, or the service does not start without its registry.
pub async fn measured(models: u32, file: &[u8], scratch: &Path) -> anyhow::Result<Resident> {
    eprintln!("{models} models in memory …");
    let (address, shutdown) = server(scratch, ByteSize(0), None).await?;
    let channel = &channels(address, 1)?[0];
    let before = memory::resident_mib().context("how much memory is used")?;
    for at in 0..models {
        promoted(channel, &name(at), another(file, at)).await?;
    }
    for at in 0..models {
        answers(channel, &name(at)).await?;
    }
    let after = memory::resident_mib().context("how much memory is used")?;
    shutdown.begin();
    let started = Instant::now();
    let (address, shutdown) = server(scratch, ByteSize(0), Some(NO_REGISTRY)).await?;
    let ready_ms = started.elapsed().as_secs_f64() * 1_000.0;
    let channel = &channels(address, 1)?[0];
    answers(channel, &name(models - 1)).await?;
    shutdown.begin();
    let files_mib = file.len() as f64 * f64::from(models) / MIB;
    Ok(Resident { models, files_mib, above_files_mib: after - before - files_mib, ready_ms })
}

async fn answers(channel: &Channel, name: &str) -> anyhow::Result<()> {
    let request = request(name, &inputs_of(channel, name).await?, 1);
    check(channel, &Call::new("/inference.GRPCInferenceService/ModelInfer", &request)).await
}

fn name(at: u32) -> String {
    format!("bench-{at}")
}

/// The same model in a file of its own: of a field that is there twice the last counts, here the producer's name.
fn another(file: &[u8], at: u32) -> Vec<u8> {
    const PRODUCER_NAME: u8 = 2 << 3 | 2;
    let name = format!("bench {at}");
    [file, &[PRODUCER_NAME, name.len() as u8], name.as_bytes()].concat()
}
