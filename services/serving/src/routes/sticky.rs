//! Which requests a canary answers.

use crate::tensors::Invalid;
use loadline_proto::inference::{ModelInferRequest, infer_parameter::ParameterChoice};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Parts that a weight is given in: hundredths of a percent.
pub const PARTS: u32 = 10_000;
/// Parameter of a request that says what it belongs to.
const ROUTE_KEY: &str = "route_key";

/// Where a key stands among [`PARTS`], the same in every process and at any time: a canary of weight `w` answers those below `w`, so
/// that raising the weight only ever takes keys from the champion. Models and aliases order keys differently, so that the same callers
/// are not the first at every trial.
pub fn place(model: &str, alias: &str, key: &str) -> u32 {
    let mut hasher = blake3::Hasher::new();
    for part in [model, alias, key] {
        // With its length: no two triples are the same bytes.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    let scaled = (u128::from(u64::from_le_bytes(first)) * u128::from(PARTS)) >> 64;
    u32::try_from(scaled).unwrap_or_default()
}

/// What a request belongs to: its parameter `route_key`, else its id; `None`: to nothing.
///
/// # Errors
/// When the parameter is no text.
pub fn key(request: &ModelInferRequest) -> Result<Option<&str>, Invalid> {
    let key = match request.parameters.get(ROUTE_KEY).map(|parameter| parameter.parameter_choice.as_ref()) {
        None => request.id.as_str(),
        Some(Some(ParameterChoice::StringParam(key))) => key.as_str(),
        Some(_) => return Err(Invalid::new(format!("parameters[{ROUTE_KEY:?}]"), "has to be a text (string_param)")),
    };
    Ok((!key.is_empty()).then_some(key))
}

/// Places of requests that belong to nothing: spread evenly, whatever asks.
#[derive(Default)]
pub struct Spread(AtomicU64);

impl Spread {
    /// The next one.
    pub fn next(&self) -> u32 {
        // By the golden ratio: any run of requests meets all parts alike.
        let turn = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        u32::try_from((u128::from(turn) * u128::from(PARTS)) >> 64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_proto::inference::InferParameter;

    const KEYS: usize = 100_000;

    fn places(model: &str) -> Vec<u32> {
        (0..KEYS).map(|key| place(model, "champion", &format!("caller-{key}"))).collect()
    }

    #[test]
    fn a_tenth_of_the_keys_is_a_tenth() {
        let below = places("match").into_iter().filter(|place| *place < PARTS / 10).count() as f64;
        // Five standard deviations of 100,000 coins.
        let tolerance = 5.0 * (KEYS as f64 * 0.1 * 0.9).sqrt();
        assert!((below - KEYS as f64 * 0.1).abs() < tolerance, "{below}");
        let spread = Spread::default();
        let anonymous = (0..KEYS).filter(|_| spread.next() < PARTS / 10).count() as f64;
        assert!((anonymous - KEYS as f64 * 0.1).abs() < 10.0, "{anonymous}");
    }

    #[test]
    fn raising_the_weight_moves_keys_one_way_and_a_key_stays_where_it_is() {
        let (first, again) = (places("match"), places("match"));
        assert_eq!(first, again);
        for (lower, higher) in [(0, 1), (100, 1_000), (1_000, 5_000), (5_000, PARTS)] {
            let leaves = first.iter().filter(|place| **place < lower && **place >= higher).count();
            let comes = first.iter().filter(|place| **place >= lower && **place < higher).count() as f64;
            let expected = KEYS as f64 * f64::from(higher - lower) / f64::from(PARTS);
            assert_eq!(leaves, 0);
            assert!((comes - expected).abs() < 5.0 * expected.sqrt() + 1.0, "{lower} to {higher}: {comes}");
        }
        assert!(first.iter().all(|place| *place < PARTS));
    }

    #[test]
    fn each_model_begins_with_other_keys() {
        let early = |places: Vec<u32>| places.into_iter().map(|place| place < PARTS / 10).collect::<Vec<_>>();
        let (one, other) = (early(places("match")), early(places("wine")));
        let both = one.iter().zip(&other).filter(|(one, other)| **one && **other).count();
        assert!((700..1_300).contains(&both), "{both} of {KEYS} are early in both; a hundredth would be chance");
        assert_ne!(place("ab", "c", "k"), place("a", "bc", "k"), "parts do not run together");
    }

    #[test]
    fn a_key_is_the_parameter_or_else_the_id() {
        let parameter = |choice| InferParameter { parameter_choice: choice };
        let with = |id: &str, given: Option<InferParameter>| ModelInferRequest {
            id: id.to_owned(),
            parameters: given.into_iter().map(|given| (ROUTE_KEY.to_owned(), given)).collect(),
            ..ModelInferRequest::default()
        };
        let text = |text: &str| Some(parameter(Some(ParameterChoice::StringParam(text.to_owned()))));
        assert_eq!(key(&with("7", text("anna"))), Ok(Some("anna")));
        assert_eq!(key(&with("7", None)), Ok(Some("7")));
        assert_eq!(key(&with("", None)), Ok(None));
        for wrong in [parameter(None), parameter(Some(ParameterChoice::Int64Param(7)))] {
            assert!(key(&with("7", Some(wrong))).unwrap_err().field.contains("route_key"));
        }
    }
}
