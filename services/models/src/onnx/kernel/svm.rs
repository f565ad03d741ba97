//! SVMClassifier and SVMRegressor, as libsvm and liblinear answer.

use super::{
    super::{CheckError, attributes::Attributes},
    Kernel, Shaped, answer, columns, floats,
    pairs::couple,
    post::{Post, highest, logistic},
};
use tract_onnx::tract_hir::internal::*;

/// How alike a row and a support vector are.
#[derive(Debug)]
enum Likeness {
    Linear,
    Poly { gamma: f32, coef0: f32, degree: f32 },
    Rbf { gamma: f32 },
    Sigmoid { gamma: f32, coef0: f32 },
}

impl Likeness {
    fn of(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let (gamma, coef0, degree) = match *attributes.floats("kernel_params") {
            [] => (0.0, 0.0, 0.0),
            [gamma, coef0, degree, ..] => (gamma, coef0, degree),
            _ => return Err(attributes.unsound("kernel_params are gamma, coef0 and degree")),
        };
        Ok(match attributes.text("kernel_type", "LINEAR")? {
            "LINEAR" => Self::Linear,
            "POLY" => Self::Poly { gamma, coef0, degree },
            "RBF" => Self::Rbf { gamma },
            "SIGMOID" => Self::Sigmoid { gamma, coef0 },
            other => return Err(attributes.unsound(format!("kernel_type {other} is not known"))),
        })
    }

    fn between(&self, row: &[f32], vector: &[f32]) -> f32 {
        let dot = || row.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>();
        match *self {
            Self::Linear => dot(),
            Self::Poly { gamma, coef0, degree } => (gamma * dot() + coef0).powf(degree),
            Self::Rbf { gamma } => (-gamma * row.iter().zip(vector).map(|(a, b)| (a - b) * (a - b)).sum::<f32>()).exp(),
            Self::Sigmoid { gamma, coef0 } => (gamma * dot() + coef0).tanh(),
        }
    }
}

/// Support vectors, one after the other.
#[derive(Debug)]
struct Vectors {
    values: Vec<f32>,
    columns: usize,
    likeness: Likeness,
}

impl Vectors {
    fn new(attributes: &Attributes<'_>, values: &[f32], count: usize, likeness: Likeness) -> Result<Self, CheckError> {
        if count == 0 || values.is_empty() || !values.len().is_multiple_of(count) {
            return Err(attributes.unsound(format!("{} values do not make {count} vectors", values.len())));
        }
        Ok(Self { columns: values.len() / count, values: values.to_vec(), likeness })
    }

    fn alike<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        self.values.chunks_exact(self.columns).map(|vector| self.likeness.between(row, vector))
    }
}

/// A number for each row.
#[derive(Debug)]
pub(super) struct SvmRegressor {
    vectors: Vectors,
    /// Of each vector; a linear model is one vector.
    coefficients: Vec<f32>,
    rho: f32,
    one_class: bool,
}

impl SvmRegressor {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let &[rho, ..] = attributes.floats("rho") else { return Err(attributes.unsound("it has no rho")) };
        let coefficients = attributes.floats("coefficients");
        let supports =
            usize::try_from(attributes.int("n_supports", 0)).map_err(|_| attributes.unsound("n_supports is negative"))?;
        let (vectors, coefficients) = if supports > 0 {
            attributes.as_many("coefficients", coefficients, supports)?;
            let values = attributes.floats("support_vectors");
            (Vectors::new(attributes, values, supports, Likeness::of(attributes)?)?, coefficients.to_vec())
        } else {
            (Vectors::new(attributes, coefficients, 1, Likeness::Linear)?, vec![1.0])
        };
        Ok(Self { vectors, coefficients, rho, one_class: attributes.int("one_class", 0) != 0 })
    }
}

