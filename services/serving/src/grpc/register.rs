//! A file as it comes, checked, and registered.

use crate::{Serving, aliases::sound_header, status::ServingError, tensors::Invalid};
use bytes::{Bytes, BytesMut};
use loadline_models::{
    onnx,
    registry::{NewVersion, Version},
};
use loadline_proto::serving::{RegisterHeader, RegisterRequest, register_request::Part};
use tonic::{Status, Streaming};

/// A header, then a file of at most so many bytes.
///
/// # Errors
/// A header that no registry takes, found before the file is sent; parts that are missing, come twice or in another order; a file that
/// is too large, found before it is kept.
pub async fn receive(mut parts: Streaming<RegisterRequest>, most: u64) -> Result<(RegisterHeader, Bytes), Status> {
    let wrong = |field: &str, detail: &str| Status::from(ServingError::from(Invalid::new(field, detail)));
    let first = parts.message().await?.and_then(|request| request.part);
    let Some(Part::Header(header)) = first else { return Err(wrong("header", "comes first")) };
    sound_header(&header.model, &header.properties.clone().into_iter().collect())?;
    let mut file = BytesMut::new();
    while let Some(request) = parts.message().await? {
        match request.part {
            Some(Part::Chunk(chunk)) if (file.len() + chunk.len()) as u64 > most => {
                return Err(wrong("chunk", &format!("the file is larger than {most} bytes, the limit of serving.file_bytes")));
            }
            Some(Part::Chunk(chunk)) => file.extend_from_slice(&chunk),
            Some(Part::Header(_)) => return Err(wrong("header", "comes once")),
            None => return Err(wrong("part", "is absent; after the header comes the file, in chunks")),
        }
    }
    Ok((header, file.freeze()))
}

/// Registers a file that can be served, as it is served: it was loaded, and answered its golden vectors, in a process with limits.
///
/// # Errors
/// What in the file is not supported; the registry's.
pub async fn register(serving: &Serving, header: RegisterHeader, file: Bytes) -> Result<Version, ServingError> {
    serving.library.checker().check(file.clone()).await?;
    let checked = tokio::task::spawn_blocking(move || onnx::check(&file)).await;
    let checked = checked.map_err(|_| Invalid::new("chunk", "the file makes its check fail; it cannot be served"))??;
    let new = NewVersion { properties: header.properties.into_iter().collect() };
    let version = serving.library.registry().register(&header.model, checked.bytes.into(), new).await?;
    tracing::info!(model = header.model, version = version.number, sha256 = ?version.sha256, "registered");
    Ok(version)
}
