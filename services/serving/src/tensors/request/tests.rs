use super::*;
use bytes::Bytes;
use loadline_models::DataType;
use loadline_proto::inference::{InferTensorContents, model_infer_request::InferRequestedOutputTensor};

fn port(name: &str, data_type: DataType, shape: &[Option<usize>]) -> Port {
    Port { name: name.to_owned(), data_type, shape: shape.to_vec() }
}

/// Two inputs, numbers and a text, and two outputs.
fn takes() -> [Port; 2] {
    [port("x", DataType::F32, &[None, Some(2)]), port("kind", DataType::Text, &[None, Some(1)])]
}

fn gives() -> [Port; 2] {
    [port("label", DataType::I64, &[None]), port("probabilities", DataType::F32, &[None, Some(3)])]
}

fn input(name: &str, datatype: &str, shape: &[i64], contents: InferTensorContents) -> InferInputTensor {
    let (name, datatype) = (name.to_owned(), datatype.to_owned());
    InferInputTensor { name, datatype, shape: shape.to_vec(), contents: Some(contents), ..InferInputTensor::default() }
}

fn floats(values: &[f32]) -> InferTensorContents {
    InferTensorContents { fp32_contents: values.to_vec(), ..InferTensorContents::default() }
}

fn texts(values: &[&str]) -> InferTensorContents {
    let bytes_contents = values.iter().map(|text| text.as_bytes().to_vec()).collect();
    InferTensorContents { bytes_contents, ..InferTensorContents::default() }
}

/// Two rows, as they should be.
fn good() -> ModelInferRequest {
    let inputs =
        vec![input("kind", "BYTES", &[2, 1], texts(&["a", "é"])), input("x", "FP32", &[2, 2], floats(&[1.0, 2.0, 3.0, 4.0]))];
    ModelInferRequest { inputs, ..ModelInferRequest::default() }
}

fn asked(request: ModelInferRequest) -> Result<Asked, Invalid> {
    read(request, &takes(), &gives(), 3)
}

/// The same request, its values as bytes.
fn as_bytes(mut request: ModelInferRequest) -> ModelInferRequest {
    for input in &mut request.inputs {
        let contents = input.contents.take().unwrap();
        let values = match input.datatype.as_str() {
            "FP32" => Values::F32(contents.fp32_contents),
            _ => Values::Text(contents.bytes_contents.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()),
        };
        request.raw_input_contents.push(raw::bytes(&values));
    }
    request
}

