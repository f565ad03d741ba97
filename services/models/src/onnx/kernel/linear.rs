//! LinearClassifier and LinearRegressor.

use super::{
    super::{CheckError, attributes::Attributes},
    Kernel, Shaped, answer, columns, floats,
    post::{Post, highest},
};
use tract_onnx::tract_hir::internal::*;

/// Rows of coefficients with an intercept each.
#[derive(Debug)]
struct Planes {
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
    columns: usize,
}

impl Planes {
    fn new(attributes: &Attributes<'_>, count: usize) -> Result<Self, CheckError> {
        let coefficients = attributes.floats("coefficients").to_vec();
        let intercepts = match attributes.floats("intercepts") {
            [] => vec![0.0; count],
            intercepts => intercepts.to_vec(),
        };
        attributes.as_many("intercepts", &intercepts, count)?;
        if count == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(count) {
            return Err(attributes.unsound(format!("{} coefficients do not make {count} rows", coefficients.len())));
        }
        Ok(Self { columns: coefficients.len() / count, coefficients, intercepts })
    }

    fn count(&self) -> usize {
        self.intercepts.len()
    }

    /// The score of each plane, of one row of features.
    fn scores(&self, row: &[f32], scores: &mut [f32]) {
        let planes = self.coefficients.chunks_exact(self.columns).zip(&self.intercepts);
        for (score, (plane, intercept)) in scores.iter_mut().zip(planes) {
            *score = plane.iter().zip(row).map(|(a, b)| a * b).sum::<f32>() + intercept;
        }
    }
}

/// The class with the highest score, and the scores.
#[derive(Debug)]
pub(super) struct LinearClassifier {
    planes: Planes,
    labels: Vec<i64>,
    post: Post,
}

impl LinearClassifier {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let labels = attributes.ints("classlabels_ints").to_vec();
        let count = match attributes.floats("intercepts") {
            [] => labels.len(),
            intercepts => intercepts.len(),
        };
        let planes = Planes::new(attributes, count)?;
        // One plane parts two classes.
        attributes.as_many("the list of classes", &labels, if count == 1 { 2 } else { count })?;
        let post = Post::of(attributes)?;
        if count == 1 && post == Post::Probit {
            return Err(attributes.unsound("post_transform PROBIT of a single score is not defined"));
        }
        Ok(Self { planes, labels, post })
    }
}

impl Kernel for LinearClassifier {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        let rows = columns("LinearClassifier", inputs[0].1, self.planes.columns)?;
        Ok(tvec![(DatumType::I64, tvec![rows]), (DatumType::F32, tvec![rows, self.labels.len()])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let rows = columns("LinearClassifier", inputs[0].shape(), self.planes.columns)?;
        let classes = self.labels.len();
        let (mut labels, mut all) = (Vec::with_capacity(rows), vec![0.0; rows * classes]);
        floats(&inputs[0], |values| {
            for (row, scores) in values.chunks_exact(self.planes.columns).zip(all.chunks_exact_mut(classes)) {
                labels.push(self.labels[self.row(row, scores)]);
            }
            Ok(())
        })?;
        Ok(tvec![answer(&[rows], labels)?, answer(&[rows, classes], all)?])
    }
}

impl LinearClassifier {
    /// Fills in the scores of a row, and returns which class is its.
    fn row(&self, row: &[f32], scores: &mut [f32]) -> usize {
        let count = self.planes.count();
        self.planes.scores(row, &mut scores[..count]);
        if count > 1 {
            let class = highest(scores);
            self.post.many(scores);
            return class;
        }
        // Without a logistic transform, the one score is taken for a share.
        let score = scores[0];
        scores.copy_from_slice(&self.post.both(score, self.post != Post::Logistic));
        usize::from(score > 0.0)
    }
}

/// The scores as they are.
#[derive(Debug)]
pub(super) struct LinearRegressor {
    planes: Planes,
    post: Post,
}

impl LinearRegressor {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let targets = usize::try_from(attributes.int("targets", 1)).unwrap_or_default();
        Ok(Self { planes: Planes::new(attributes, targets)?, post: Post::of(attributes)? })
    }
}

impl Kernel for LinearRegressor {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        let rows = columns("LinearRegressor", inputs[0].1, self.planes.columns)?;
        Ok(tvec![(DatumType::F32, tvec![rows, self.planes.count()])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let rows = columns("LinearRegressor", inputs[0].shape(), self.planes.columns)?;
        let targets = self.planes.count();
        let mut all = vec![0.0; rows * targets];
        floats(&inputs[0], |values| {
            for (row, scores) in values.chunks_exact(self.planes.columns).zip(all.chunks_exact_mut(targets)) {
                self.planes.scores(row, scores);
                match self.post {
                    Post::Probit => scores.iter_mut().for_each(|score| *score = super::post::probit(*score)),
                    post if targets > 1 => post.many(scores),
                    _ => {}
                }
            }
            Ok(())
        })?;
        Ok(tvec![answer(&[rows, targets], all)?])
    }
}
