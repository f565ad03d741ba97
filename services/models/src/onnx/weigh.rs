//! How much is in a file, before any of it becomes a message: two bytes of a file can make a message of hundreds, and a message in a
//! message in a message costs a stack. Only the wire format is read here, and nothing is kept.

use super::{CheckError, MAX_BYTES};

/// Messages a file may hold, of all kinds.
const MAX_MESSAGES: usize = 200_000;

/// Kinds of messages that can hold others.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// Holds nothing but values.
    Leaf,
}

/// What a field of a message of that kind is.
enum Field {
    Value,
    /// A text that becomes as much as a message when it is decoded.
    Name,
    Message(Kind),
    /// Not supported whatever is in it, in words.
    Refused(&'static str),
}

fn field(kind: Kind, number: u32) -> Field {
    match (kind, number) {
        (Kind::Model, 7) => Field::Message(Kind::Graph),
        (Kind::Model, 8 | 14) => Field::Message(Kind::Leaf),
        (Kind::Model, 20) => Field::Refused("training information"),
        (Kind::Model, 25) => Field::Refused("functions of its own"),
        (Kind::Graph, 1) => Field::Message(Kind::Node),
        (Kind::Graph, 5) => Field::Message(Kind::Tensor),
        (Kind::Graph, 11..=13) => Field::Message(Kind::ValueInfo),
        (Kind::Graph, 14) => Field::Refused("quantisation"),
        (Kind::Graph, 15) => Field::Refused("sparse tensors"),
        (Kind::Node, 1 | 2) => Field::Name,
        (Kind::Node, 5) => Field::Message(Kind::Attribute),
        (Kind::Attribute, 5 | 10) => Field::Message(Kind::Tensor),
        (Kind::Attribute, 22 | 23) => Field::Refused("sparse tensors"),
        (Kind::Attribute, 14 | 15) => Field::Refused("types as attributes"),
        (Kind::Tensor, 3 | 13) => Field::Message(Kind::Leaf),
        (Kind::ValueInfo, 2) => Field::Message(Kind::Type),
        (Kind::Type, 1) => Field::Message(Kind::TensorType),
        (Kind::TensorType, 2) => Field::Message(Kind::Shape),
        (Kind::Shape, 1) => Field::Message(Kind::Leaf),
        _ => Field::Value,
    }
}

/// Looks whether the file is small enough, and flat enough, to be decoded.
pub(super) fn weigh(bytes: &[u8]) -> Result<(), CheckError> {
    if bytes.len() > MAX_BYTES {
        return Err(CheckError::TooMuch { what: "bytes", count: bytes.len(), limit: MAX_BYTES });
    }
    let mut messages = 1;
    let mut left = vec![(Kind::Model, bytes, String::new())];
    while let Some((kind, message, of)) = left.pop() {
        let of = if kind == Kind::Node { node_name(message) } else { of };
        open(kind, message, &of, &mut left, &mut messages)?;
    }
    Ok(())
}

/// Adds the messages inside one to those that are left to look at.
fn open<'a>(
    kind: Kind,
    message: &'a [u8],
    of: &str,
    left: &mut Vec<(Kind, &'a [u8], String)>,
    messages: &mut usize,
) -> Result<(), CheckError> {
    let mut count = || {
        *messages += 1;
        if *messages > MAX_MESSAGES {
            Err(CheckError::TooMuch { what: "messages", count: *messages, limit: MAX_MESSAGES })
        } else {
            Ok(())
        }
    };
    let mut fields = Fields(message);
    while let Some((number, inside)) = fields.next()? {
        if kind == Kind::Attribute && matches!(number, 6 | 11) {
            return Err(CheckError::NestedGraph(of.to_owned()));
        }
        match field(kind, number) {
            Field::Value => {}
            Field::Name => count()?,
            Field::Refused(what) => return Err(CheckError::unsound("model", format!("{what} are not supported"))),
            Field::Message(inner) => {
                count()?;
                let inside = inside.ok_or_else(|| unreadable("a message is written as a number"))?;
                // Only a node's attributes need to say whose they are.
                left.push((inner, inside, if kind == Kind::Node { of.to_owned() } else { String::new() }));
            }
        }
    }
    Ok(())
}

/// `node X (If)`, as far as its bytes say so.
fn node_name(message: &[u8]) -> String {
    let (mut name, mut operator) = (String::new(), String::new());
    let mut fields = Fields(message);
    while let Ok(Some((number, inside))) = fields.next() {
        let text = || inside.map(|bytes| String::from_utf8_lossy(bytes).chars().take(200).collect());
        match number {
            3 => name = text().unwrap_or_default(),
            4 => operator = text().unwrap_or_default(),
            _ => {}
        }
    }
    format!("node {name} ({operator})")
}

fn unreadable(why: &str) -> CheckError {
    CheckError::Unreadable(why.to_owned())
}

/// The fields of a message: number, and content where it has a length of its own.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u32, Option<&'a [u8]>)>, CheckError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let number = u32::try_from(tag >> 3).map_err(|_| unreadable("a field number is too large"))?;
        let content = match tag & 7 {
            0 => self.number().map(|_| None)?,
            1 => self.take(8).map(|_| None)?,
            2 => {
                let length = self.number()?;
                Some(self.take(length)?)
            }
            5 => self.take(4).map(|_| None)?,
            _ => return Err(unreadable("it uses groups, or is damaged")),
        };
        Ok(Some((number, content)))
    }

    fn number(&mut self) -> Result<u64, CheckError> {
        let mut value = 0;
        for at in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or_else(|| unreadable("it ends in the middle"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(unreadable("a number has no end"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CheckError> {
        let length = usize::try_from(length).ok().filter(|&length| length <= self.0.len());
        let (taken, rest) = self.0.split_at(length.ok_or_else(|| unreadable("it ends in the middle"))?);
        self.0 = rest;
        Ok(taken)
    }
}
