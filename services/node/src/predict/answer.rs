//! Answers as lines.

use crate::output::{Column, Output, clean};
use anyhow::{Context as _, ensure};
use loadline_proto::inference::{
    InferTensorContents, ModelInferResponse, infer_parameter::ParameterChoice, model_infer_response::InferOutputTensor,
};
use serde_json::{Map, Value, json};

/// The answer to one row, with what gave it.
///
/// # Errors
/// When the answer is not what the protocol says.
pub fn lone(output: &Output, answer: &ModelInferResponse) -> anyhow::Result<String> {
    let cells = cells(answer)?;
    if output.json {
        let mut row = object(&cells, 0);
        row.insert("model".to_owned(), json!(answer.model_name));
        row.insert("version".to_owned(), json!(answer.model_version));
        row.insert("sha256".to_owned(), json!(sha256(answer)));
        return Ok(format!("{:#}", Value::Object(row)));
    }
    let rows = cells.iter().map(|(name, values)| vec![name.clone(), text(values.first().unwrap_or(&Value::Null))]);
    let table = output.table(&[Column::Left("OUTPUT"), Column::Right("VALUE")], rows);
    let (model, version) = (clean(&answer.model_name), clean(&answer.model_version));
    let sha256: String = clean(sha256(answer)).chars().take(12).collect();
    Ok(format!("{table}{model} version {version}, artifact {sha256}"))
}

/// A line a row: CSV with a header before the first, or an object each.
///
/// # Errors
/// As [`lone`].
pub fn lines(output: &Output, answer: &ModelInferResponse, headed: &mut bool) -> anyhow::Result<String> {
    let cells = cells(answer)?;
    let rows = cells.first().map_or(0, |(_, values)| values.len());
    let mut lines = String::new();
    if !*headed {
        *headed = true;
        lines.push_str(&(cells.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(",") + "\n"));
    }
    for row in 0..rows {
        let line = if output.json {
            Value::Object(object(&cells, row)).to_string()
        } else {
            cells.iter().map(|(_, values)| quoted(&text(&values[row]))).collect::<Vec<_>>().join(",")
        };
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(lines)
}

/// A column for each value of a row, by name: `probabilities[1]` where an output has several.
fn cells(answer: &ModelInferResponse) -> anyhow::Result<Vec<(String, Vec<Value>)>> {
    let mut cells: Vec<(String, Vec<Value>)> = Vec::new();
    for output in &answer.outputs {
        let values = values(output)?;
        let rows = output.shape.first().and_then(|rows| usize::try_from(*rows).ok()).filter(|rows| *rows > 0);
        let rows = rows.with_context(|| format!("output `{}` has no rows", clean(&output.name)))?;
        ensure!(values.len() % rows == 0, "output `{}` is cut", clean(&output.name));
        let width = values.len() / rows;
        for column in 0..width {
            let name = if width == 1 { output.name.clone() } else { format!("{}[{column}]", output.name) };
            cells.push((name, values.iter().skip(column).step_by(width).cloned().collect()));
        }
    }
    let rows = cells.first().map_or(0, |(_, values)| values.len());
    ensure!(cells.iter().all(|(_, values)| values.len() == rows), "outputs differ in their rows");
    Ok(cells)
}

fn values(output: &InferOutputTensor) -> anyhow::Result<Vec<Value>> {
    let contents = output.contents.as_ref().with_context(|| format!("output `{}` has no contents", clean(&output.name)))?;
    let InferTensorContents { bool_contents, int_contents, int64_contents, fp32_contents, fp64_contents, bytes_contents, .. } =
        contents;
    let values: Vec<Value> = match output.datatype.as_str() {
        "BOOL" => bool_contents.iter().map(|value| json!(value)).collect(),
        "INT32" => int_contents.iter().map(|value| json!(value)).collect(),
        "INT64" => int64_contents.iter().map(|value| json!(value)).collect(),
        // Through text: 0.1 as a double would be 0.10000000149011612.
        "FP32" => {
            fp32_contents.iter().map(|value| value.to_string().parse::<f64>().map_or(Value::Null, |value| json!(value))).collect()
        }
        "FP64" => fp64_contents.iter().map(|value| json!(value)).collect(),
        _ => bytes_contents.iter().map(|value| json!(String::from_utf8_lossy(value))).collect(),
    };
    Ok(values)
}

fn object(cells: &[(String, Vec<Value>)], row: usize) -> Map<String, Value> {
    cells.iter().map(|(name, values)| (name.clone(), values[row].clone())).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn quoted(cell: &str) -> String {
    let cell = clean(cell);
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

fn sha256(answer: &ModelInferResponse) -> &str {
    match answer.parameters.get("sha256").and_then(|parameter| parameter.parameter_choice.as_ref()) {
        Some(ParameterChoice::StringParam(sha256)) => sha256,
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::PLAIN;

    fn answer() -> ModelInferResponse {
        let output = |name: &str, datatype: &str, shape: &[i64], contents| InferOutputTensor {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            contents: Some(contents),
            ..InferOutputTensor::default()
        };
        let labels = InferTensorContents { bytes_contents: vec![b"a,b".to_vec(), b"c".to_vec()], ..Default::default() };
        let numbers = InferTensorContents { fp32_contents: vec![0.1, 0.9, 1.0, 0.0], ..Default::default() };
        let outputs = vec![output("label", "BYTES", &[2], labels), output("p", "FP32", &[2, 2], numbers)];
        ModelInferResponse { model_name: "wine".to_owned(), model_version: "3".to_owned(), outputs, ..Default::default() }
    }

    #[test]
    fn a_row_is_a_line_under_one_header() {
        let mut headed = false;
        assert_eq!(lines(&PLAIN, &answer(), &mut headed).unwrap(), "label,p[0],p[1]\n\"a,b\",0.1,0.9\nc,1.0,0.0\n");
        assert_eq!(lines(&PLAIN, &answer(), &mut headed).unwrap().lines().count(), 2);
        let json = Output::stdout(true);
        let printed = lines(&json, &answer(), &mut headed).unwrap();
        assert_eq!(serde_json::from_str::<Value>(printed.lines().next().unwrap()).unwrap()["p[0]"], json!(0.1));
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error() {
        let mut cut = answer();
        cut.outputs[1].contents.as_mut().unwrap().fp32_contents.pop();
        assert!(lines(&PLAIN, &cut, &mut false).is_err());
    }
}