#[test]
fn inputs_come_in_the_models_order_from_either_form() {
    let typed = asked(good()).unwrap();
    assert_eq!((typed.rows, typed.raw, &typed.outputs), (2, false, &None));
    assert_eq!(typed.inputs[0].values, Values::F32(vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(typed.inputs[1].values, Values::Text(vec!["a".to_owned(), "é".to_owned()]));
    let raw = asked(as_bytes(good())).unwrap();
    assert!(raw.raw);
    assert_eq!((raw.inputs, raw.rows), (typed.inputs, typed.rows));
}

#[test]
fn outputs_are_chosen_by_name() {
    let chosen = |names: &[&str]| {
        let output = |name: &&str| InferRequestedOutputTensor { name: (*name).to_owned(), ..Default::default() };
        asked(ModelInferRequest { outputs: names.iter().map(output).collect(), ..good() })
    };
    assert_eq!(chosen(&["probabilities", "label"]).unwrap().outputs, Some(vec![1, 0]));
    assert_eq!(chosen(&["label", "odds"]).unwrap_err().field, "outputs[1].name");
    assert!(chosen(&["label", "label"]).unwrap_err().detail.contains("twice"));
}

#[test]
fn a_gap_is_let_through_and_remembered() {
    let mut request = good();
    request.inputs[1].contents = Some(floats(&[1.0, 2.0, 3.0, f32::NAN]));
    let gap = asked(request).unwrap().gap.unwrap();
    assert_eq!(gap.field, "inputs[1]");
    assert!(gap.detail.contains("value 1 of row 1"), "{gap}");
}

#[test]
fn an_infinite_value_is_remembered_where_all_values_are_numbers() {
    let told = |values: &[f32]| {
        let mut request = good();
        request.inputs[1].contents = Some(floats(values));
        asked(request).unwrap().gap.map(|gap| gap.detail)
    };
    let begins = |values: &[f32], with: &str| told(values).is_some_and(|detail| detail.starts_with(with));
    assert!(begins(&[1.0, f32::NEG_INFINITY, f32::INFINITY, 4.0], "value 1 of row 0 is infinite"));
    assert!(begins(&[f32::INFINITY, 2.0, f32::NAN, 4.0], "value 0 of row 1 is NaN"));
    assert_eq!(told(&[1.0, 2.0, f32::MAX, 4.0]), None);
}

/// Everything that can be wrong, by what is done to a good request, with the field and a part of the message.
#[test]
fn what_is_wrong_is_named_with_what_is_taken() {
    type Fault = fn(&mut ModelInferRequest);
    let faults: [(Fault, &str, &str); 20] = [
        (|r| r.inputs.clear(), "inputs", "lack `x`, FP32 [rows, 2]"),
        (|r| drop(r.inputs.pop()), "inputs", "lack `x`"),
        (|r| r.inputs[1].name = "y".to_owned(), "inputs[1].name", "`y` is no input of this model, which takes `x`, `kind`"),
        (|r| r.inputs[1].name = "\u{1b}[2J".repeat(99), "inputs[1].name", "`\\u{1b}[2J"),
        (|r| r.inputs.push(r.inputs[1].clone()), "inputs[2].name", "`x` comes twice"),
        (|r| r.inputs[1].datatype = "FP64".to_owned(), "inputs[1].datatype", "is \"FP64\"; `x` is FP32 [rows, 2]"),
        (|r| r.inputs[1].datatype.clear(), "inputs[1].datatype", "is \"\""),
        (|r| r.inputs[1].shape = vec![4], "inputs[1].shape", "1 axes instead of 2"),
        (|r| r.inputs[1].shape = vec![], "inputs[1].shape", "0 axes"),
        (|r| r.inputs[1].shape = vec![-1, 2], "inputs[1].shape", "negative"),
        (|r| r.inputs[1].shape = vec![0, 2], "inputs[1].shape", "holds nothing"),
        (|r| r.inputs[1].shape = vec![2, 3], "inputs[1].shape", "[2, 3], which is another"),
        (|r| r.inputs[1].shape = vec![i64::MAX, 2], "inputs[1].shape", "rows; one request may have 3"),
        (|r| r.inputs[1].shape = vec![1, 2], "inputs[1].shape", "1 rows, the first input has 2"),
        (|r| r.inputs[0].shape = vec![4, 1], "inputs[0].shape", "4 rows; one request may have 3"),
        (|r| r.inputs[1].contents = None, "inputs[1].contents", "0 values in fp32_contents; the shape has 4"),
        (|r| r.inputs[1].contents = Some(floats(&[1.0])), "inputs[1].contents", "1 values in fp32_contents"),
        (|r| r.inputs[1].contents = Some(texts(&["a"; 4])), "inputs[1].contents", "belong into fp32_contents"),
        (|r| r.inputs[0].contents.as_mut().unwrap().bytes_contents[1] = vec![0xff], "inputs[0].contents", "value 1 is no UTF-8"),
        (|r| r.raw_input_contents = vec![Bytes::new()], "raw_input_contents", "1 elements for 2 inputs"),
    ];
    for (fault, field, part) in faults {
        let mut request = good();
        fault(&mut request);
        let error = asked(request).unwrap_err();
        assert_eq!(error.field, field, "{error}");
        assert!(error.detail.contains(part), "{error} lacks {part}");
        assert!(error.detail.len() < 400, "{error}");
    }
}

#[test]
fn values_in_both_forms_are_refused() {
    let mut request = as_bytes(good());
    request.inputs[1].contents = Some(floats(&[1.0]));
    let error = asked(request).unwrap_err();
    assert_eq!(error.field, "inputs[1].contents");
    assert!(error.detail.contains("both"), "{error}");
    let mut request = as_bytes(good());
    request.inputs[1].contents = Some(InferTensorContents::default());
    assert!(asked(request).is_ok(), "contents without values are none");
    let mut request = as_bytes(good());
    request.raw_input_contents[1] = Bytes::from_static(&[0; 15]);
    assert_eq!(asked(request).unwrap_err().field, "raw_input_contents[1]");
}
