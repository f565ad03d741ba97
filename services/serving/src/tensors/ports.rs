//! What a model takes and gives, in the protocol's words.

use loadline_models::{Port, tensor::shape_text};
use loadline_proto::inference::model_metadata_response::TensorMetadata;

/// As metadata: -1 for any length.
pub fn metadata(port: &Port) -> TensorMetadata {
    TensorMetadata { name: port.name.clone(), datatype: port.data_type.name().to_owned(), shape: shape(port) }
}

/// Names, for an error.
pub fn listed(ports: &[Port]) -> String {
    ports.iter().map(|port| format!("`{}`", port.name)).collect::<Vec<_>>().join(", ")
}

/// Such as `FP32 [rows, 30]`.
pub fn form(port: &Port) -> String {
    format!("{} {}", port.data_type, shape_text(&port.shape))
}

fn shape(port: &Port) -> Vec<i64> {
    port.shape.iter().map(|length| length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX))).collect()
}
