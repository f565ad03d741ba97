//! Tensors in one form of bytes, for whoever names a question by what it asks.

use super::raw;
use blake3::Hasher;
use loadline_models::Tensor;

/// Adds a part with its length: no two lists of parts are one text.
pub fn part(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Adds tensors: the same for the same values, however they came. Floats are their bits, so that 0 and -0 are two questions.
pub fn tensors(hasher: &mut Hasher, tensors: &[Tensor]) {
    for Tensor { name, shape, values } in tensors {
        part(hasher, name.as_bytes());
        part(hasher, values.data_type().name().as_bytes());
        shape.iter().for_each(|length| part(hasher, &(*length as u64).to_le_bytes()));
        part(hasher, &raw::bytes(values));
    }
}
