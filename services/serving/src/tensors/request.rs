//! What a request must be.

use super::{Invalid, ports, raw, typed};
use bytes::Bytes;
use loadline_models::{Port, Tensor, Values};
use loadline_proto::inference::{InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor};

/// A request that its model can be asked.
#[derive(Debug, PartialEq)]
pub struct Asked {
    /// In the order of the model's inputs.
    pub inputs: Vec<Tensor>,
    /// Of each.
    pub rows: usize,
    /// Which output to answer, in which order; `None`: all.
    pub outputs: Option<Vec<usize>>,
    /// Whether values came, and go, as bytes.
    pub raw: bool,
    /// Where the first value is no number, or without one the first that is infinite: it may be a gap that the model fills, or the
    /// cause of an answer that is none.
    pub gap: Option<Invalid>,
}

/// Checks a request against what its model takes and gives.
///
/// # Errors
/// The first field that is wrong.
pub fn read(mut request: ModelInferRequest, takes: &[Port], gives: &[Port], most_rows: usize) -> Result<Asked, Invalid> {
    let contents = std::mem::take(&mut request.raw_input_contents);
    let (named, raw) = (request.inputs.len(), !contents.is_empty());
    if raw && contents.len() != named {
        let detail = format!("has {} elements for {named} inputs; give one an input, in their order", contents.len());
        return Err(Invalid::new("raw_input_contents", detail));
    }
    let outputs = chosen(&request, gives)?;
    let mut inputs: Vec<Option<Tensor>> = takes.iter().map(|_| None).collect();
    let (mut rows, mut gap) = (None, None);
    let mut contents = contents.into_iter();
    for (index, input) in request.inputs.into_iter().enumerate() {
        let place = place(&input, index, takes)?;
        if inputs[place].is_some() {
            return Err(Invalid::new(format!("inputs[{index}].name"), format!("`{}` comes twice", input.name)));
        }
        let shape = shape(&input, index, &takes[place])?;
        agree(&mut rows, shape[0], index, most_rows)?;
        let values = values(input.contents, contents.next(), &takes[place], (index, &shape))?;
        gap = gap.or_else(|| first_gap(&values, &shape, index));
        inputs[place] = Some(Tensor { name: input.name, shape, values });
    }
    let missing = |place: usize| {
        let port = &takes[place];
        Invalid::new("inputs", format!("lack `{}`, {}", port.name, ports::form(port)))
    };
    let inputs = inputs.into_iter().enumerate().map(|(place, input)| input.ok_or_else(|| missing(place)));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    Ok(Asked { inputs, rows: rows.unwrap_or_default(), outputs, raw, gap })
}

/// Which of the model's inputs it is.
fn place(input: &InferInputTensor, index: usize, takes: &[Port]) -> Result<usize, Invalid> {
    let Some(place) = takes.iter().position(|port| port.name == input.name) else {
        let detail = format!("`{}` is no input of this model, which takes {}", shown(&input.name), ports::listed(takes));
        return Err(Invalid::new(format!("inputs[{index}].name"), detail));
    };
    if input.datatype != takes[place].data_type.name() {
        let detail = format!("is {:?}; `{}` is {}", shown(&input.datatype), input.name, ports::form(&takes[place]));
        return Err(Invalid::new(format!("inputs[{index}].datatype"), detail));
    }
    Ok(place)
}

fn shape(input: &InferInputTensor, index: usize, port: &Port) -> Result<Vec<usize>, Invalid> {
    let wrong = |what: &str| {
        let detail = format!("is {:?}, {what}; `{}` is {}", input.shape, port.name, ports::form(port));
        Invalid::new(format!("inputs[{index}].shape"), detail)
    };
    if input.shape.len() != port.shape.len() {
        return Err(wrong(&format!("which has {} axes instead of {}", input.shape.len(), port.shape.len())));
    }
    let mut values = 1_usize;
    let mut shape = Vec::with_capacity(input.shape.len());
    for (given, wanted) in input.shape.iter().zip(&port.shape) {
        let length = usize::try_from(*given).map_err(|_| wrong("with a negative length"))?;
        if length == 0 {
            return Err(wrong("which holds nothing"));
        }
        if wanted.is_some_and(|wanted| wanted != length) {
            return Err(wrong("which is another"));
        }
        values = values.checked_mul(length).ok_or_else(|| wrong("which is too large"))?;
        shape.push(length);
    }
    Ok(shape)
}

