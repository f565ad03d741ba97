//! Rows as they are typed, as tensors of a model.

use crate::csv::Splitter;
use anyhow::{bail, ensure};
use loadline_proto::inference::{
    InferTensorContents, model_infer_request::InferInputTensor, model_metadata_response::TensorMetadata,
};

/// Most columns of a line.
const MAX_COLUMNS: usize = 4_096;

/// Columns of a file, by the model's inputs.
#[derive(Debug)]
pub struct Header {
    splitter: Splitter,
    columns: usize,
    inputs: Vec<Wanted>,
    /// Columns that are for no input, such as what happened.
    others: Vec<usize>,
}

/// An input, and which columns it takes.
#[derive(Debug, Clone)]
struct Wanted {
    metadata: TensorMetadata,
    columns: Vec<usize>,
}

/// Rows that are sent together.
#[derive(Debug)]
pub struct Batch {
    inputs: Vec<(TensorMetadata, InferTensorContents)>,
    rows: usize,
}

impl Header {
    /// Which columns go where.
    ///
    /// # Errors
    /// In words: columns that are missing, too many or doubled.
    pub fn new(line: &str, inputs: &[TensorMetadata]) -> Result<Self, String> {
        Self::beside(line, inputs, &[])
    }

    /// The same where some columns, by their names, are for no input: their cells are handed back, row by row.
    ///
    /// # Errors
    /// As [`Header::new`].
    pub fn beside(line: &str, inputs: &[TensorMetadata], others: &[&str]) -> Result<Self, String> {
        let mut splitter = Splitter::new(MAX_COLUMNS);
        let names: Vec<String> = splitter.split(line)?.into_iter().map(|name| name.trim().to_owned()).collect();
        let others = others.iter().map(|other| column(other, &names)).collect::<Result<Vec<_>, _>>()?;
        let left: Vec<usize> = (0..names.len()).filter(|column| !others.contains(column)).collect();
        let inputs = match inputs {
            [only] if width(only) == left.len() => vec![Wanted { metadata: only.clone(), columns: left }],
            [only] if width(only) > 1 => {
                return Err(format!("the header has {} columns; the model takes {}", left.len(), width(only)));
            }
            several => several.iter().map(|input| by_name(input, &names)).collect::<Result<_, _>>()?,
        };
        Ok(Self { splitter, columns: names.len(), inputs, others })
    }

    /// A batch without rows.
    pub fn batch(&self) -> Batch {
        let inputs = self.inputs.iter().map(|input| (input.metadata.clone(), InferTensorContents::default())).collect();
        Batch { inputs, rows: 0 }
    }

    /// Adds a line to a batch, whole or not at all; answers the cells that are for no input.
    ///
    /// # Errors
    /// In words.
    pub fn add(&mut self, line: &str, batch: &mut Batch) -> Result<Vec<String>, String> {
        let cells = self.splitter.split(line)?;
        if cells.len() != self.columns {
            return Err(format!("has {} columns where the header has {}", cells.len(), self.columns));
        }
        let row = self.inputs.iter().map(|input| {
            let mut contents = InferTensorContents::default();
            for column in &input.columns {
                push(&mut contents, &input.metadata, cells[*column].trim())?;
            }
            Ok(contents)
        });
        let row = row.collect::<Result<Vec<_>, String>>()?;
        batch.inputs.iter_mut().zip(row).for_each(|((_, all), row)| append(all, row));
        batch.rows += 1;
        Ok(self.others.iter().map(|column| cells[*column].trim().to_owned()).collect())
    }
}

impl Batch {
    /// How many it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// As the protocol has them.
    pub fn into_inputs(self) -> Vec<InferInputTensor> {
        let rows = i64::try_from(self.rows).unwrap_or(i64::MAX);
        let input = |(metadata, contents): (TensorMetadata, _)| {
            let shape = std::iter::once(rows).chain(metadata.shape.into_iter().skip(1)).collect();
            let (name, datatype) = (metadata.name, metadata.datatype);
            InferInputTensor { name, datatype, shape, contents: Some(contents), ..InferInputTensor::default() }
        };
        self.inputs.into_iter().map(input).collect()
    }
}

