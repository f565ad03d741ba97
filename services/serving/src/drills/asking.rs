//! Champions asked for one row, as callers are answered: what goes on whatever else is broken.

use crate::{engine::Refusal, resident::Residents};
use loadline_models::{DataType, Port, Tensor, Values};

/// Asks the champion of each model.
///
/// # Errors
/// The first that does not answer, in words.
pub async fn all(residents: &Residents, models: impl IntoIterator<Item = &String>) -> Result<(), String> {
    for model in models {
        let version = residents.hold(model, "").map_err(|error| error.to_string())?;
        match version.lane.answer(version.inputs.iter().map(one_row).collect(), 1, None).await {
            // A model that refuses these values, or fails on them as one does that divides by an input, was reached and ran.
            Ok(_) | Err(Refusal::Invalid(_) | Refusal::Broken(_)) => {}
            Err(refusal) => return Err(format!("{model} does not answer: {refusal:?}")),
        }
    }
    Ok(())
}

/// A row of nothing in particular, of the form that a model takes.
fn one_row(port: &Port) -> Tensor {
    let shape: Vec<usize> = port.shape.iter().map(|length| length.unwrap_or(1)).collect();
    let count = shape.iter().product();
    let values = match port.data_type {
        DataType::Bool => Values::Bool(vec![false; count]),
        DataType::I32 => Values::I32(vec![0; count]),
        DataType::I64 => Values::I64(vec![0; count]),
        DataType::F32 => Values::F32(vec![0.0; count]),
        DataType::F64 => Values::F64(vec![0.0; count]),
        DataType::Text => Values::Text(vec![String::new(); count]),
    };
    Tensor::new(port.name.clone(), shape, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Answers, Engine, Limits},
        resident::{CHAMPION, Identity, Loaded, Served},
    };
    use loadline_models::Sha256;
    use std::{sync::Arc, time::Duration};

    /// Answers everything with the same refusal.
    struct Refuses(Refusal);

    impl Answers for Refuses {
        fn answer(&self, _: &[Tensor]) -> Result<Vec<Tensor>, Refusal> {
            Err(self.0.clone())
        }
    }

    #[tokio::test]
    async fn a_model_that_fails_on_nothing_in_particular_answers_as_it_would_without_a_drill() {
        let engine = Engine::new(Limits { batch_rows: 8, queued_rows: 8, runners: 1, target_wait: Duration::ZERO });
        for (refusal, answers) in [
            (Refusal::Broken("attempt to divide by zero".to_owned()), true),
            (Refusal::Invalid("no such colour".to_owned()), true),
            (Refusal::Expired, false),
        ] {
            let identity = Identity { model: "m".to_owned(), number: 1, sha256: Sha256::of(b"m") };
            let loaded = Arc::new(Loaded::new(identity, vec![], vec![], &engine, Refuses(refusal.clone())));
            let (residents, mut served) = (Residents::default(), Served::default());
            served.name(CHAMPION, &loaded);
            residents.put("m", Some(served));
            assert_eq!(all(&residents, [&"m".to_owned()]).await.is_ok(), answers, "{refusal:?}");
        }
    }
}
