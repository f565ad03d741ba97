//! Keys as they are written: `j`, `Ctrl-d`, `Shift-Tab`, `F2`.

use std::{fmt, str::FromStr};

/// A key with its modifiers. Shift is part of the character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chord {
    /// With Control held.
    pub ctrl: bool,
    /// The key itself.
    pub key: Key,
}

/// A key of the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A character, upper case with Shift.
    Char(char),
    /// `F1` to `F12`.
    F(u8),
    /// One with a name.
    Named(Named),
}

macro_rules! named {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Keys that have a name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each says itself")]
        pub enum Named { $($name),* }

        const NAMED: &[(Named, &str)] = &[$((Named::$name, $text)),*];
    };
}

named! {
    Enter = "Enter", Esc = "Esc", Tab = "Tab", BackTab = "Shift-Tab", Backspace = "Backspace", Delete = "Delete",
    Up = "Up", Down = "Down", Left = "Left", Right = "Right", Home = "Home", End = "End",
    PageUp = "PageUp", PageDown = "PageDown", Space = "Space",
}

impl Chord {
    /// A character without modifiers.
    pub const fn char(char: char) -> Self {
        Self { ctrl: false, key: Key::Char(char) }
    }

    /// A named key without modifiers.
    pub const fn named(named: Named) -> Self {
        Self { ctrl: false, key: Key::Named(named) }
    }
}

/// Why a text is no key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no key: write one character, F1 to F12, Enter, Esc, Tab, Space, Up, PageDown, … or Ctrl- and one of these")]
pub struct NoKey(String);

impl FromStr for Chord {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let (ctrl, name) = match text.strip_prefix("Ctrl-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut chars = name.chars();
        let key = match (chars.next(), chars.next()) {
            (Some(char), None) if !char.is_control() && char != ' ' => Key::Char(char),
            _ => named_key(name).ok_or_else(|| NoKey(text.to_owned()))?,
        };
        Ok(Self { ctrl, key })
    }
}

fn named_key(name: &str) -> Option<Key> {
    if let Some((named, _)) = NAMED.iter().find(|(_, text)| *text == name) {
        return Some(Key::Named(*named));
    }
    let number = name.strip_prefix('F')?.parse().ok()?;
    (1..=12).contains(&number).then_some(Key::F(number))
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("Ctrl-")?;
        }
        match self.key {
            Key::Char(char) => write!(f, "{char}"),
            Key::F(number) => write!(f, "F{number}"),
            Key::Named(named) => {
                let text = NAMED.iter().find(|(known, _)| *known == named).map_or("?", |(_, text)| text);
                f.write_str(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        for text in ["j", "G", "?", "-", "Ctrl-d", "F12", "Shift-Tab", "Enter", "Space", "Ctrl-Left"] {
            assert_eq!(text.parse::<Chord>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "F0", "F13", "Ctrl-", "jj", " ", "Meta-x", "\u{1b}"] {
            assert!(text.parse::<Chord>().is_err(), "{text:?}");
        }
    }
}
