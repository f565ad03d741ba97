//! Money as text: exact decimals, never floats.

/// Millionths of a unit.
const MICROS: i64 = 1_000_000;
/// Digits after the point that a millionth needs.
const PLACES: usize = 6;

/// Reads `0.0075` as 7,500 millionths. Digits past the sixth place must be 0: nothing is rounded.
///
/// # Errors
/// What is wrong, in words.
pub fn parse(text: &str) -> Result<i64, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return Err(format!("is {text:?}; must be a decimal such as 0.0075, without sign, separator or exponent"));
    }
    let kept = fraction.trim_end_matches('0');
    if kept.len() > PLACES {
        return Err(format!("is {text}; millionths are the finest amount, so at most {PLACES} places"));
    }
    let too_large = || format!("is {text}, too large to be an amount");
    let units: i64 = whole.parse().map_err(|_| too_large())?;
    // At most six digits: always a number.
    let millionths: i64 = format!("{kept:0<PLACES$}").parse().map_err(|_| too_large())?;
    units.checked_mul(MICROS).and_then(|micros| micros.checked_add(millionths)).ok_or_else(too_large)
}

/// Shows 7,500 millionths as `0.0075`: at least two places, no more than needed, thousands apart.
pub fn format(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (units, millionths) = (micros.unsigned_abs() / MICROS as u64, micros.unsigned_abs() % MICROS as u64);
    let fraction = format!("{millionths:0PLACES$}");
    let kept = fraction.trim_end_matches('0');
    format!("{sign}{}.{kept:0<2}", crate::output::count(units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_becomes_exact_millionths() {
        assert_eq!(parse("0.0075"), Ok(7_500));
        assert_eq!(parse("12"), Ok(12_000_000));
        assert_eq!(parse("0.1000000000"), Ok(100_000));
        assert_eq!(parse("1000000.000001"), Ok(1_000_000_000_001));
        assert_eq!(parse("0"), Ok(0));
    }

    #[test]
    fn what_is_no_exact_decimal_is_refused() {
        for text in [
            "",
            ".",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "NaN",
            "0.0000001",
            "9223372036854.775808",
            "99999999999999999999",
            "٣",
        ] {
            assert!(parse(text).is_err(), "{text:?} was read as money");
        }
    }

    #[test]
    fn shown_money_reads_back_the_same() {
        for micros in [0, 1, 7_500, 100_000, 12_000_000, 999_999_999_999] {
            assert_eq!(parse(&format(micros).replace(',', "")), Ok(micros));
        }
        assert_eq!(format(1_234_567_890_000), "1,234,567.89");
        assert_eq!(format(-5_000), "-0.005");
        assert_eq!(format(i64::MIN), "-9,223,372,036,854.775808");
    }
}