impl Kernel for SvmRegressor {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        Ok(tvec![(DatumType::F32, tvec![columns("SVMRegressor", inputs[0].1, self.vectors.columns)?, 1])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let rows = columns("SVMRegressor", inputs[0].shape(), self.vectors.columns)?;
        let score = |row: &[f32]| {
            let score = self.vectors.alike(row).zip(&self.coefficients).map(|(alike, by)| alike * by).sum::<f32>() + self.rho;
            match self.one_class {
                true if score > 0.0 => 1.0,
                true => -1.0,
                false => score,
            }
        };
        let scores = floats(&inputs[0], |values| Ok(values.chunks_exact(self.vectors.columns).map(score).collect()))?;
        Ok(tvec![answer(&[rows, 1], scores)?])
    }
}

/// A class, and scores: of classes where there are probabilities, of pairs of classes where there are none.
#[derive(Debug)]
pub(super) struct SvmClassifier {
    vectors: Vectors,
    labels: Vec<i64>,
    coefficients: Vec<f32>,
    rho: Vec<f32>,
    post: Post,
    how: How,
}

#[derive(Debug)]
enum How {
    /// One plane a class.
    Planes { all_positive: bool },
    /// Pairs of classes vote. The vectors are sorted by class; `starts` has where each class's begin, and their number last.
    Pairs { starts: Vec<usize>, sigmoids: Vec<(f32, f32)> },
}

impl SvmClassifier {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let labels = attributes.ints("classlabels_ints").to_vec();
        if labels.len() < 2 || labels.len() > 1 << 12 {
            return Err(attributes.unsound(format!("it has {} classes", labels.len())));
        }
        let coefficients = attributes.floats("coefficients").to_vec();
        let rho = attributes.floats("rho").to_vec();
        let post = Post::of(attributes)?;
        let per_class = attributes.ints("vectors_per_class");
        if per_class.iter().all(|&count| count == 0) {
            if rho.is_empty() {
                return Err(attributes.unsound("it has no rho"));
            }
            let vectors = Vectors::new(attributes, &coefficients, labels.len(), Likeness::Linear)?;
            let all_positive = coefficients.iter().all(|&value| value >= 0.0);
            return Ok(Self { vectors, labels, coefficients, rho, post, how: How::Planes { all_positive } });
        }
        attributes.as_many("vectors_per_class", per_class, labels.len())?;
        let starts = starts(attributes, per_class)?;
        let count = *starts.last().unwrap_or(&0);
        let pairs = labels.len() * (labels.len() - 1) / 2;
        let vectors = Vectors::new(attributes, attributes.floats("support_vectors"), count, Likeness::of(attributes)?)?;
        attributes.as_many("coefficients", &coefficients, (labels.len() - 1) * count)?;
        attributes.as_many("rho", &rho, pairs)?;
        let (a, b) = (attributes.floats("prob_a"), attributes.floats("prob_b"));
        attributes.as_many("prob_b", b, a.len())?;
        if !a.is_empty() {
            attributes.as_many("prob_a", a, pairs)?;
        }
        let sigmoids = a.iter().copied().zip(b.iter().copied()).collect();
        Ok(Self { vectors, labels, coefficients, rho, post, how: How::Pairs { starts, sigmoids } })
    }

    /// How many scores a row has.
    fn scores(&self) -> usize {
        let classes = self.labels.len();
        match &self.how {
            How::Pairs { sigmoids, .. } if sigmoids.is_empty() && classes > 2 => classes * (classes - 1) / 2,
            _ => classes,
        }
    }

    /// Fills in the scores of a row, and returns its class.
    fn row(&self, row: &[f32], scores: &mut [f32]) -> usize {
        match &self.how {
            How::Planes { all_positive } => self.by_planes(row, scores, *all_positive),
            How::Pairs { starts, sigmoids } => self.by_pairs(row, scores, starts, sigmoids),
        }
    }

    fn by_planes(&self, row: &[f32], scores: &mut [f32], all_positive: bool) -> usize {
        for (score, alike) in scores.iter_mut().zip(self.vectors.alike(row)) {
            *score = alike + self.rho[0];
        }
        let best = highest(scores);
        // Of two classes, a best score beyond the middle is the second's.
        let beyond = if all_positive { scores[best] >= 0.5 } else { scores[best] > 0.0 };
        self.post.many(scores);
        if self.labels.len() == 2 && beyond { 1 } else { best }
    }

