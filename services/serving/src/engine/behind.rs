//! Rows of jobs: in pieces, behind every request.

use super::{
    Lane, Place, Refusal,
    batch::{append, split},
};
use loadline_models::Tensor;

impl Lane {
    /// Answers any number of rows, a batch at a time, each only where no request waits. Under load that lasts this lasts as long.
    ///
    /// # Errors
    /// As [`Lane::answer`], but never because too much waits.
    pub async fn answer_behind(&self, inputs: Vec<Tensor>, rows: usize) -> Result<Vec<Tensor>, Refusal> {
        let most = self.batch_rows().max(1);
        let lengths: Vec<usize> = (0..rows.max(1)).step_by(most).map(|begun| most.min(rows - begun)).collect();
        let mut whole: Option<Vec<Tensor>> = None;
        for (piece, rows) in split(inputs, &lengths)?.into_iter().zip(lengths) {
            let answer = self.answer_from(Place::Behind, piece, rows, None).await?;
            whole = Some(match whole {
                None => answer,
                Some(before) => joined(before, answer)?,
            });
        }
        whole.ok_or_else(|| Refusal::Invalid("there are no rows".to_owned()))
    }
}

/// Outputs of rows that follow each other.
fn joined(mut before: Vec<Tensor>, after: Vec<Tensor>) -> Result<Vec<Tensor>, Refusal> {
    let alike = |(a, b): (&Tensor, &Tensor)| a.shape.get(1..) == b.shape.get(1..) && a.values.data_type() == b.values.data_type();
    if before.len() != after.len() || !before.iter().zip(&after).all(alike) {
        return Err(Refusal::Broken("its outputs have other types or shapes for other rows".to_owned()));
    }
    for (whole, part) in before.iter_mut().zip(after) {
        whole.shape[0] += part.shape[0];
        append(&mut whole.values, part.values);
    }
    Ok(before)
}