/// All inputs have as many rows as the first, and not too many.
fn agree(rows: &mut Option<usize>, given: usize, index: usize, most: usize) -> Result<(), Invalid> {
    let field = || format!("inputs[{index}].shape");
    if given > most {
        return Err(Invalid::new(field(), format!("has {given} rows; one request may have {most}: send several")));
    }
    match *rows.get_or_insert(given) {
        first if first == given => Ok(()),
        first => Err(Invalid::new(field(), format!("has {given} rows, the first input has {first}"))),
    }
}

fn values(
    contents: Option<InferTensorContents>,
    bytes: Option<Bytes>,
    port: &Port,
    (index, shape): (usize, &[usize]),
) -> Result<Values, Invalid> {
    let count = shape.iter().product();
    match bytes {
        None => typed::values(port.data_type, contents.unwrap_or_default(), count)
            .map_err(|detail| Invalid::new(format!("inputs[{index}].contents"), detail)),
        Some(_) if contents.is_some_and(|contents| !typed::is_empty(&contents)) => {
            let detail = "and raw_input_contents are both given; a request has its values in one of them";
            Err(Invalid::new(format!("inputs[{index}].contents"), detail))
        }
        Some(bytes) => raw::values(port.data_type, &bytes, count)
            .map_err(|detail| Invalid::new(format!("raw_input_contents[{index}]"), detail)),
    }
}

fn chosen(request: &ModelInferRequest, gives: &[Port]) -> Result<Option<Vec<usize>>, Invalid> {
    let mut chosen = Vec::with_capacity(request.outputs.len());
    for (index, output) in request.outputs.iter().enumerate() {
        let field = || format!("outputs[{index}].name");
        let Some(place) = gives.iter().position(|port| port.name == output.name) else {
            let detail = format!("`{}` is no output of this model, which gives {}", shown(&output.name), ports::listed(gives));
            return Err(Invalid::new(field(), detail));
        };
        if chosen.contains(&place) {
            return Err(Invalid::new(field(), format!("`{}` comes twice", output.name)));
        }
        chosen.push(place);
    }
    Ok((!chosen.is_empty()).then_some(chosen))
}

fn first_gap(values: &Values, shape: &[usize], index: usize) -> Option<Invalid> {
    let (at, what) = match values {
        Values::F32(values) => first_odd(values, |value| value.is_finite(), |value| value.is_nan()),
        Values::F64(values) => first_odd(values, |value| value.is_finite(), |value| value.is_nan()),
        Values::Bool(_) | Values::I32(_) | Values::I64(_) | Values::Text(_) => None,
    }?;
    let width: usize = shape[1..].iter().product();
    let detail = format!("value {} of row {} is {what}, and the model answers NaN to it", at % width, at / width);
    Some(Invalid::new(format!("inputs[{index}]"), detail))
}

/// The first that is no number; without one, the first that is infinite.
fn first_odd<T: Copy>(values: &[T], is_finite: fn(T) -> bool, is_nan: fn(T) -> bool) -> Option<(usize, &'static str)> {
    let infinite = values.iter().position(|value| !is_finite(*value))?;
    let nan = values[infinite..].iter().position(|value| is_nan(*value));
    Some(nan.map_or((infinite, "infinite"), |after| (infinite + after, "NaN")))
}

/// A name that came from outside, short enough for an error.
pub fn shown(name: &str) -> String {
    const MOST: usize = 80;
    let cut: String = name.chars().take(MOST).flat_map(char::escape_debug).collect();
    if name.chars().count() > MOST { cut + "…" } else { cut }
}

#[cfg(test)]
mod tests;
