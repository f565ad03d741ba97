//! An answer as it is kept, in memory and as bytes.

use super::Key;
use crate::tensors::{raw, response};
use bytes::Bytes;
use loadline_models::{DataType, Sha256, Tensor};
use loadline_proto::inference::{ModelInferResponse, model_infer_response::InferOutputTensor};
use prost::Message as _;
use std::sync::Arc;

/// Of the form below; another build's entries are misses.
const FORM: u8 = 1;
/// Bytes of the checksum behind the rest.
const CHECKSUM: usize = 16;
/// What an entry costs beside its values: its place, its key and its allocations.
const OVERHEAD: usize = 256;

/// All outputs of an artifact to one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Who gave the answer, and to what.
    pub key: Key,
    /// The answer.
    pub outputs: Arc<[Tensor]>,
}

impl Entry {
    /// What it takes of the memory that a cache may use, in bytes.
    pub fn weight(&self) -> u64 {
        let tensor = |tensor: &Tensor| OVERHEAD + tensor.name.len() + raw::length(&tensor.values);
        (OVERHEAD + self.outputs.iter().map(tensor).sum::<usize>()) as u64
    }

    /// Form, artifact, proof, the outputs as the protocol writes them, and a checksum of it all.
    pub fn encoded(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend(self.key.artifact.as_bytes());
        bytes.extend(self.key.proof);
        let mut answer = ModelInferResponse::default();
        response::fill(&mut answer, self.outputs.to_vec(), None, true);
        bytes.extend(answer.encode_to_vec());
        let sum = blake3::hash(&bytes);
        bytes.extend(&sum.as_bytes()[..CHECKSUM]);
        bytes
    }

    /// What [`Entry::encoded`] wrote. `artifact` is whose answers are looked for, which an entry has to name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decoded(bytes: &[u8], artifact: Sha256) -> Result<Self, Damaged> {
        let (rest, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Damaged("it is too short"))?;
        if blake3::hash(rest).as_bytes()[..CHECKSUM] != sum[..] {
            return Err(Damaged("its checksum is another"));
        }
        let (head, answer) = rest.split_first_chunk::<65>().ok_or(Damaged("it is too short"))?;
        let (&[FORM], names) = head.split_first_chunk::<1>().ok_or(Damaged("it is too short"))? else {
            return Err(Damaged("it is of another form"));
        };
        let (named, proof) = names.split_at(32);
        if named != artifact.as_bytes() {
            return Err(Damaged("it names another artifact"));
        }
        let proof = proof.try_into().map_err(|_| Damaged("it is too short"))?;
        let answer = ModelInferResponse::decode(answer).map_err(|_| Damaged("its answer is none"))?;
        let contents = answer.raw_output_contents.into_iter();
        let outputs: Option<Vec<Tensor>> = answer.outputs.into_iter().zip(contents).map(tensor).collect();
        let outputs = outputs.ok_or(Damaged("its values do not fit their shape"))?;
        Ok(Self { key: Key { artifact, proof }, outputs: outputs.into() })
    }
}

/// Bytes that are no entry; a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the cache is damaged: {0}")]
pub struct Damaged(&'static str);

fn tensor((output, bytes): (InferOutputTensor, Bytes)) -> Option<Tensor> {
    let shape: Option<Vec<usize>> = output.shape.iter().map(|length| usize::try_from(*length).ok()).collect();
    let shape = shape?;
    let count = shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))?;
    let values = raw::values(DataType::named(&output.datatype)?, &bytes, count).ok()?;
    Some(Tensor { name: output.name, shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_models::Values;

    fn entry() -> Entry {
        let outputs = vec![
            Tensor::new("label", [1], Values::Text(vec!["home".to_owned()])),
            Tensor::new("probabilities", [1, 3], Values::F32(vec![0.5, 0.3, 0.2])),
        ];
        Entry { key: Key::of(Sha256::of(b"a"), &[]), outputs: outputs.into() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(Entry::decoded(&entry().encoded(), Sha256::of(b"a")), Ok(entry()));
        assert!(entry().weight() > 3 * 256);
    }

    #[test]
    fn no_entry_that_was_cut_or_changed_is_read_and_none_of_another_artifact() {
        let bytes = entry().encoded();
        for at in 0..bytes.len() {
            assert!(Entry::decoded(&bytes[..at], Sha256::of(b"a")).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Entry::decoded(&changed, Sha256::of(b"a")).is_err(), "changed at {at}");
        }
        assert_eq!(Entry::decoded(&bytes, Sha256::of(b"b")), Err(Damaged("it names another artifact")));
    }
}
