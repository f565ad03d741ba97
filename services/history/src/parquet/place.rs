//! Where the files are: below a folder or below a prefix of a bucket, the same to everybody else.

use super::synced::Synced;
use crate::{HistoryError, open::wrong_url};
use object_store::{
    ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    local::LocalFileSystem,
    path::Path,
};
use std::{sync::Arc, time::Duration};
use url::Url;

const CONNECT: Duration = Duration::from_secs(3);

/// A folder of a file system or of a bucket.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub store: Arc<dyn ObjectStore>,
    root: Path,
    /// Set for a folder.
    pub disk: Option<Synced>,
}

impl Place {
    /// A folder; nothing is made yet.
    pub fn on_disk(folder: &str) -> Result<Self, HistoryError> {
        let unusable = |_| wrong_url("this folder");
        let folder =
            std::path::absolute(folder.strip_prefix("//").unwrap_or(folder)).map_err(|_| wrong_url("an empty folder"))?;
        let root = Path::from_absolute_path(folder).map_err(unusable)?;
        let no_threads = |error| HistoryError::Misconfigured(format!("no threads for files: {error}"));
        let disk = Synced::new(LocalFileSystem::new()).map_err(no_threads)?;
        Ok(Self { store: Arc::new(disk.clone()), root, disk: Some(disk) })
    }

    /// A prefix of a bucket: what follows `s3:`.
    pub fn in_bucket(rest: &str, timeout: Duration) -> Result<Self, HistoryError> {
        let url = Url::parse(&format!("s3:{rest}")).map_err(|_| wrong_url("this S3 URL"))?;
        let bucket = url.host_str().filter(|bucket| !bucket.is_empty()).ok_or_else(|| wrong_url("an S3 URL without a bucket"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong_url("an S3 URL with a user (use `access_key` and `secret_key`)"));
        }
        // A request is tried again while a call may still wait for it.
        let retry = RetryConfig { retry_timeout: timeout, max_retries: 5, ..RetryConfig::default() };
        let client = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(timeout).with_allow_http(true);
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(client)
            .with_retry(retry)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_virtual_hosted_style_request(false);
        for (key, value) in url.query_pairs() {
            builder = match &*key {
                "endpoint" if is_http(&value) => builder.with_endpoint(value.trim_end_matches('/')),
                "region" => builder.with_region(value),
                "access_key" => builder.with_access_key_id(value),
                "secret_key" => builder.with_secret_access_key(value),
                _ => return Err(wrong_url("an S3 URL with an unknown option or an endpoint that is no http URL")),
            };
        }
        let store = builder.build().map_err(|_| wrong_url("this S3 URL"))?;
        let root = Path::from_url_path(url.path()).map_err(|_| wrong_url("this prefix"))?;
        Ok(Self { store: Arc::new(store), root, disk: None })
    }

    /// A path below the root, such as `data/ID.parquet`.
    pub fn at(&self, below: &str) -> Path {
        below.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    /// The path below the root that a full one stands for.
    pub fn below(&self, path: &Path) -> String {
        let full = path.as_ref();
        full.strip_prefix(self.root.as_ref()).unwrap_or(full).trim_start_matches('/').to_owned()
    }

    /// What this place cannot promise.
    pub fn caveats(&self) -> Vec<String> {
        let caveat = if self.disk.is_some() {
            "history on disk is one machine's: it is as safe as that disk and its copies"
        } else {
            "an upload that is cut off may leave pieces in the bucket that no listing shows; give the bucket a lifecycle rule \
             that aborts incomplete multipart uploads"
        };
        vec![caveat.to_owned()]
    }

    /// A failed call on the store. What is absent, denied or silent may be back later.
    pub fn failed(&self, what: &str, error: &object_store::Error) -> HistoryError {
        HistoryError::Unavailable(format!("{what}: {error}"))
    }
}

fn is_http(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}
