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

impl DataType {
    /// Its name in the Open Inference Protocol: `BOOL`, `INT32`, `INT64`, `FP32`, `FP64` or `BYTES`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::F32 => "FP32",
            Self::F64 => "FP64",
            Self::Text => "BYTES",
        }
    }

    /// The kind of that name in the Open Inference Protocol.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Bool, Self::I32, Self::I64, Self::F32, Self::F64, Self::Text].into_iter().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
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

impl Tensor {
    /// A tensor of that name; nothing is checked here.
    #[must_use]
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: Values) -> Self {
        Self { name: name.into(), shape: shape.into(), values }
    }
}

/// An input or an output of a model: what a tensor of that name has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The model's name for it.
    pub name: String,
    /// Kind of its values.
    pub data_type: DataType,
    /// Length of each axis. The first is `None`: as many rows as one likes.
    pub shape: Vec<Option<usize>>,
}

/// A shape as people write it: `[rows, 4]`; the first axis left open is the rows, any other is `?`.
#[must_use]
pub fn shape_text(shape: &[Option<usize>]) -> String {
    let axis = |(at, length): (usize, &Option<usize>)| match length {
        Some(length) => length.to_string(),
        None if at == 0 => "rows".to_owned(),
        None => "?".to_owned(),
    };
    format!("[{}]", shape.iter().enumerate().map(axis).collect::<Vec<_>>().join(", "))
}
