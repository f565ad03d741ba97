//! The name of bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256 as Digest};
use std::{fmt, str::FromStr};

/// SHA-256 of a file: its name in the artifact store, and its pin in a registry. Written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

/// A text that is no SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 lower-case hexadecimal digits")]
pub struct NoSha256;

impl Sha256 {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::digest(bytes).into())
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = NoSha256;

    /// One text a value: upper case is refused, so that comparing texts compares values.
    fn from_str(text: &str) -> Result<Self, NoSha256> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NoSha256),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(NoSha256) };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return Err(NoSha256);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the example of one block.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn it_is_the_published_function_and_its_text_reads_back() {
        let sha256 = Sha256::of(b"abc");
        assert_eq!(sha256.to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(sha256));
        assert_eq!(serde_json::from_str::<Sha256>(&format!("\"{ABC}\"")).unwrap(), sha256);
        assert_eq!(serde_json::to_string(&sha256).unwrap(), format!("\"{ABC}\""));
    }

    #[test]
    fn other_texts_are_none() {
        let (short, long) = (&ABC[..63], format!("{ABC}0"));
        let (upper, strange) = (ABC.to_uppercase(), ABC.replace('7', "g"));
        let two_bytes = format!("{}é", &ABC[..62]);
        for text in ["", short, &ABC[..62], &long, &upper, &strange, &two_bytes, "../../etc/passwd"] {
            assert_eq!(text.parse::<Sha256>(), Err(NoSha256), "{text}");
        }
    }
}
