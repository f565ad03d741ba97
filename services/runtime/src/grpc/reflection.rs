//! Reflection: `grpcurl` without files.

use tonic_reflection::server::{Builder, Error, v1, v1alpha};

/// Descriptors that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the file descriptor set cannot be served through reflection: {0}")]
pub struct ReflectionError(#[from] Error);

/// Both reflection services (v1, and v1alpha for older clients) over an encoded file descriptor set; add both to the routes. Of the
/// services that it describes these are listed, by their full names, and reflection itself: what is listed can be called here.
///
/// # Errors
/// When the descriptors cannot be decoded.
pub fn reflection(
    descriptors: &'static [u8],
    services: &[&str],
) -> Result<
    (v1::ServerReflectionServer<impl v1::ServerReflection>, v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>),
    ReflectionError,
> {
    // With the standard error details, so that clients show them in words.
    let builder = |itself: &str| {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        services.iter().fold(builder.with_service_name(itself), |builder, service| builder.with_service_name(*service))
    };
    let (v1, v1alpha) = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection");
    Ok((builder(v1).build_v1()?, builder(v1alpha).build_v1alpha()?))
}
