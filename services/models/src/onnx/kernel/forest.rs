//! TreeEnsembleClassifier and TreeEnsembleRegressor.

use super::{
    super::{CheckError, attributes::Attributes},
    Kernel, Shaped, answer, is_number,
    post::{Post, probit},
    table,
    trees::{Real, Trees},
};
use std::{collections::HashSet, sync::OnceLock};
use tract_onnx::tract_hir::internal::*;

/// Trees in both precisions: floats and integers are compared as floats, doubles as doubles.
#[derive(Debug)]
struct Forest {
    doubles: Trees<f64>,
    floats: OnceLock<Trees<f32>>,
}

impl Forest {
    fn new(doubles: Trees<f64>) -> Self {
        Self { doubles, floats: OnceLock::new() }
    }

    fn rows(&self, operator: &str, (kind, shape): (DatumType, &[usize])) -> TractResult<usize> {
        let (rows, columns) = table(operator, shape)?;
        ensure!(is_number(kind), "{operator} takes numbers, and not {kind:?}");
        ensure!(columns >= self.doubles.features(), "{operator} looks at {} columns and gets {columns}", self.doubles.features());
        Ok(rows)
    }
}

/// Calls `each` with every row's number, as the trees compare it.
macro_rules! each_row {
    ($forest:expr, $input:expr, $rows:expr, |$trees:ident, $row:ident, $at:ident| $each:expr) => {
        if $input.datum_type() == DatumType::F64 {
            let $trees = &$forest.doubles;
            let values = $input.try_as_plain_ram()?.as_slice::<f64>()?;
            for ($at, $row) in values.chunks_exact((values.len() / $rows.max(1)).max(1)).enumerate() {
                $each
            }
        } else {
            let $trees = $forest.floats.get_or_init(|| $forest.doubles.cast(|value| value as f32));
            let cast = $input.cast_to::<f32>()?;
            let values = cast.try_as_plain_ram()?.as_slice::<f32>()?;
            for ($at, $row) in values.chunks_exact((values.len() / $rows.max(1)).max(1)).enumerate() {
                $each
            }
        }
    };
}

/// How the trees' answers become one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// Scores of targets.
#[derive(Debug)]
pub(super) struct TreeRegressor {
    forest: Forest,
    targets: usize,
    base: Vec<f32>,
    aggregate: Aggregate,
    post: Post,
}

impl TreeRegressor {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let targets = attributes.int("n_targets", 1);
        let targets = usize::try_from(targets).ok().filter(|targets| (1..=1 << 16).contains(targets));
        let targets = targets.ok_or_else(|| attributes.unsound("n_targets is absurd"))?;
        let base: Vec<f32> = attributes.reals("base_values")?.iter().map(|&value| value as f32).collect();
        if !base.is_empty() {
            attributes.as_many("base_values", &base, targets)?;
        }
        let aggregate = match attributes.text("aggregate_function", "SUM")? {
            "SUM" => Aggregate::Sum,
            "AVERAGE" => Aggregate::Average,
            "MIN" => Aggregate::Min,
            "MAX" => Aggregate::Max,
            other => return Err(attributes.unsound(format!("aggregate_function {other} is not known"))),
        };
        let forest = Forest::new(Trees::read(attributes, "target", targets)?);
        Ok(Self { forest, targets, base, aggregate, post: Post::of(attributes)? })
    }

    /// The scores of one row.
    fn row<T: Real>(&self, trees: &Trees<T>, row: &[T], sums: &mut [T], seen: &mut [bool], scores: &mut [f32]) {
        sums.fill(T::default());
        seen.fill(false);
        trees.walk(row, |shares| {
            for share in shares {
                let at = share.target as usize;
                match self.aggregate {
                    Aggregate::Sum | Aggregate::Average => sums[at] += share.weight,
                    Aggregate::Min if seen[at] && sums[at] <= share.weight => {}
                    Aggregate::Max if seen[at] && sums[at] >= share.weight => {}
                    Aggregate::Min | Aggregate::Max => sums[at] = share.weight,
                }
                seen[at] = true;
            }
        });
        let divisor = if self.aggregate == Aggregate::Average { trees.count() as f32 } else { 1.0 };
        for (at, score) in scores.iter_mut().enumerate() {
            // Of several targets, onnxruntime gives the base only to those that a leaf gave something to.
            let counts = seen[at] || seen.len() == 1;
            *score = if counts { sums[at].as_f32() / divisor + self.base.get(at).copied().unwrap_or(0.0) } else { 0.0 };
        }
        match self.post {
            Post::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
            post if scores.len() > 1 => post.many(scores),
            // onnxruntime transforms a single score in no other way.
            _ => {}
        }
    }
}

