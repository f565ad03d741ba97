//! When certificates expire: the one date of an X.509 certificate that is wanted here (RFC 5280, 4.1), without what verifies it.

use crate::secrets::at;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::time::SystemTime;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The earliest end of the certificates in a PEM file; none when it holds none that can be read.
pub fn first_expiry(pem: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(pem).ok()?;
    let blocks = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    let ends: Option<Vec<_>> = blocks.map(|block| not_after(&decoded(block)?)).collect();
    ends?.into_iter().min()
}

fn decoded(block: &str) -> Option<Vec<u8>> {
    let (body, _) = block.split_once("-----END CERTIFICATE-----")?;
    let compact: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(compact).ok()
}

/// Certificate ::= { tbs { [0] version?, serial, algorithm, issuer, validity { notBefore, notAfter }, … } … }
fn not_after(der: &[u8]) -> Option<SystemTime> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    for _ in ["serial", "algorithm", "issuer"] {
        rest = element(rest)?.2;
    }
    let (tag, validity, _) = element(rest)?;
    let (_, _, end) = element(validity).filter(|_| tag == SEQUENCE)?;
    let (tag, text, _) = element(end)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// Tag, content and what follows of the first element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` (years from 1950) or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &str) -> Option<SystemTime> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year: i64 = digits[..2].parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (digits[..4].parse().ok()?, &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let seconds = days(year, month, day) * 86_400 + part(4)? * 3_600 + part(6)? * 60 + part(8)?;
    Some(at(u64::try_from(seconds).ok()?))
}

/// Days of a date since the epoch (H. Hinnant, `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_in_both_forms() {
        assert_eq!(time(UTC_TIME, "700101000000Z"), Some(at(0)));
        assert_eq!(time(UTC_TIME, "261126022500Z"), Some(at(1_795_659_900)));
        assert_eq!(time(GENERALIZED_TIME, "20261126022500Z"), Some(at(1_795_659_900)));
        assert_eq!(time(GENERALIZED_TIME, "20000229235959Z"), Some(at(951_868_799)));
        for wrong in ["261126022500", "2611260225Z", "", "26112602250xZ"] {
            assert_eq!(time(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_date_and_does_no_harm() {
        let noise = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
        for text in ["", "no", "-----BEGIN CERTIFICATE-----", noise] {
            assert_eq!(first_expiry(text.as_bytes()), None, "{text}");
        }
        for length in 0..=255 {
            assert_eq!(not_after(&[0x30, length, 0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        }
    }
}