/// One row from the command line.
///
/// # Errors
/// In words that say what the model takes.
pub fn typed(values: &[String], inputs: &[TensorMetadata]) -> anyhow::Result<Batch> {
    let takes =
        || inputs.iter().map(|input| format!("{} ({} × {})", input.name, width(input), input.datatype)).collect::<Vec<_>>();
    ensure!(!values.is_empty(), "give the values of a row, or --csv FILE; the model takes {}", takes().join(", "));
    let named: Option<Vec<(&str, &str)>> = values.iter().map(|value| value.split_once('=')).collect();
    let cells: Vec<Vec<&str>> = match (inputs, named) {
        (inputs, Some(named)) => {
            let mut cells = Vec::with_capacity(inputs.len());
            for input in inputs {
                let Some((_, value)) = named.iter().find(|(name, _)| *name == input.name) else {
                    bail!("`{}` is missing; the model takes {}", input.name, takes().join(", "))
                };
                cells.push(value.split(',').collect());
            }
            ensure!(named.len() == inputs.len(), "the model takes {}, and nothing else", takes().join(", "));
            cells
        }
        ([_], None) => vec![values.iter().flat_map(|value| value.split(',')).collect()],
        (_, None) => bail!("write NAME=VALUE for each; the model takes {}", takes().join(", ")),
    };
    let mut row = Vec::with_capacity(inputs.len());
    for (input, cells) in inputs.iter().zip(cells) {
        ensure!(cells.len() == width(input), "`{}` has {} values; it takes {}", input.name, cells.len(), width(input));
        let mut contents = InferTensorContents::default();
        for cell in cells {
            push(&mut contents, input, cell.trim()).map_err(|why| anyhow::anyhow!("{}: {why}", input.name))?;
        }
        row.push((input.clone(), contents));
    }
    Ok(Batch { inputs: row, rows: 1 })
}

/// Values of a row.
fn width(input: &TensorMetadata) -> usize {
    input.shape.iter().skip(1).map(|length| usize::try_from(*length).unwrap_or(1)).product()
}

fn by_name(input: &TensorMetadata, names: &[String]) -> Result<Wanted, String> {
    if width(input) != 1 {
        return Err(format!("input `{}` takes {} values a row, which no one column has", input.name, width(input)));
    }
    Ok(Wanted { metadata: input.clone(), columns: vec![column(&input.name, names)?] })
}

/// The only column of a name.
fn column(wanted: &str, names: &[String]) -> Result<usize, String> {
    let mut columns = names.iter().enumerate().filter(|(_, name)| *name == wanted).map(|(column, _)| column);
    match (columns.next(), columns.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => Err(format!("the header names the column {wanted:?} twice")),
        (None, _) => Err(format!("the header lacks the column {wanted:?}")),
    }
}

fn push(contents: &mut InferTensorContents, input: &TensorMetadata, cell: &str) -> Result<(), String> {
    fn number<T: std::str::FromStr>(cell: &str, kind: &str) -> Result<T, String> {
        cell.parse().map_err(|_| format!("{cell:?} is no {kind}"))
    }
    match input.datatype.as_str() {
        "FP32" if cell.is_empty() => contents.fp32_contents.push(f32::NAN),
        "FP32" => contents.fp32_contents.push(within_range(number(cell, "number")?, f32::is_finite, cell, "FP32")?),
        "FP64" if cell.is_empty() => contents.fp64_contents.push(f64::NAN),
        "FP64" => contents.fp64_contents.push(within_range(number(cell, "number")?, f64::is_finite, cell, "FP64")?),
        "INT32" => contents.int_contents.push(number(cell, "whole number of 32 bits")?),
        "INT64" => contents.int64_contents.push(number(cell, "whole number")?),
        "BOOL" => contents.bool_contents.push(number(cell, "true or false")?),
        "BYTES" => contents.bytes_contents.push(cell.as_bytes().to_vec()),
        other => return Err(format!("the model takes {other}, which this command does not know")),
    }
    Ok(())
}

/// A number that is finite where it is written as one: `1e39` is no infinity because a type ends before it.
fn within_range<T: Copy>(value: T, is_finite: fn(T) -> bool, cell: &str, data_type: &str) -> Result<T, String> {
    let is_word = !cell.contains(|letter: char| letter.is_ascii_digit());
    if is_word || is_finite(value) { Ok(value) } else { Err(format!("{cell:?} is too large for {data_type}")) }
}

