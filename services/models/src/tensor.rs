//! What goes into a model and comes out: values with a name and a shape, rows first.

/// Kind of a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Booleans.
    Bool,
    /// 32-bit integers.
    I32,
    /// 64-bit integers.
    I64,
    /// Single-precision floats.
    F32,
    /// Double-precision floats.
    F64,
    /// UTF-8 texts.
    Text,
}

/// Values of a tensor, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Booleans.
    Bool(Vec<bool>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// Single-precision floats.
    F32(Vec<f32>),
    /// Double-precision floats.
    F64(Vec<f64>),
    /// UTF-8 texts.
    Text(Vec<String>),
}

impl Values {
    /// Their kind.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Bool(_) => DataType::Bool,
            Self::I32(_) => DataType::I32,
            Self::I64(_) => DataType::I64,
            Self::F32(_) => DataType::F32,
            Self::F64(_) => DataType::F64,
            Self::Text(_) => DataType::Text,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A named array. The first axis is the row; `shape`'s product is the number of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The model's name for it.
    pub name: String,
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Values,
}
