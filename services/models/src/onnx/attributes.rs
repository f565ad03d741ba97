//! A node's attributes, by name.

use super::{CheckError, called};
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// Reads a node's attributes. A missing list is empty: the format does not tell the two apart.
pub(crate) struct Attributes<'a>(&'a NodeProto);

impl<'a> Attributes<'a> {
    pub(crate) fn of(node: &'a NodeProto) -> Self {
        Self(node)
    }

    /// An error at this node.
    pub(crate) fn unsound(&self, why: impl Into<String>) -> CheckError {
        CheckError::unsound(format!("node {} ({})", called(self.0), self.0.op_type), why)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn ints(&self, name: &str) -> &'a [i64] {
        self.get(name).map_or(&[], |attribute| &attribute.ints)
    }

    pub(crate) fn floats(&self, name: &str) -> &'a [f32] {
        self.get(name).map_or(&[], |attribute| &attribute.floats)
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.get(name).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.get(name).map_or(default, |attribute| attribute.f)
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.get(name).and_then(|attribute| attribute.t.as_ref())
    }

    pub(crate) fn text(&self, name: &str, default: &'static str) -> Result<&'a str, CheckError> {
        match self.get(name) {
            None => Ok(default),
            Some(attribute) => self.utf8(name, &attribute.s),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<&'a str>, CheckError> {
        let texts: &'a [Vec<u8>] = self.get(name).map_or(&[], |attribute| &attribute.strings);
        texts.iter().map(|text| self.utf8(name, text)).collect()
    }

    fn utf8(&self, name: &str, text: &'a [u8]) -> Result<&'a str, CheckError> {
        std::str::from_utf8(text).map_err(|_| self.unsound(format!("{name} is not UTF-8")))
    }

    /// A list of floats, or of doubles in a tensor, under `name` or `name_as_tensor`.
    pub(crate) fn reals(&self, name: &str) -> Result<Vec<f64>, CheckError> {
        let Some(tensor) = self.tensor(&format!("{name}_as_tensor")) else {
            return Ok(self.floats(name).iter().map(|&value| f64::from(value)).collect());
        };
        super::sound::reals(tensor).ok_or_else(|| self.unsound(format!("{name}_as_tensor holds neither floats nor doubles")))
    }

    /// That many of them, or none.
    pub(crate) fn as_many<T>(&self, name: &str, values: &[T], expected: usize) -> Result<(), CheckError> {
        if values.len() == expected {
            Ok(())
        } else {
            Err(self.unsound(format!("{name} has {} values where {expected} are expected", values.len())))
        }
    }
}
