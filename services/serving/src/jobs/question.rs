//! A question as it is kept, and the id that is made of it.

use crate::{
    resident::Loaded,
    status::ServingError,
    tensors::{
        Invalid, canonical,
        request::{self, Asked},
    },
};
use loadline_models::Sha256;
use loadline_proto::inference::ModelInferRequest;
use loadline_store::NewPrediction;
use prost::Message as _;
use std::time::Duration;

/// Longest key of a question, in bytes.
const LONGEST_KEY: usize = 128;

/// What a caller wants to know, and from whom.
pub struct Question {
    /// As ModelInfer takes it.
    pub request: ModelInferRequest,
    /// Another key makes another job of the same inputs.
    pub key: String,
    /// How long anybody wants the answer.
    pub valid_for: Option<Duration>,
    /// Who asks.
    pub submitted_by: String,
}

/// Checks a question as its version will read it, and makes a job of it.
///
/// # Errors
/// The first field that is wrong.
pub fn job(question: Question, version: &Loaded, most_rows: usize) -> Result<NewPrediction, ServingError> {
    let Question { mut request, key, valid_for, submitted_by } = question;
    if key.len() > LONGEST_KEY {
        return Err(Invalid::new("key", format!("has {} bytes; give at most {LONGEST_KEY}", key.len())).into());
    }
    let asked = request::read(request.clone(), &version.inputs, &version.outputs, most_rows)
        .map_err(|Invalid { field, detail }| Invalid { field: format!("question.{field}"), detail })?;
    request.model_name.clone_from(&version.model);
    request.model_version = version.number.to_string();
    Ok(NewPrediction {
        id: id(version.sha256, &asked, &key),
        model: version.model.clone(),
        version: version.number,
        sha256: version.sha256.to_string(),
        submitted_by,
        rows: asked.rows as u64,
        valid_for,
        request: request.encode_to_vec(),
    })
}

/// The same for the same artifact, inputs, outputs wanted, form of the answer and key, in whatever order and form the inputs came.
fn id(sha256: Sha256, asked: &Asked, key: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("loadline prediction job 1");
    let mut part = |bytes: &[u8]| canonical::part(&mut hasher, bytes);
    part(sha256.to_string().as_bytes());
    part(key.as_bytes());
    part(&[asked.raw.into(), asked.outputs.is_some().into()]);
    for output in asked.outputs.iter().flatten() {
        part(&(*output as u64).to_le_bytes());
    }
    canonical::tensors(&mut hasher, &asked.inputs);
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_models::{Tensor, Values};

    fn asked(values: &[f32]) -> Asked {
        let tensor = Tensor { name: "x".to_owned(), shape: vec![1, values.len()], values: Values::F32(values.to_vec()) };
        Asked { inputs: vec![tensor], rows: 1, outputs: None, raw: false, gap: None }
    }

    #[test]
    fn another_question_has_another_id_and_the_same_one_the_same() {
        let (one, two) = (Sha256::of(b"1"), Sha256::of(b"2"));
        let same = id(one, &asked(&[1.0, 2.0]), "");
        assert_eq!(id(one, &asked(&[1.0, 2.0]), ""), same);
        assert_eq!(same.len(), 64);
        let shaped = |shape: &[usize]| {
            let mut asked = asked(&[1.0, 2.0]);
            asked.inputs[0].shape = shape.to_vec();
            asked
        };
        let others = [
            id(two, &asked(&[1.0, 2.0]), ""),
            id(one, &asked(&[1.0, 2.0]), "again"),
            id(one, &asked(&[2.0, 1.0]), ""),
            id(one, &asked(&[1.0, -2.0]), ""),
            id(one, &shaped(&[2, 1]), ""),
            id(one, &Asked { raw: true, ..asked(&[1.0, 2.0]) }, ""),
            id(one, &Asked { outputs: Some(vec![0]), ..asked(&[1.0, 2.0]) }, ""),
            id(one, &Asked { outputs: Some(vec![1]), ..asked(&[1.0, 2.0]) }, ""),
        ];
        let different: std::collections::BTreeSet<_> = others.iter().chain([&same]).collect();
        assert_eq!(different.len(), 9);
    }
}
