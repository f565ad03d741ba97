//! Compiles the contracts with protox, so that no protoc has to be installed.

use prost::Message as _;
use std::{env, fs, path::PathBuf};

const FILES: &[&str] = &[
    "loadline/common/v1/stream.proto",
    "loadline/event/v1/event.proto",
    "loadline/ingest/v1/event_service.proto",
    "loadline/ingest/v1/stream_service.proto",
    "loadline/ingest/v1/dead_letter_service.proto",
    "loadline/query/v1/usage_service.proto",
    "loadline/rollup/v1/job_service.proto",
    "loadline/serving/v1/model_service.proto",
    "loadline/serving/v1/prediction_job_service.proto",
    "loadline/serving/v1/prediction_service.proto",
    "loadline/health/v1/drill.proto",
    "loadline/health/v1/remedy.proto",
    "loadline/health/v1/failure_mode_service.proto",
    "grpc/health/v1/health.proto",
    "inference/grpc_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=loadline");
    println!("cargo:rerun-if-changed=grpc");
    println!("cargo:rerun-if-changed=inference");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::codec::Codec")
        .client_mod_attribute(".", "#[cfg(feature = \"services\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"services\")]")
        .bytes(".loadline.ingest.v1.DeadLetter.payload")
        .bytes(".loadline.serving.v1.RegisterRequest.chunk")
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .compile_fds(descriptors)?;
    Ok(())
}
