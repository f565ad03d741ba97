//! Past saturation: requests of many rows, of a server in a process of its own. To ask for a row costs callers as much as the answer
//! costs the server: on the same cores they could not ask for more than it answers. And in one process callers would wait for each
//! other, which would be taken for its time.

use super::{
    MODEL, ServingArgs, channels, file, inputs_of,
    load::closed,
    promoted, request, server,
    wire::{Call, call},
};
use crate::bench::open_loop::{self, Waits};
use anyhow::Context as _;
use loadline_runtime::config::ByteSize;
use serde::Serialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tonic::Code;

/// Calls in flight that find out what the server answers.
const IN_FLIGHT: usize = 16;
/// Seconds that do not count: until the server knows that what waits is no burst.
const WARM_UP: u32 = 1;

#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// ONNX file, as of `bench serving`
    #[arg(long)]
    model: Option<PathBuf>,
}

/// Serves the model on a free port, tells the address in a line, and goes on until it is killed.
///
/// # Errors
/// When it cannot.
pub async fn serve(args: ServerArgs) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir().context("a folder for scratch files")?;
    let (address, _life) = server(scratch.path(), ByteSize(0), None).await?;
    promoted(&channels(address, 1)?[0], MODEL, file(args.model.as_deref()).await?).await?;
    println!("{address}");
    std::future::pending().await
}

/// What became of the calls of a rate, from the second second on.
#[derive(Debug, Serialize)]
pub struct Overload {
    rows: u32,
    /// In a closed loop.
    most_per_second: f64,
    offered_per_second: u32,
    answered_per_second: f64,
    shed: usize,
    /// Refused or broken in any other way than RESOURCE_EXHAUSTED.
    failed: usize,
    /// Of those answered, from when each was due.
    p50_ms: f64,
    p99_ms: f64,
    /// By which the machine woke the callers late.
    wake_up_p99_ms: f64,
}

/// Calls, so many times what the server answers.
///
/// # Errors
/// When the server cannot be started, or nothing was answered.
pub async fn measured(args: &ServingArgs) -> anyhow::Result<Overload> {
    let (rows, seconds, connections) = (args.overload_rows.max(1), args.overload_seconds.max(1), args.overload_connections);
    let (address, _server) = apart(args.model.as_deref()).await?;
    let channels = channels(address, connections)?;
    let infer =
        Call::new("/inference.GRPCInferenceService/ModelInfer", &request(MODEL, &inputs_of(&channels[0], MODEL).await?, rows));
    let most = closed(&channels, &infer, IN_FLIGHT, Duration::from_secs(1)).await?.per_second;
    let rate = (most * args.overload) as u32;
    eprintln!("{rate} a second of {rows} rows …");
    let count = rate.saturating_mul(seconds + WARM_UP);
    let (replies, late) = open_loop::replies(rate, count, |index| {
        let (channel, of) = (channels[index as usize % channels.len()].clone(), infer.clone());
        async move { call(channel, of).await.map(drop).map_err(|status| status.code()) }
    })
    .await?;
    let (mut waits, mut shed, mut failed) = (Vec::new(), 0, 0);
    for (wait, reply) in replies.into_iter().skip((rate * WARM_UP) as usize) {
        match reply {
            Ok(()) => waits.push(wait),
            Err(Code::ResourceExhausted) => shed += 1,
            Err(_) => failed += 1,
        }
    }
    let answered = waits.len();
    let waits = Waits::of(answered + shed + failed, failed, waits, late)?;
    Ok(Overload {
        rows,
        most_per_second: most,
        offered_per_second: rate,
        answered_per_second: answered as f64 / f64::from(seconds),
        shed,
        failed,
        p50_ms: waits.ms(0.5),
        p99_ms: waits.ms(0.99),
        wake_up_p99_ms: waits.wake_up_ms(0.99),
    })
}

/// [`serve`], in a process of its own.
async fn apart(model: Option<&Path>) -> anyhow::Result<(SocketAddr, Child)> {
    let mut command = Command::new(std::env::current_exe().context("this program")?);
    command.args(["bench", "server"]);
    if let Some(model) = model {
        command.arg("--model").arg(model);
    }
    let mut server = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().context("starting a server")?;
    let told = server.stdout.take().context("what the server tells")?;
    let line = BufReader::new(told).lines().next_line().await?.context("the server ended before it told its address")?;
    Ok((line.parse().with_context(|| format!("an address of the server: {line}"))?, server))
}

impl Overload {
    /// In a line.
    pub fn text(&self) -> String {
        let Self { rows, most_per_second, offered_per_second, answered_per_second, shed, failed, p50_ms, p99_ms, wake_up_p99_ms } =
            self;
        format!(
            "overload  {rows} rows, {most_per_second:.0}/s at most: {offered_per_second}/s asked  {answered_per_second:.0}/s answered  \
             p50 {p50_ms:.1} ms  p99 {p99_ms:.1} ms  {shed} shed  {failed} failed  (the machine wakes {wake_up_p99_ms:.2} ms late)\n"
        )
    }
}
