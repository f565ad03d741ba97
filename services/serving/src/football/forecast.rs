//! What a model must be to answer for a match: one input of floats, as wide as the set of features it names (`feature_set`), and one output
//! of floats over three classes, in the order that it names (`class_order`).

use super::{MatchError, fixture::same_features};
use crate::{gate, resident::Loaded};
use loadline_domain::football::{Features, features::NAMES};
use loadline_models::{DataType, Tensor, Values};
use loadline_proto::serving::Probabilities;

/// Keys of the metadata of an ONNX file.
const FEATURE_SET: &str = "feature_set";
const CLASS_ORDER: &str = "class_order";
const CLASSES: [&str; 3] = ["home", "draw", "away"];
/// How far probabilities may be from one together.
const ROUNDING: f64 = 1e-3;

/// How a model is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    version: u64,
    input: String,
    /// The place of its forecast among its outputs.
    pub output: usize,
    /// The column of each class.
    columns: [usize; CLASSES.len()],
}

impl Form {
    /// Of a version.
    ///
    /// # Errors
    /// What it lacks.
    pub fn of(version: &Loaded) -> Result<Self, MatchError> {
        let number = version.number;
        let lacks = |why: String| MatchError::NoForecast { version: number, why };
        let told = |key: &str| version.metadata.get(key).map(String::as_str);
        let features = told(FEATURE_SET).ok_or_else(|| lacks(format!("its metadata has no `{FEATURE_SET}`")))?;
        same_features(features, || format!("version {number} of `football`"))?;
        let input = match &version.inputs[..] {
            [port] if port.data_type == DataType::F32 && port.shape == [None, Some(NAMES.len())] => port.name.clone(),
            _ => return Err(lacks(format!("it does not take one input of {} floats", NAMES.len()))),
        };
        let (output, classes) = gate::forecast(version, "").map_err(|error| lacks(error.to_string()))?;
        let order = told(CLASS_ORDER).ok_or_else(|| lacks(format!("its metadata has no `{CLASS_ORDER}`")))?;
        let columns = columns(order).filter(|_| classes == CLASSES.len());
        let wrong = || lacks(format!("it answers {classes} classes in the order `{order}`; it must be home, draw and away"));
        Ok(Self { version: number, input, output, columns: columns.ok_or_else(wrong)? })
    }

    /// What it is asked.
    pub fn question(&self, features: &Features) -> Tensor {
        Tensor::new(self.input.clone(), [1, features.len()], Values::F32(features.to_vec()))
    }

    /// What it answered, in the order of the contract.
    ///
    /// # Errors
    /// Numbers that are no probabilities.
    pub fn probabilities(&self, answered: &[f32]) -> Result<Probabilities, MatchError> {
        let wrong = || MatchError::NoForecast { version: self.version, why: format!("{answered:?} are no probabilities") };
        let sum: f64 = answered.iter().map(|value| f64::from(*value)).sum();
        let fits = answered.len() == CLASSES.len() && answered.iter().all(|value| (0.0..=1.0).contains(value));
        if !fits || (sum - 1.0).abs() > ROUNDING {
            return Err(wrong());
        }
        let [home, draw, away] = self.columns.map(|column| answered[column]);
        Ok(Probabilities { home, draw, away })
    }
}

fn columns(order: &str) -> Option<[usize; CLASSES.len()]> {
    let named: Vec<_> = order.split(',').map(str::trim).collect();
    let place = |class: &str| named.iter().position(|name| *name == class);
    match CLASSES.map(place) {
        [Some(home), Some(draw), Some(away)] if named.len() == CLASSES.len() => Some([home, draw, away]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_come_in_any_order_and_each_once() {
        assert_eq!(columns("home,draw,away"), Some([0, 1, 2]));
        assert_eq!(columns("away, draw, home"), Some([2, 1, 0]));
        for order in ["", "home,draw", "home,draw,draw", "home,draw,away,other", "H,D,A"] {
            assert_eq!(columns(order), None, "{order}");
        }
    }

    #[test]
    fn what_does_not_add_up_is_no_forecast() {
        let form = Form { version: 1, input: "x".to_owned(), output: 0, columns: [2, 1, 0] };
        let told = form.probabilities(&[0.2, 0.3, 0.5]).unwrap();
        assert_eq!((told.home, told.draw, told.away), (0.5, 0.3, 0.2));
        for wrong in [&[0.2, 0.3, 0.6][..], &[-0.1, 0.6, 0.5], &[0.5, 0.5], &[f32::NAN, 0.5, 0.5]] {
            assert!(form.probabilities(wrong).is_err(), "{wrong:?}");
        }
    }
}
