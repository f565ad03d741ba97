//! What the server lists: pages, bounded all together, and only rows that are about what was asked.

use super::{
    MlflowRegistry, absent,
    http::within,
    numbered,
    wire::{GotModel, GotVersion, ModelVersion, Models, RegisteredModel, Versions},
};
use crate::registry::{RegistryError, error::shown};
use serde::de::DeserializeOwned;
use std::collections::HashSet;

/// Largest listing over all its pages: one that never ends is none.
const LARGEST_LISTING: u64 = 64 << 20;

impl MlflowRegistry {
    /// All pages of a listing, in a time and a size of their own.
    async fn pages<P: DeserializeOwned, T>(
        &self,
        method: &str,
        query: &[(&str, &str)],
        split: impl Fn(P) -> (Vec<T>, String),
    ) -> Result<Vec<T>, RegistryError> {
        let page = self.options.page.to_string();
        let (mut rows, mut seen, mut token, mut bytes) = (Vec::new(), HashSet::new(), String::new(), 0);
        let all = async {
            loop {
                let mut query = query.to_vec();
                query.extend([("max_results", page.as_str()), ("page_token", token.as_str())]);
                query.retain(|(_, value)| !value.is_empty());
                let answer = self.http.page(method, &query).await?;
                let (more, next) = split(answer.json()?);
                rows.extend(more);
                bytes += answer.bytes();
                if next.is_empty() {
                    return Ok(rows);
                }
                if bytes > LARGEST_LISTING {
                    return Err(RegistryError::TooLarge {
                        what: format!("{method} has {bytes} bytes and more"),
                        limit: LARGEST_LISTING,
                    });
                }
                if !seen.insert(next.clone()) {
                    return Err(RegistryError::Garbage(format!("{method} leads from page to page in a circle")));
                }
                token = next;
            }
        };
        within(self.options.transfer_timeout, all).await
    }

    /// All models with their aliases, without their versions.
    pub(super) async fn models(&self) -> Result<Vec<RegisteredModel>, RegistryError> {
        let split = |page: Models| (page.registered_models, page.next_page_token);
        self.pages("registered-models/search", &[("order_by", "name ASC")], split).await
    }

    /// Versions of a model, or of all.
    pub(super) async fn versions(&self, name: Option<&str>) -> Result<Vec<ModelVersion>, RegistryError> {
        let split = |page: Versions| (page.model_versions, page.next_page_token);
        let filter = name.map_or_else(String::new, |name| format!("name='{name}'"));
        let order = [("filter", filter.as_str()), ("order_by", "name ASC"), ("order_by", "version_number ASC")];
        let versions = self.pages("model-versions/search", &order, split).await?;
        if let Some(name) = name {
            versions.iter().try_for_each(|version| version.check(name, None))?;
        }
        Ok(versions)
    }

    /// One version.
    pub(super) async fn version(&self, name: &str, number: u64) -> Result<ModelVersion, RegistryError> {
        numbered(name, number)?;
        let got = self.http.get::<GotVersion>("model-versions/get", &[("name", name), ("version", &number.to_string())]).await;
        let version = got.map_err(|error| absent(error, || format!("version {number} of model `{name}`")))?.model_version;
        version.check(name, Some(number))?;
        Ok(version)
    }

    /// A model with, as of one moment, all its aliases.
    pub(super) async fn registered(&self, name: &str) -> Result<RegisteredModel, RegistryError> {
        let got = self.http.get::<GotModel>("registered-models/get", &[("name", name)]).await;
        let registered = got.map_err(|error| absent(error, || format!("model `{name}`")))?.registered_model;
        if registered.name != name {
            let other = shown(registered.name.as_bytes());
            return Err(RegistryError::Garbage(format!("model `{other}`, where `{name}` was asked for")));
        }
        Ok(registered)
    }
}
