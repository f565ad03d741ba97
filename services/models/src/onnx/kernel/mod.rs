//! The operators of `ai.onnx.ml`, as operators of tract: each is a [`Kernel`], built and checked once from a node's attributes.
//!
//! They answer as onnxruntime does, also where the specification is vague; the fixtures compare with it.

mod encode;
mod forest;
mod linear;
mod pairs;
mod post;
mod scale;
mod select;
mod svm;
mod trees;

use super::{CheckError, allow::is_ml, attributes::Attributes};
use std::{fmt::Debug, sync::Arc};
use tract_onnx::{
    model::ParsingContext,
    pb::{GraphProto, NodeProto},
    tract_hir::internal::*,
};

/// Kind and shape of a tensor.
pub(super) type Shaped = (DatumType, TVec<usize>);

/// What an operator does with whole tensors.
pub(super) trait Kernel: Debug + Send + Sync {
    /// What it answers to tensors of these kinds and shapes, or why it cannot.
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>>;

    /// Its answers. The inputs are of kinds and shapes that [`Kernel::outputs`] took.
    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>>;
}

/// Operators, and how many outputs each has.
const OPERATORS: [(&str, usize); 13] = [
    ("ArrayFeatureExtractor", 1),
    ("Binarizer", 1),
    ("Imputer", 1),
    ("LabelEncoder", 1),
    ("LinearClassifier", 2),
    ("LinearRegressor", 1),
    ("Normalizer", 1),
    ("OneHotEncoder", 1),
    ("SVMClassifier", 2),
    ("SVMRegressor", 1),
    ("Scaler", 1),
    ("TreeEnsembleClassifier", 2),
    ("TreeEnsembleRegressor", 1),
];

/// Looks whether every operator of the graph that is ours can be built.
pub(super) fn try_all(graph: &GraphProto) -> Result<(), CheckError> {
    graph.node.iter().filter(|node| is_ml(node)).try_for_each(|node| build(node).map(|_| ()))
}

/// tract, with our operators in place of its own.
pub(crate) fn framework() -> tract_onnx::Onnx {
    let mut framework = tract_onnx::onnx();
    for (name, _) in OPERATORS {
        framework.op_register.insert(name, parse);
    }
    framework
}

fn parse(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((Box::new(build(node)?), Vec::new()))
}

fn build(node: &NodeProto) -> Result<MlOp, CheckError> {
    let attributes = Attributes::of(node);
    let kernel: Arc<dyn Kernel> = match node.op_type.as_str() {
        "ArrayFeatureExtractor" => Arc::new(select::ArrayFeatureExtractor),
        "Binarizer" => Arc::new(scale::Binarizer::new(&attributes)),
        "Imputer" => Arc::new(scale::Imputer::new(&attributes)?),
        "LabelEncoder" => Arc::new(encode::LabelEncoder::new(&attributes)?),
        "LinearClassifier" => Arc::new(linear::LinearClassifier::new(&attributes)?),
        "LinearRegressor" => Arc::new(linear::LinearRegressor::new(&attributes)?),
        "Normalizer" => Arc::new(scale::Normalizer::new(&attributes)?),
        "OneHotEncoder" => Arc::new(encode::OneHotEncoder::new(&attributes)?),
        "SVMClassifier" => Arc::new(svm::SvmClassifier::new(&attributes)?),
        "SVMRegressor" => Arc::new(svm::SvmRegressor::new(&attributes)?),
        "Scaler" => Arc::new(scale::Scaler::new(&attributes)?),
        "TreeEnsembleClassifier" => Arc::new(forest::TreeClassifier::new(&attributes)?),
        "TreeEnsembleRegressor" => Arc::new(forest::TreeRegressor::new(&attributes)?),
        _ => return Err(attributes.unsound("it is none of our operators")),
    };
    let operator = OPERATORS.iter().find(|(name, _)| *name == node.op_type);
    let &(name, outputs) = operator.ok_or_else(|| attributes.unsound("it is none of our operators"))?;
    let inputs = if name == "ArrayFeatureExtractor" { 2 } else { 1 };
    if node.input.len() != inputs || node.input.iter().any(String::is_empty) || node.output.len() > outputs {
        return Err(attributes.unsound(format!("it has {inputs} inputs and {outputs} outputs")));
    }
    let outputs: Vec<usize> = node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()).map(|(at, _)| at).collect();
    Ok(MlOp { name, kernel, outputs })
}

