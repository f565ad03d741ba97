//! Names as fields of a request: what can be nobody's name is a mistake in the request, wherever it would be looked up.

use crate::{status::ServingError, tensors::Invalid};
use loadline_models::registry::{RegistryError, names};
use std::collections::BTreeMap;

/// A model and an alias that could be there.
///
/// # Errors
/// The field that is wrong, with what names may be.
pub fn sound(model: &str, alias: &str) -> Result<(), ServingError> {
    names::model(model).map_err(|refused| of("model", refused))?;
    names::alias(alias).map_err(|refused| of("alias", refused))
}

/// A model and properties that can be registered.
///
/// # Errors
/// The field of the header that is wrong.
pub fn sound_header(model: &str, properties: &BTreeMap<String, String>) -> Result<(), ServingError> {
    names::model(model).map_err(|refused| of("header.model", refused))?;
    names::properties(properties).map_err(|refused| of("header.properties", refused))
}

fn of(field: &str, refused: RegistryError) -> ServingError {
    match refused {
        RegistryError::Refused(why) => Invalid::new(field, why).into(),
        other => other.into(),
    }
}
