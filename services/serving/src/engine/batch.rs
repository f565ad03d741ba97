//! Several requests as one, and one answer as several.

use super::{lane, lane::Refusal};
use loadline_models::{Tensor, Values};
use std::sync::Arc;
use tokio::{sync::oneshot, time::Instant};

/// A request in a queue.
pub(super) struct Waiting {
    /// In the order of the model's inputs.
    pub inputs: Vec<Tensor>,
    pub rows: usize,
    pub since: Instant,
    pub deadline: Option<Instant>,
    pub reply: oneshot::Sender<Result<Vec<Tensor>, Refusal>>,
}

/// Requests that are answered together.
pub(super) struct Batch {
    pub lane: Arc<lane::Shared>,
    /// Never empty.
    pub waiting: Vec<Waiting>,
    pub rows: usize,
}

impl Waiting {
    /// Whether somebody still waits, and in time.
    pub fn is_wanted(&self, now: Instant) -> bool {
        !self.reply.is_closed() && self.deadline.is_none_or(|deadline| now < deadline)
    }

    /// Whether both can be one tensor an input: all axes but the rows are equal.
    pub fn fits(&self, other: &Self) -> bool {
        let equal = |(a, b): (&Tensor, &Tensor)| a.shape.len() == b.shape.len() && a.shape.get(1..) == b.shape.get(1..);
        self.inputs.len() == other.inputs.len() && self.inputs.iter().zip(&other.inputs).all(equal)
    }
}

impl Batch {
    /// All rows, in the order of the requests; the requests have none left.
    pub fn join(&mut self) -> Vec<Tensor> {
        let (first, others) = self.waiting.split_first_mut().expect("a batch is never empty");
        let mut joined = std::mem::take(&mut first.inputs);
        for other in others {
            for (whole, part) in joined.iter_mut().zip(std::mem::take(&mut other.inputs)) {
                whole.shape[0] += part.shape[0];
                append(&mut whole.values, part.values);
            }
        }
        joined
    }

    /// A batch of each request, with its own of these rows.
    pub fn apart(self, inputs: Vec<Tensor>) -> Vec<Self> {
        let rows: Vec<usize> = self.waiting.iter().map(|one| one.rows).collect();
        let parts = split(inputs, &rows).expect("the rows were joined from the same requests");
        let alone = |(one, inputs): (Waiting, Vec<Tensor>)| Self {
            lane: self.lane.clone(),
            rows: one.rows,
            waiting: vec![Waiting { inputs, ..one }],
        };
        self.waiting.into_iter().zip(parts).map(alone).collect()
    }

    /// The answer, by request.
    pub fn parts(&self, answer: Result<Vec<Tensor>, Refusal>) -> Result<Vec<Vec<Tensor>>, Refusal> {
        answer.and_then(|outputs| split(outputs, &self.waiting.iter().map(|one| one.rows).collect::<Vec<_>>()))
    }

    /// Gives each request its part, or all of them the same refusal.
    pub fn hand_out(self, parts: Result<Vec<Vec<Tensor>>, Refusal>) {
        match parts {
            Ok(parts) => self.waiting.into_iter().zip(parts).for_each(|(one, part)| drop(one.reply.send(Ok(part)))),
            Err(refusal) => self.waiting.into_iter().for_each(|one| drop(one.reply.send(Err(refusal.clone())))),
        }
    }
}

/// Outputs by request, from outputs of all of them together.
pub(super) fn split(outputs: Vec<Tensor>, rows: &[usize]) -> Result<Vec<Vec<Tensor>>, Refusal> {
    let all: usize = rows.iter().sum();
    for output in &outputs {
        if output.shape.first() != Some(&all) || output.shape.iter().product::<usize>() != output.values.len() {
            let Tensor { name, shape, .. } = output;
            return Err(Refusal::Broken(format!("output `{name}` has the shape {shape:?} for {all} rows")));
        }
    }
    if let [_] = rows {
        return Ok(vec![outputs]);
    }
    let mut parts: Vec<Vec<Tensor>> = rows.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
    for Tensor { name, shape, values } in outputs {
        let width: usize = shape[1..].iter().product();
        let cut = cut(values, rows.iter().map(|rows| rows * width));
        for ((part, values), rows) in parts.iter_mut().zip(cut).zip(rows) {
            let mut shape = shape.clone();
            shape[0] = *rows;
            part.push(Tensor { name: name.clone(), shape, values });
        }
    }
    Ok(parts)
}

pub(super) fn append(whole: &mut Values, part: Values) {
    match (whole, part) {
        (Values::Bool(whole), Values::Bool(part)) => whole.extend(part),
        (Values::I32(whole), Values::I32(part)) => whole.extend(part),
        (Values::I64(whole), Values::I64(part)) => whole.extend(part),
        (Values::F32(whole), Values::F32(part)) => whole.extend(part),
        (Values::F64(whole), Values::F64(part)) => whole.extend(part),
        (Values::Text(whole), Values::Text(part)) => whole.extend(part),
        (whole, part) => {
            unreachable!("{:?} after {:?}: types are checked against the model", part.data_type(), whole.data_type())
        }
    }
}

fn cut(values: Values, lengths: impl Iterator<Item = usize>) -> Vec<Values> {
    fn pieces<T>(values: Vec<T>, lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = Vec<T>> {
        let mut values = values.into_iter();
        lengths.map(move |length| values.by_ref().take(length).collect())
    }
    match values {
        Values::Bool(values) => pieces(values, lengths).map(Values::Bool).collect(),
        Values::I32(values) => pieces(values, lengths).map(Values::I32).collect(),
        Values::I64(values) => pieces(values, lengths).map(Values::I64).collect(),
        Values::F32(values) => pieces(values, lengths).map(Values::F32).collect(),
        Values::F64(values) => pieces(values, lengths).map(Values::F64).collect(),
        Values::Text(values) => pieces(values, lengths).map(Values::Text).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], values: Values) -> Tensor {
        Tensor { name: "y".to_owned(), shape: shape.to_vec(), values }
    }

    #[test]
    fn an_answer_is_cut_where_its_requests_meet_whatever_its_axes() {
        let probabilities = tensor(&[3, 2], Values::F32(vec![0.0, 0.1, 1.0, 1.1, 2.0, 2.1]));
        let labels = tensor(&[3], Values::Text(["a", "b", "c"].map(str::to_owned).to_vec()));
        let parts = split(vec![probabilities, labels], &[1, 2]).unwrap();
        assert_eq!(parts[0][0], tensor(&[1, 2], Values::F32(vec![0.0, 0.1])));
        assert_eq!(parts[1][0], tensor(&[2, 2], Values::F32(vec![1.0, 1.1, 2.0, 2.1])));
        assert_eq!(parts[1][1], tensor(&[2], Values::Text(vec!["b".to_owned(), "c".to_owned()])));
    }

    #[test]
    fn an_answer_for_another_number_of_rows_is_nobodys() {
        for (shape, length) in [(vec![2, 2], 4), (vec![], 1), (vec![3, 2], 5)] {
            let answer = tensor(&shape, Values::F64(vec![0.0; length]));
            assert!(matches!(split(vec![answer], &[1, 2]), Err(Refusal::Broken(why)) if why.contains("3 rows")), "{shape:?}");
        }
    }
}
