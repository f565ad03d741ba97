//! Sends a file in pieces.

use super::Client;
use crate::{connect::Peer, output::clean};
use anyhow::Context as _;
use bytes::Bytes;
use loadline_proto::serving::{RegisterHeader, RegisterRequest, Version, register_request::Part};
use std::path::Path;

const CHUNK: usize = 1 << 20;

/// A property as it is typed.
///
/// # Errors
/// What to write instead.
pub fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as trained_on=2026-11-20")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Registers a file under a name, that of the file where none is given.
///
/// # Errors
/// When it cannot be read, or serving refuses it.
pub async fn file(
    peer: &Peer,
    mut client: Client,
    path: &Path,
    model: Option<String>,
    properties: Vec<(String, String)>,
) -> anyhow::Result<Version> {
    let shown = || clean(&path.display().to_string());
    let file = tokio::fs::read(path).await.with_context(|| format!("reading {}", shown()))?;
    let named = || path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let model = model.or_else(named).with_context(|| format!("{} is no name for a model; give one with --model", shown()))?;
    let header = RegisterHeader { model, properties: properties.into_iter().collect() };
    let parts = std::iter::once(Part::Header(header)).chain(chunks(file.into()).into_iter().map(Part::Chunk));
    let requests = futures::stream::iter(parts.map(|part| RegisterRequest { part: Some(part) }).collect::<Vec<_>>());
    peer.call(client.register(peer.request(requests))).await?.version.context("serving answered without a version")
}

fn chunks(mut file: Bytes) -> Vec<Bytes> {
    let mut chunks = Vec::with_capacity(file.len() / CHUNK + 1);
    while !file.is_empty() {
        chunks.push(file.split_to(file.len().min(CHUNK)));
    }
    chunks
}
