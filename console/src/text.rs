//! Text from outside made harmless, and values in the words of the screen.

use crate::model::board::Status;
use std::time::Duration;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Most that is kept of one text from a server, in characters.
pub const LONGEST: usize = 2_000;

/// One line without anything that a terminal would obey: controls, direction marks and invisible characters become `\u{fffd}`.
pub fn clean(text: &str) -> String {
    cleaned(text, |_| false)
}

/// The same of a text that is not needed any more, which is itself handed back where it is harmless.
pub fn cleansed(mut text: String) -> String {
    if is_harmless(&text) {
        text.truncate(LONGEST);
        return text;
    }
    clean(&text)
}

/// The same, keeping line feeds.
pub fn clean_lines(text: &str) -> String {
    cleaned(text, |char| char == '\n')
}

fn cleaned(text: &str, keep: impl Fn(char) -> bool) -> String {
    if is_harmless(text) {
        return text[..text.len().min(LONGEST)].to_owned();
    }
    let harmless = |char: char| match char {
        char if keep(char) => char,
        '\t' | '\n' | '\r' => ' ',
        char if obeyed(char) => char::REPLACEMENT_CHARACTER,
        char => char,
    };
    text.chars().take(LONGEST).map(harmless).collect()
}

/// Nearly all texts are such, and a large snapshot has a hundred thousand of them.
fn is_harmless(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Controls, and what changes the direction or the width of the text around it.
fn obeyed(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(char, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
        || char.width() == Some(0)
}

/// Columns on screen.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Exactly `columns` wide: cut with `…`, or filled with blanks on the right.
pub fn fit(text: &str, columns: usize) -> String {
    let mut fitted = cut(text, columns);
    let missing = columns.saturating_sub(fitted.width());
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// Exactly `columns` wide, filled on the left.
pub fn right(text: &str, columns: usize) -> String {
    let fitted = cut(text, columns);
    let mut padded = " ".repeat(columns.saturating_sub(fitted.width()));
    padded.push_str(&fitted);
    padded
}

/// At most `columns` wide, `…` where something is missing.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used > columns {
            break;
        }
        kept.push(char);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Broken into lines of at most `columns`, at blanks where there are any.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.width() + 1 + word.width() > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&cut(word, columns));
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Short: `1s`, `59s`, `12m`, `5h`, `2d`.
pub fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Running: `04:12`, `1:04:12`, `3d 04:12`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes:02}:{:02}", seconds % 60),
        (0, hours) => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
        (days, hours) => format!("{days}d {hours:02}:{minutes:02}"),
    }
}

/// Grouped by thousands: `18,202,545`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 entry`, `2,000 entries`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Three or four significant characters: `0.3`, `118`, `4.1k`, `2.5M`.
pub fn quantity(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "?".to_owned(),
        0.0..10.0 if value.fract() != 0.0 => format!("{value:.1}"),
        0.0..1e4 => format!("{value:.0}"),
        1e4..1e6 => format!("{:.1}k", value / 1e3),
        1e6..1e9 => format!("{:.1}M", value / 1e6),
        1e9..1e15 => format!("{:.1}G", value / 1e9),
        _ => format!("{value:.1e}"),
    }
}

/// What a row says, in the words of the STATE column.
pub fn status(status: &Status) -> String {
    match status {
        Status::Says(state) => state.to_string(),
        Status::Blind(_) => "BLIND".to_owned(),
        Status::Unseen(_) => "UNSEEN".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_terminal_obeys_nothing_that_was_cleaned() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}31m\u{7}\u{202e}c\u{200b}d\u{7f}"), "a�[2Jb�31m��c�d�");
        assert_eq!(clean("two\r\nlines\tx"), "two  lines x");
        assert_eq!(clean_lines("two\nlines\u{1b}"), "two\nlines�");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(fit("停止停止", 5), "停止…");
        assert_eq!(fit("停止停止", 6), "停止… ");
        assert_eq!(right("7", 3), "  7");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn times_and_numbers_are_short() {
        let seconds = Duration::from_secs;
        assert_eq!([0, 61, 7_200, 172_800].map(|s| age(seconds(s))), ["0s", "1m", "2h", "2d"]);
        assert_eq!([252, 3_852, 273_852].map(|s| clock(seconds(s))), ["04:12", "1:04:12", "3d 04:04"]);
        assert_eq!([0, 999, 1_000, 18_202_545].map(grouped), ["0", "999", "1,000", "18,202,545"]);
        assert_eq!([0.25, 118.0, 4_100.0, 41_000.0, 2.5e6, f64::NAN].map(quantity), ["0.2", "118", "4100", "41.0k", "2.5M", "?"]);
    }

    proptest! {
        #[test]
        fn a_fitted_text_is_as_wide_as_asked(text in any::<String>(), columns in 0_usize..80) {
            let text = clean(&text);
            prop_assert_eq!(width(&fit(&text, columns)), columns);
            prop_assert_eq!(width(&right(&text, columns)), columns);
            prop_assert!(wrap(&text, columns.max(1)).iter().all(|line| width(line) <= columns.max(1)));
        }

        #[test]
        fn a_text_given_away_is_cleaned_as_one_that_is_kept(text in prop_oneof![any::<String>(), "[ -~]{0,40}", "[ -~]{1990,2010}"]) {
            prop_assert_eq!(cleansed(text.clone()), clean(&text));
        }

        #[test]
        fn nothing_cleaned_is_a_control_or_has_no_width(text in any::<String>()) {
            prop_assert!(clean(&text).chars().all(|char| !char.is_control() && char.width() != Some(0)));
        }
    }
}