    fn by_pairs(&self, row: &[f32], scores: &mut [f32], starts: &[usize], sigmoids: &[(f32, f32)]) -> usize {
        let classes = self.labels.len();
        let decisions = self.decisions(row, starts);
        let mut votes = vec![0_u32; classes];
        for (at, (i, j)) in pairs(classes).enumerate() {
            votes[if decisions[at] > 0.0 { i } else { j }] += 1;
        }
        if !sigmoids.is_empty() {
            scores.copy_from_slice(&couple(classes, |i, j| share(i, j, classes, &decisions, sigmoids)));
            self.post.many(scores);
        } else if classes > 2 {
            scores.copy_from_slice(&decisions);
            self.post.many(scores);
        } else {
            let complement = self.post != Post::None;
            scores.copy_from_slice(&self.post.both(decisions[0], complement));
        }
        let best = votes.iter().max().copied().unwrap_or_default();
        votes.iter().position(|&votes| votes == best).unwrap_or_default()
    }

    /// One decision for each pair of classes: positive for the first of the two.
    fn decisions(&self, row: &[f32], starts: &[usize]) -> Vec<f32> {
        let alike: Vec<f32> = self.vectors.alike(row).collect();
        let sum = |plane: usize, class: usize| -> f64 {
            let (from, to) = (starts[class], starts[class + 1]);
            let coefficients = &self.coefficients[plane * alike.len()..(plane + 1) * alike.len()];
            coefficients[from..to].iter().zip(&alike[from..to]).map(|(a, b)| f64::from(a * b)).sum()
        };
        let pairs = pairs(self.labels.len()).zip(&self.rho);
        pairs.map(|((i, j), &rho)| (sum(j - 1, i) + sum(i, j) + f64::from(rho)) as f32).collect()
    }
}

fn starts(attributes: &Attributes<'_>, per_class: &[i64]) -> Result<Vec<usize>, CheckError> {
    let mut starts = vec![0_usize];
    for &count in per_class {
        let start = usize::try_from(count).ok().and_then(|count| starts[starts.len() - 1].checked_add(count));
        starts.push(start.ok_or_else(|| attributes.unsound("vectors_per_class are absurd"))?);
    }
    Ok(starts)
}

/// Pairs of classes, in the order of decisions.
fn pairs(classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..classes).flat_map(move |i| (i + 1..classes).map(move |j| (i, j)))
}

/// The probability of class `i` if it is `i` or `j`.
fn share(i: usize, j: usize, classes: usize, decisions: &[f32], sigmoids: &[(f32, f32)]) -> f32 {
    let (low, high) = (i.min(j), i.max(j));
    let at = low * classes - low * (low + 1) / 2 + high - low - 1;
    let (a, b) = sigmoids[at];
    let first = (1.0 - logistic(decisions[at] * a + b)).clamp(1e-7, 1.0 - 1e-7);
    if i < j { first } else { 1.0 - first }
}

impl Kernel for SvmClassifier {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        let rows = columns("SVMClassifier", inputs[0].1, self.vectors.columns)?;
        Ok(tvec![(DatumType::I64, tvec![rows]), (DatumType::F32, tvec![rows, self.scores()])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let rows = columns("SVMClassifier", inputs[0].shape(), self.vectors.columns)?;
        let width = self.scores();
        let (mut labels, mut all) = (Vec::with_capacity(rows), vec![0.0; rows * width]);
        floats(&inputs[0], |values| {
            for (row, scores) in values.chunks_exact(self.vectors.columns).zip(all.chunks_exact_mut(width)) {
                labels.push(self.labels[self.row(row, scores)]);
            }
            Ok(())
        })?;
        Ok(tvec![answer(&[rows], labels)?, answer(&[rows, width], all)?])
    }
}