/// A kernel as tract runs it.
#[derive(Debug, Clone)]
struct MlOp {
    name: &'static str,
    kernel: Arc<dyn Kernel>,
    /// Which of the kernel's outputs the model uses.
    outputs: Vec<usize>,
}

impl PartialEq for MlOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Eq for MlOp {}

impl MlOp {
    fn used<T>(&self, all: TVec<T>) -> TVec<T> {
        all.into_iter().enumerate().filter(|(at, _)| self.outputs.contains(at)).map(|(_, one)| one).collect()
    }
}

impl Op for MlOp {
    fn name(&self) -> StaticName {
        self.name.into()
    }

    op_as_typed_op!();
}

impl EvalOp for MlOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(self.used(self.kernel.run(&inputs)?))
    }
}

impl TypedOp for MlOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let known: Option<Vec<_>> = inputs.iter().map(|fact| Some((fact.datum_type, fact.shape.as_concrete()?))).collect();
        let known = known.with_context(|| format!("{}: a shape is not known", self.name))?;
        Ok(self.used(self.kernel.outputs(&known)?).into_iter().map(|(kind, shape)| kind.fact(shape.as_slice())).collect())
    }

    as_op!();
}

impl InferenceOp for MlOp {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        let mut outputs: TVec<InferenceFact> = outputs.into_iter().cloned().collect();
        let known: Option<Vec<Shaped>> = inputs.iter().map(|fact| concrete(fact)).collect();
        if let Some(known) = known {
            let known: Vec<(DatumType, &[usize])> = known.iter().map(|(kind, shape)| (*kind, shape.as_slice())).collect();
            for (fact, (kind, shape)) in outputs.iter_mut().zip(self.used(self.kernel.outputs(&known)?)) {
                fact.unify_with(&InferenceFact::dt_shape(kind, shape.as_slice()))?;
            }
        }
        Ok((inputs.into_iter().cloned().collect(), outputs, observed.into_iter().cloned().collect()))
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs.len())
    }

    fn to_typed(
        &self,
        _: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs: TVec<OutletId> = node.inputs.iter().map(|outlet| mapping[outlet]).collect();
        target.wire_node(&*node.name, self.clone(), &inputs)
    }

    as_op!();
}

fn concrete(fact: &InferenceFact) -> Option<Shaped> {
    let kind = fact.datum_type.concretize()?;
    let shape = fact.shape.concretize()?;
    Some((kind, shape.iter().map(|length| length.to_usize().ok()).collect::<Option<_>>()?))
}

/// Rows and columns of a table; a single axis is one row.
fn table(operator: &str, shape: &[usize]) -> TractResult<(usize, usize)> {
    match *shape {
        [columns] => Ok((1, columns)),
        [rows, columns] => Ok((rows, columns)),
        _ => bail!("{operator} takes rows and columns, and not the shape {shape:?}"),
    }
}

/// Refuses another number of columns than the model was made for.
fn columns(operator: &str, shape: &[usize], expected: usize) -> TractResult<usize> {
    let (rows, columns) = table(operator, shape)?;
    ensure!(columns == expected, "{operator} wants {expected} columns and gets {columns}");
    Ok(rows)
}

/// Calls with the values as floats; they are copied only if they are of another kind.
fn floats<R>(value: &Tensor, then: impl FnOnce(&[f32]) -> TractResult<R>) -> TractResult<R> {
    let cast = value.cast_to::<f32>()?;
    then(cast.try_as_plain_ram()?.as_slice::<f32>()?)
}

/// Calls with the values as integers.
fn ints<R>(value: &Tensor, then: impl FnOnce(&[i64]) -> TractResult<R>) -> TractResult<R> {
    let cast = value.cast_to::<i64>()?;
    then(cast.try_as_plain_ram()?.as_slice::<i64>()?)
}

/// A tensor of these values.
fn answer<T: Datum>(shape: &[usize], values: Vec<T>) -> TractResult<TValue> {
    Ok(tract_ndarray::ArrayD::from_shape_vec(shape, values)?.into_tvalue())
}

/// A number.
fn is_number(kind: DatumType) -> bool {
    kind.is_number() || kind.is_tdim()
}
