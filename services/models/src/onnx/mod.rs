//! Whether an ONNX file can be served, and the file as it is served.
//!
//! ```text
//!  bytes ─▶ weigh ─▶ decode ─▶ sound ─▶ allow ─▶ normalise ─▶ text ─▶ kernel ─▶ Checked
//!           how     protobuf   names,   which    ZipMap,      texts   operators
//!           much               graph,   opera-   identities,  are     of our own
//!           is in              tensors  tors     order        ids     can be built
//! ```
//!
//! [`check`] does bounded work and runs nothing of the model: it may be called in a service, if that has some ten times the file's
//! size to spare. Whether the model also answers is for [`crate::golden`], in a process of its own.
//!
//! **Supported.** Models of scikit-learn (skl2onnx), XGBoost and LightGBM (onnxmltools), and plain networks, in opsets 7 to 21 of
//! `ai.onnx` and 1 to 5 of `ai.onnx.ml`:
//!
//! - of `ai.onnx.ml`, each with our own kernel: ArrayFeatureExtractor, Binarizer, Imputer, LabelEncoder, LinearClassifier,
//!   LinearRegressor, Normalizer, OneHotEncoder, Scaler, SVMClassifier, SVMRegressor, TreeEnsembleClassifier,
//!   TreeEnsembleRegressor; FeatureVectorizer becomes Cast and Concat; ZipMap goes away: probabilities are a plain
//!   `[rows, classes]` tensor, and the classes are in [`Checked::classes`];
//! - of `ai.onnx`, what [`allow::CORE`] lists; tract runs it;
//! - texts, as inputs of encoders and as labels: in the graph they are ids of the model's own vocabulary.
//!
//! **Not supported**, and refused by name: If, Loop, Scan and any nested graph (so k-nearest neighbours without `CDist`), other
//! domains (`com.microsoft`: k-nearest neighbours with it), functions, sequences and maps (but ZipMap at the end), sparse tensors,
//! external data, quantised operators, recurrent layers (LSTM, GRU, RNN), texts that are computed with (Tokenizer, TfIdf,
//! StringNormalizer, casts between texts and numbers), DictVectorizer, CategoryMapper, CastMap, TreeEnsemble of `ai.onnx.ml` 5,
//! categorical splits over sets (BRANCH_MEMBER), inputs of another type than bool, int32, int64, float, double or string, and
//! inputs whose axes beyond the rows have no fixed length.

pub mod allow;
mod attributes;
pub(crate) mod kernel;
mod normalise;
pub(crate) mod ports;
mod sound;
mod text;
mod types;
mod weigh;

use crate::tensor::Port;
use prost::Message;
use std::collections::BTreeMap;
use tract_onnx::pb::ModelProto;

/// Largest file that is looked at, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// Prefix of the metadata that a normalised file carries for the predictor.
pub(crate) const OURS: &str = "loadline.";

/// A file that can be served.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The model as it is served: the same for the same file, always.
    pub bytes: Vec<u8>,
    /// What it wants.
    pub inputs: Vec<Port>,
    /// What it answers; `None` where the file does not say how long an axis is.
    pub outputs: Vec<Port>,
    /// Which class each column of probabilities is, in order, if it is a classifier that says so.
    pub classes: Option<Classes>,
    /// The file's own metadata, such as golden vectors, a model card, a feature hash.
    pub metadata: BTreeMap<String, String>,
}

/// Classes in the order of the columns of probabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classes {
    /// Numbered.
    Ints(Vec<i64>),
    /// Named.
    Texts(Vec<String>),
}

/// Why a file cannot be served. Another try cannot help: the file has to be another one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckError {
    /// It is larger, or holds more, than a model may.
    #[error("{what}: {count}, at most {limit} are allowed")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there is.
        count: usize,
        /// How much there may be.
        limit: usize,
    },
    /// It is not an ONNX file, or a part of one.
    #[error("not an ONNX model: {0}")]
    Unreadable(String),
    /// It needs an operator that is not there.
    #[error("operator {operator} of node {node} is not supported; supported: {}", allow::list())]
    Operator {
        /// With its domain, if that is not `ai.onnx`.
        operator: String,
        /// The node's name, or that of its first output.
        node: String,
    },
    /// It is written for versions of operators that are not known.
    #[error("{domain} operators of version {version} are not supported, {supported} are; export with another target opset")]
    Opset {
        /// `ai.onnx` or `ai.onnx.ml`.
        domain: &'static str,
        /// What the file asks for.
        version: i64,
        /// What is supported, both included.
        supported: &'static str,
    },
    /// A node holds a graph of its own.
    #[error("{0} holds a nested graph: If, Loop and Scan are not supported")]
    NestedGraph(String),
    /// A tensor's values are in another file.
    #[error("tensor {0} keeps its values in another file; save the model with its data inside")]
    ExternalData(String),
    /// Something in it contradicts itself.
    #[error("{at}: {why}")]
    Unsound {
        /// Where.
        at: String,
        /// What is wrong with it.
        why: String,
    },
}

impl CheckError {
    fn unsound(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsound { at: at.into(), why: why.into() }
    }
}

/// Looks whether `bytes` are an ONNX model that can be served, and writes it as it is served.
///
/// # Errors
/// Says what is not supported, and where.
pub fn check(bytes: &[u8]) -> Result<Checked, CheckError> {
    weigh::weigh(bytes)?;
    let mut model = ModelProto::decode(bytes).map_err(|error| CheckError::Unreadable(error.to_string()))?;
    allow::opsets(&model)?;
    let metadata = own_metadata(&model)?;
    let mut graph = model.graph.take().ok_or_else(|| CheckError::Unreadable("it has no graph".to_owned()))?;
    sound::prepare(&mut graph);
    sound::check(&graph)?;
    allow::operators(&graph)?;
    let inputs = ports::inputs(&graph)?;
    let zipped = normalise::normalise(&mut graph)?;
    let types = types::infer(&graph);
    let outputs = ports::outputs(&graph, &types)?;
    let classes = zipped.or_else(|| normalise::classes_of(&graph));
    let vocabulary = text::intern(&mut graph, &types)?;
    kernel::try_all(&graph)?;
    let served = ports::Served { inputs, outputs, vocabulary, classes };
    let bytes = normalise::write(model, graph, &metadata, &served);
    Ok(Checked { bytes, inputs: served.inputs, outputs: served.outputs, classes: served.classes, metadata })
}

fn own_metadata(model: &ModelProto) -> Result<BTreeMap<String, String>, CheckError> {
    let mut metadata = BTreeMap::new();
    for entry in &model.metadata_props {
        if entry.key.starts_with(OURS) {
            return Err(CheckError::unsound("metadata", format!("{} is a name that only this program writes", entry.key)));
        }
        metadata.insert(entry.key.clone(), entry.value.clone());
    }
    Ok(metadata)
}

/// What a person calls a node: its name, or its first output's.
fn called(node: &tract_onnx::pb::NodeProto) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}
