//! Values as bytes: row-major, little-endian, without gaps; a text after its length in four bytes.

use bytes::Bytes;
use loadline_models::{DataType, Values};

/// So many values of a type.
///
/// # Errors
/// What is wrong with the bytes.
pub fn values(data_type: DataType, bytes: &Bytes, count: usize) -> Result<Values, String> {
    Ok(match data_type {
        DataType::Bool => Values::Bool(bools(bytes, count)?),
        DataType::I32 => Values::I32(numbers(bytes, count, i32::from_le_bytes)?),
        DataType::I64 => Values::I64(numbers(bytes, count, i64::from_le_bytes)?),
        DataType::F32 => Values::F32(numbers(bytes, count, f32::from_le_bytes)?),
        DataType::F64 => Values::F64(numbers(bytes, count, f64::from_le_bytes)?),
        DataType::Text => Values::Text(texts(bytes, count)?),
    })
}

/// The bytes of values.
pub fn bytes(values: &Values) -> Bytes {
    fn numbers<T: Copy, const N: usize>(values: &[T], write: fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|value| write(*value)).collect()
    }
    let length = length(values);
    let bytes = match values {
        Values::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
        Values::I32(values) => numbers(values, i32::to_le_bytes),
        Values::I64(values) => numbers(values, i64::to_le_bytes),
        Values::F32(values) => numbers(values, f32::to_le_bytes),
        Values::F64(values) => numbers(values, f64::to_le_bytes),
        Values::Text(values) => {
            let mut bytes = Vec::with_capacity(length);
            for value in values {
                bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend(value.as_bytes());
            }
            bytes
        }
    };
    bytes.into()
}

/// How many bytes they are.
pub fn length(values: &Values) -> usize {
    match values {
        Values::Bool(values) => values.len(),
        Values::I32(values) => size_of_val(&**values),
        Values::I64(values) => size_of_val(&**values),
        Values::F32(values) => size_of_val(&**values),
        Values::F64(values) => size_of_val(&**values),
        Values::Text(values) => values.iter().map(|value| LENGTH + value.len()).sum(),
    }
}

/// Bytes of a text's length.
const LENGTH: usize = 4;

fn numbers<T, const N: usize>(bytes: &[u8], count: usize, read: fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (whole, rest) = bytes.as_chunks::<N>();
    if whole.len() != count || !rest.is_empty() {
        return Err(format!("has {} bytes; {count} values of {N} bytes are {}", bytes.len(), count.saturating_mul(N)));
    }
    Ok(whole.iter().map(|value| read(*value)).collect())
}

fn bools(bytes: &[u8], count: usize) -> Result<Vec<bool>, String> {
    let read = |(index, byte): (usize, u8)| match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("value {index} is {other}; a BOOL is 0 or 1")),
    };
    numbers(bytes, count, u8::from_le_bytes)?.into_iter().enumerate().map(read).collect()
}

fn texts(mut bytes: &[u8], count: usize) -> Result<Vec<String>, String> {
    // Each has at least its length: what the shape claims costs no memory that did not come.
    let mut texts = Vec::with_capacity(count.min(bytes.len() / LENGTH));
    while !bytes.is_empty() {
        let index = texts.len();
        let cut = || format!("ends within value {index}; each is its length in 4 bytes, then its bytes");
        let (length, rest) = bytes.split_first_chunk::<LENGTH>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        texts.push(str::from_utf8(text).map_err(|_| format!("value {index} is no UTF-8 text"))?.to_owned());
        bytes = rest;
    }
    if texts.len() == count { Ok(texts) } else { Err(format!("has {} values; the shape has {count}", texts.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for values in [
            Values::Bool(vec![true, false, true]),
            Values::I32(vec![i32::MIN, 0, 7]),
            Values::I64(vec![i64::MIN, 0, 7]),
            Values::F32(vec![f32::MIN, -0.0, f32::INFINITY]),
            Values::F64(vec![f64::MIN, -0.0, 0.1]),
            Values::Text(["", "é", "\0long enough"].map(str::to_owned).to_vec()),
        ] {
            assert_eq!(bytes(&values).len(), length(&values));
            assert_eq!(super::values(values.data_type(), &bytes(&values), 3), Ok(values));
        }
        assert_eq!(&bytes(&Values::I32(vec![1]))[..], [1, 0, 0, 0], "little-endian");
        assert_eq!(&bytes(&Values::Text(vec!["ab".to_owned()]))[..], [2, 0, 0, 0, b'a', b'b']);
    }

    #[test]
    fn bytes_that_are_no_values_are_refused() {
        let refused = |data_type, bytes: &[u8], count, why: &str| {
            let error = values(data_type, &Bytes::copy_from_slice(bytes), count).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused(DataType::F32, &[0; 9], 2, "9 bytes; 2 values of 4 bytes are 8");
        refused(DataType::F64, &[0; 8], usize::MAX, "8 bytes");
        refused(DataType::Bool, &[0, 2], 2, "value 1 is 2");
        refused(DataType::Text, &[255, 255, 255, 255, 0], 1, "ends within value 0");
        refused(DataType::Text, &[0, 0, 0], 1, "ends within value 0");
        refused(DataType::Text, &[1, 0, 0, 0, 0xff], 1, "value 0 is no UTF-8");
        refused(DataType::Text, &[0, 0, 0, 0], usize::MAX, "1 values");
    }
}