impl Kernel for TreeRegressor {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        Ok(tvec![(DatumType::F32, tvec![self.forest.rows("TreeEnsembleRegressor", inputs[0])?, self.targets])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let rows = self.forest.rows("TreeEnsembleRegressor", (input.datum_type(), input.shape()))?;
        let mut all = vec![0.0; rows * self.targets];
        let (mut floats, mut doubles) = (vec![0.0_f32; self.targets], vec![0.0_f64; self.targets]);
        let mut seen = vec![false; self.targets];
        each_row!(self.forest, input, rows, |trees, row, at| {
            let scores = &mut all[at * self.targets..(at + 1) * self.targets];
            self.row(trees, row, scratch(&mut floats, &mut doubles), &mut seen, scores);
        });
        Ok(tvec![answer(&[rows, self.targets], all)?])
    }
}

/// One of two buffers, by the kind that is wanted.
trait Scratch: Sized {
    fn scratch<'a>(floats: &'a mut [f32], doubles: &'a mut [f64]) -> &'a mut [Self];
}

impl Scratch for f32 {
    fn scratch<'a>(floats: &'a mut [f32], _: &'a mut [f64]) -> &'a mut [Self] {
        floats
    }
}

impl Scratch for f64 {
    fn scratch<'a>(_: &'a mut [f32], doubles: &'a mut [f64]) -> &'a mut [Self] {
        doubles
    }
}

fn scratch<'a, T: Scratch>(floats: &'a mut [f32], doubles: &'a mut [f64]) -> &'a mut [T] {
    T::scratch(floats, doubles)
}

/// The class, and scores of all classes.
#[derive(Debug)]
pub(super) struct TreeClassifier {
    forest: Forest,
    labels: Vec<i64>,
    base: Vec<f32>,
    post: Post,
    /// Two classes, and all weights are of one of them.
    one_sided: bool,
    all_positive: bool,
}

impl TreeClassifier {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let labels = attributes.ints("classlabels_int64s").to_vec();
        if labels.len() < 2 || labels.len() > 1 << 16 {
            return Err(attributes.unsound(format!("it has {} classes", labels.len())));
        }
        let base: Vec<f32> = attributes.reals("base_values")?.iter().map(|&value| value as f32).collect();
        // One base value for two classes is the positive one's.
        let of_positive = labels.len() == 2 && base.len() == 1;
        if !base.is_empty() && !of_positive {
            attributes.as_many("base_values", &base, labels.len())?;
        }
        let trees = Trees::read(attributes, "class", labels.len())?;
        let weighted: HashSet<u32> = trees.shares().iter().map(|share| share.target).collect();
        let all_positive = trees.shares().iter().all(|share| share.weight >= 0.0);
        let one_sided = labels.len() == 2 && weighted.len() == 1;
        let post = Post::of(attributes)?;
        if one_sided && post == Post::Probit {
            return Err(attributes.unsound("post_transform PROBIT of a single score is not defined"));
        }
        Ok(Self { forest: Forest::new(trees), labels, base, post, one_sided, all_positive })
    }

    /// Fills in the scores of one row, and returns which class is its. `seen` says which classes a leaf gave a weight to.
    fn row<T: Real>(&self, trees: &Trees<T>, row: &[T], sums: &mut [T], seen: &mut [bool], scores: &mut [f32]) -> usize {
        sums.fill(T::default());
        seen.fill(false);
        trees.walk(row, |shares| {
            for share in shares {
                sums[share.target as usize] += share.weight;
                seen[share.target as usize] = true;
            }
        });
        for (score, sum) in scores.iter_mut().zip(sums.iter()) {
            *score = sum.as_f32();
        }
        if scores.len() == 2 { self.of_two(seen, scores) } else { self.of_many(seen, scores) }
    }

    fn of_many(&self, seen: &[bool], scores: &mut [f32]) -> usize {
        scores.iter_mut().zip(&self.base).for_each(|(score, base)| *score += base);
        let counts = |at: &usize| seen[*at] || !self.base.is_empty();
        let best = (0..scores.len()).filter(counts).fold(None, |best: Option<usize>, at| match best {
            Some(best) if scores[best] >= scores[at] => Some(best),
            _ => Some(at),
        });
        self.post.many(scores);
        best.unwrap_or(0)
    }

    /// Two classes, as onnxruntime understands them: a score of the first alone is one of the positive class.
    fn of_two(&self, seen: &[bool], scores: &mut [f32]) -> usize {
        let (mut positive, pair) = (if seen[1] { scores[1] } else { scores[0] }, seen[1] || self.base.len() == 2);
        match (self.base.as_slice(), seen[1]) {
            (&[_, base], true) => {
                scores[1] = scores[0] + base;
                scores[0] = -scores[1];
                positive = scores[1];
            }
            (&[base, _] | &[base], false) => {
                scores[0] += base;
                positive = scores[0];
            }
            (&[base], true) => scores[0] += base,
            _ => {}
        }
        let share = self.one_sided && self.all_positive;
        let class = usize::from(positive > if share { 0.5 } else { 0.0 });
        if pair {
            self.post.many(scores);
        } else {
            scores.copy_from_slice(&self.post.both(positive, share));
        }
        class
    }
}

impl Kernel for TreeClassifier {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        let rows = self.forest.rows("TreeEnsembleClassifier", inputs[0])?;
        Ok(tvec![(DatumType::I64, tvec![rows]), (DatumType::F32, tvec![rows, self.labels.len()])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let rows = self.forest.rows("TreeEnsembleClassifier", (input.datum_type(), input.shape()))?;
        let classes = self.labels.len();
        let (mut labels, mut all) = (Vec::with_capacity(rows), vec![0.0; rows * classes]);
        let (mut floats, mut doubles) = (vec![0.0_f32; classes], vec![0.0_f64; classes]);
        let mut seen = vec![false; classes];
        each_row!(self.forest, input, rows, |trees, row, at| {
            let scores = &mut all[at * classes..(at + 1) * classes];
            labels.push(self.labels[self.row(trees, row, scratch(&mut floats, &mut doubles), &mut seen, scores)]);
        });
        Ok(tvec![answer(&[rows], labels)?, answer(&[rows, classes], all)?])
    }
}