fn append(all: &mut InferTensorContents, row: InferTensorContents) {
    all.fp32_contents.extend(row.fp32_contents);
    all.fp64_contents.extend(row.fp64_contents);
    all.int_contents.extend(row.int_contents);
    all.int64_contents.extend(row.int64_contents);
    all.bool_contents.extend(row.bool_contents);
    all.bytes_contents.extend(row.bytes_contents);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, datatype: &str, columns: i64) -> TensorMetadata {
        TensorMetadata { name: name.to_owned(), datatype: datatype.to_owned(), shape: vec![-1, columns] }
    }

    #[test]
    fn lines_become_rows_whole_or_not_at_all() {
        let inputs = [input("age", "FP32", 1), input("plan", "BYTES", 1)];
        let mut header = Header::new("plan,ignored,age", &inputs).unwrap();
        let mut batch = header.batch();
        header.add("basic,7,41.5", &mut batch).unwrap();
        header.add("\"gold, old\",,", &mut batch).unwrap();
        assert!(header.add("basic,7,old", &mut batch).unwrap_err().contains("\"old\" is no number"));
        assert!(header.add("basic", &mut batch).unwrap_err().contains("1 columns where the header has 3"));
        assert_eq!(batch.rows(), 2);
        let sent = batch.into_inputs();
        assert_eq!((sent[0].name.as_str(), &sent[0].shape[..]), ("age", &[2, 1][..]));
        let ages = &sent[0].contents.as_ref().unwrap().fp32_contents;
        assert!(ages[0] == 41.5 && ages[1].is_nan(), "{ages:?}");
        assert_eq!(sent[1].contents.as_ref().unwrap().bytes_contents, [b"basic".to_vec(), b"gold, old".to_vec()]);
    }

    #[test]
    fn one_input_takes_the_columns_in_order() {
        let mut header = Header::new("a,b,c", &[input("x", "FP64", 3)]).unwrap();
        let mut batch = header.batch();
        header.add("1,2,3", &mut batch).unwrap();
        assert_eq!(batch.into_inputs()[0].contents.as_ref().unwrap().fp64_contents, [1.0, 2.0, 3.0]);
        assert!(Header::new("a,b", &[input("x", "FP64", 3)]).unwrap_err().contains("takes 3"));
        assert!(Header::new("a,a", &[input("a", "FP32", 1), input("b", "FP32", 1)]).unwrap_err().contains("twice"));
        assert!(Header::new("a", &[input("a", "FP32", 1), input("b", "FP32", 1)]).unwrap_err().contains("\"b\""));
    }

    #[test]
    fn columns_that_are_for_no_input_are_handed_back() {
        let mut header = Header::beside("day,a,result,b", &[input("x", "FP32", 2)], &["result", "day"]).unwrap();
        let mut batch = header.batch();
        assert_eq!(header.add("Sunday,1,home,2", &mut batch).unwrap(), ["home", "Sunday"]);
        assert_eq!(batch.into_inputs()[0].contents.as_ref().unwrap().fp32_contents, [1.0, 2.0]);
        assert!(Header::beside("a,b", &[input("x", "FP32", 2)], &["day"]).unwrap_err().contains("lacks the column \"day\""));
        assert!(Header::beside("day,a", &[input("x", "FP32", 2)], &["day"]).unwrap_err().contains("has 1 columns"));
    }

    #[test]
    fn a_number_that_its_type_cannot_hold_is_no_infinity() {
        let narrow = |text: &str| typed(&[text.to_owned()], &[input("x", "FP32", 1)]);
        assert!(narrow("1e39").unwrap_err().to_string().contains("\"1e39\" is too large for FP32"));
        assert!(typed(&["-1e309".to_owned()], &[input("x", "FP64", 1)]).is_err());
        for (text, value) in [("-inf", f32::NEG_INFINITY), ("Infinity", f32::INFINITY), ("3e38", 3e38)] {
            assert_eq!(narrow(text).unwrap().into_inputs()[0].contents.as_ref().unwrap().fp32_contents, [value], "{text}");
        }
        assert!(narrow("nan").is_ok());
    }

    #[test]
    fn a_row_is_typed_in_order_or_by_name() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let one = [input("x", "FP32", 2)];
        for text in ["1 -2", "1,-2", "x=1,-2"] {
            let row = typed(&words(text), &one).unwrap().into_inputs();
            assert_eq!(row[0].contents.as_ref().unwrap().fp32_contents, [1.0, -2.0], "{text}");
        }
        let two = [input("age", "INT64", 1), input("plan", "BYTES", 1)];
        assert!(typed(&words("plan=basic age=41"), &two).is_ok());
        for (text, says) in [("1 2", "NAME=VALUE"), ("age=1", "`plan` is missing"), ("age=1 plan=b x=2", "nothing else")] {
            let error = typed(&words(text), &two).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(typed(&words("1"), &one).unwrap_err().to_string().contains("takes 2"));
        assert!(typed(&[], &one).unwrap_err().to_string().contains("x (2 × FP32)"));
    }
}
