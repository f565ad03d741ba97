//! Operators and versions that are supported. What is not listed is refused by name: tract stops the process's thread on some
//! operators it does not know, and guesses at others.

use super::{CheckError, called};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

/// Operators of `ai.onnx` that may be used, a space between each; tract runs them.
pub const CORE: &str = "\
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv Cos \
    CumSum Div Dropout Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements Gelu Gemm GlobalAveragePool \
    GlobalMaxPool Greater GreaterOrEqual HardSigmoid Identity IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual \
    Log LogSoftmax MatMul Max MaxPool Mean Min Mod Mul Neg Not OneHot Or PRelu Pad Pow Reciprocal ReduceL1 ReduceL2 \
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round \
    Selu Shape Sigmoid Sign Sin Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose \
    Unsqueeze Where Xor";

/// Operators of `ai.onnx.ml` that may be used.
pub const ML: &str = "\
    ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder LinearClassifier LinearRegressor Normalizer \
    OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsembleClassifier TreeEnsembleRegressor ZipMap";

const CORE_VERSIONS: std::ops::RangeInclusive<i64> = 7..=21;
const ML_VERSIONS: std::ops::RangeInclusive<i64> = 1..=5;

/// All that is supported, for a person.
pub(super) fn list() -> String {
    format!("{CORE}, and of ai.onnx.ml {ML}")
}

/// Looks whether the versions asked for are known.
pub(super) fn opsets(model: &ModelProto) -> Result<(), CheckError> {
    let mut core = None;
    for import in &model.opset_import {
        let version = import.version;
        match import.domain.as_str() {
            "" | "ai.onnx" if !CORE_VERSIONS.contains(&version) => {
                return Err(CheckError::Opset { domain: "ai.onnx", version, supported: "7 to 21" });
            }
            // skl2onnx writes the same line twice.
            "" | "ai.onnx" if core.is_some_and(|other| other != version) => {
                return Err(CheckError::unsound("model", "it asks for two versions of ai.onnx"));
            }
            "" | "ai.onnx" => core = Some(version),
            "ai.onnx.ml" if !ML_VERSIONS.contains(&version) => {
                return Err(CheckError::Opset { domain: "ai.onnx.ml", version, supported: "1 to 5" });
            }
            // Another domain harms only when a node uses it, and that is refused by the operator's name.
            _ => {}
        }
    }
    let mut nodes = model.graph.iter().flat_map(|graph| &graph.node);
    if core.is_none() && nodes.any(|node| matches!(node.domain.as_str(), "" | "ai.onnx")) {
        return Err(CheckError::Opset { domain: "ai.onnx", version: 0, supported: "7 to 21" });
    }
    Ok(())
}

/// Looks whether every operator is known.
pub(super) fn operators(graph: &GraphProto) -> Result<(), CheckError> {
    match graph.node.iter().find(|node| !allowed(node)) {
        None => Ok(()),
        Some(node) => Err(CheckError::Operator { operator: full_name(node), node: called(node) }),
    }
}

/// Whether it is one of `ai.onnx.ml`.
pub(super) fn is_ml(node: &NodeProto) -> bool {
    node.domain == "ai.onnx.ml"
}

fn allowed(node: &NodeProto) -> bool {
    let is = |operator: &str| operator == node.op_type;
    match node.domain.as_str() {
        "" | "ai.onnx" => CORE.split(' ').any(is),
        "ai.onnx.ml" => ML.split(' ').any(is),
        _ => false,
    }
}

fn full_name(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}
