//! How an answer looks.

use super::{raw, typed};
use loadline_models::{Tensor, Values};
use loadline_proto::inference::{ModelInferResponse, model_infer_response::InferOutputTensor};

/// Puts outputs into an answer: those chosen, in that order, as bytes where the request had bytes.
pub fn fill(answer: &mut ModelInferResponse, outputs: Vec<Tensor>, chosen: Option<&[usize]>, as_bytes: bool) {
    let mut outputs: Vec<Option<Tensor>> = outputs.into_iter().map(Some).collect();
    let chosen = match chosen {
        Some(chosen) => chosen.iter().filter_map(|place| outputs.get_mut(*place).and_then(Option::take)).collect(),
        None => outputs.into_iter().flatten().collect::<Vec<_>>(),
    };
    for Tensor { name, shape, values } in chosen {
        let datatype = values.data_type().name().to_owned();
        let shape = shape.into_iter().map(|length| i64::try_from(length).unwrap_or(i64::MAX)).collect();
        let mut output = InferOutputTensor { name, datatype, shape, ..InferOutputTensor::default() };
        if as_bytes {
            answer.raw_output_contents.push(raw::bytes(&values));
        } else {
            output.contents = Some(typed::contents(values));
        }
        answer.outputs.push(output);
    }
}

/// Where the first value is no number.
pub fn first_gap(outputs: &[Tensor]) -> Option<String> {
    outputs.iter().find_map(|output| {
        let at = match &output.values {
            Values::F32(values) => values.iter().position(|value| value.is_nan()),
            Values::F64(values) => values.iter().position(|value| value.is_nan()),
            Values::Bool(_) | Values::I32(_) | Values::I64(_) | Values::Text(_) => None,
        }?;
        let width: usize = output.shape[1..].iter().product();
        Some(format!("output `{}`, row {}", output.name, at / width.max(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> Vec<Tensor> {
        let labels = Tensor { name: "label".to_owned(), shape: vec![2], values: Values::I64(vec![1, 0]) };
        let values = Values::F32(vec![0.25, 0.75, 1.0, 0.0]);
        vec![labels, Tensor { name: "probabilities".to_owned(), shape: vec![2, 2], values }]
    }

    #[test]
    fn chosen_outputs_come_in_the_order_chosen() {
        let mut answer = ModelInferResponse::default();
        fill(&mut answer, outputs(), Some(&[1, 0]), false);
        let names: Vec<_> = answer.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["probabilities", "label"]);
        assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, [0.25, 0.75, 1.0, 0.0]);
        assert_eq!((answer.outputs[1].datatype.as_str(), &answer.outputs[1].shape[..]), ("INT64", &[2][..]));
    }

    #[test]
    fn an_answer_as_bytes_has_no_contents() {
        let mut answer = ModelInferResponse::default();
        fill(&mut answer, outputs(), None, true);
        assert!(answer.outputs.iter().all(|output| output.contents.is_none()));
        assert_eq!((answer.raw_output_contents[0].len(), answer.raw_output_contents[1].len()), (16, 16));
    }

    #[test]
    fn an_answer_that_is_no_number_is_found_with_its_row() {
        let mut outputs = outputs();
        assert_eq!(first_gap(&outputs), None);
        outputs[1].values = Values::F32(vec![0.0, 0.0, 0.0, f32::NAN]);
        assert_eq!(first_gap(&outputs).unwrap(), "output `probabilities`, row 1");
    }
}
