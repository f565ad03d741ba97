//! What an answer is kept under: the artifact that gives it, and what it is asked.

use crate::tensors::canonical;
use loadline_models::{Sha256, Tensor};

/// The name of a question to an artifact. Another artifact has other names for all of its questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Who is asked.
    pub artifact: Sha256,
    /// BLAKE3 of the artifact's hash and the inputs in their canonical form: entries are found by half of it, and are taken for an answer
    /// only if they have all of it.
    pub proof: [u8; 32],
}

impl Key {
    /// Of inputs in the order of the artifact's inputs.
    pub fn of(artifact: Sha256, inputs: &[Tensor]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("loadline prediction cache 1");
        canonical::part(&mut hasher, artifact.as_bytes());
        canonical::tensors(&mut hasher, inputs);
        Self { artifact, proof: *hasher.finalize().as_bytes() }
    }

    /// Where it is looked for.
    pub fn index(&self) -> u128 {
        let (index, _) = self.proof.split_first_chunk().expect("half of 32 bytes");
        u128::from_le_bytes(*index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_models::Values;

    fn key(artifact: &[u8], shape: &[usize], values: Values) -> Key {
        Key::of(Sha256::of(artifact), &[Tensor::new("x", shape, values)])
    }

    #[test]
    fn the_same_question_to_the_same_artifact_has_one_name_and_every_other_another() {
        let one = || key(b"a", &[1, 2], Values::F32(vec![1.0, 0.0]));
        assert_eq!((one(), one().index()), (one(), one().index()));
        let others = [
            key(b"b", &[1, 2], Values::F32(vec![1.0, 0.0])),
            key(b"a", &[2, 1], Values::F32(vec![1.0, 0.0])),
            key(b"a", &[1, 2], Values::F32(vec![0.0, 1.0])),
            key(b"a", &[1, 2], Values::F32(vec![1.0, -0.0])),
            key(b"a", &[1, 2], Values::I32(vec![1.0f32.to_bits().cast_signed(), 0])),
        ];
        let indices: std::collections::BTreeSet<u128> = others.iter().chain([&one()]).map(Key::index).collect();
        assert_eq!(indices.len(), 6);
    }
}
