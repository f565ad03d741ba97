//! Files that are on disk, not only in the system's memory, when a write returns.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, local::LocalFileSystem, path::Path,
};
use std::{fmt, fs::File, ops::Range, path::PathBuf, sync::Arc};

/// A local file system that syncs each file and its folder. Rows are rarely written and never again: it may cost.
#[derive(Debug, Clone)]
pub(super) struct Synced(Arc<LocalFileSystem>);

impl Synced {
    pub fn new(files: LocalFileSystem) -> Self {
        Self(Arc::new(files))
    }

    async fn sync(&self, location: &Path) -> Result<()> {
        let path = self.0.path_to_filesystem(location)?;
        let synced = tokio::task::spawn_blocking(move || sync_with_folder(path)).await?;
        synced.map_err(|source| object_store::Error::Generic { store: "disk", source: source.into() })
    }
}

fn sync_with_folder(path: PathBuf) -> std::io::Result<()> {
    File::open(&path)?.sync_all()?;
    // Folders made on the way are entries of their own parents.
    for folder in path.ancestors().skip(1).take(3) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

impl fmt::Display for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Synced({})", self.0)
    }
}

#[async_trait]
impl ObjectStore for Synced {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            let put = self.0.put_opts(location, payload, options).await?;
            self.sync(location).await?;
            return Ok(put);
        }
        // Its name must not appear before its content is safe, or a power cut leaves an empty file that counts.
        let staged = Path::from(format!("{location}.{}.new", uuid::Uuid::now_v7().simple()));
        let put = self.0.put(&staged, payload).await?;
        self.sync(&staged).await?;
        let linked = self.0.copy_opts(&staged, location, CopyOptions::new().with_mode(CopyMode::Create)).await;
        self.0.delete(&staged).await?;
        linked?;
        self.sync(location).await?;
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.0.put_multipart_opts(location, options).await?;
        Ok(Box::new(SyncedUpload { upload, files: self.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await?;
        self.sync(to).await
    }
}

#[derive(Debug)]
struct SyncedUpload {
    upload: Box<dyn MultipartUpload>,
    files: Synced,
    location: Path,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.upload.complete().await?;
        self.files.sync(&self.location).await?;
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
