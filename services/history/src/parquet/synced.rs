//! Files that are on disk, not only in the system's memory, when a write returns.

use super::aside::Aside;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _,
    future::ready,
    stream::{BoxStream, iter, once},
};
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
    local::LocalFileSystem, path::Path,
};
use std::{ffi::OsStr, fmt, fs::File, io::ErrorKind, ops::Range, path::PathBuf, sync::Arc, time::SystemTime};

/// A local file system that syncs each file and its folder. Rows are rarely written and never again: it may cost.
#[derive(Debug, Clone)]
pub(super) struct Synced {
    files: Arc<LocalFileSystem>,
    aside: Aside,
}

impl Synced {
    pub fn new(files: LocalFileSystem) -> std::io::Result<Self> {
        Ok(Self { files: Arc::new(files), aside: Aside::new()? })
    }

    /// Deletes from a folder what killed writers left: uploads under way have names of their own, which no listing shows.
    pub async fn delete_uploads(&self, folder: &Path, older_than: SystemTime) -> Result<u64> {
        let folder = self.files.path_to_filesystem(folder)?;
        self.aside.call(move || delete_uploads(&folder, older_than)).await
    }

    async fn sync(&self, location: &Path) -> Result<()> {
        let path = self.files.path_to_filesystem(location)?;
        self.aside.call(move || sync_with_folder(path)).await
    }

    async fn put_new(&self, location: &Path, payload: PutPayload) -> Result<PutResult> {
        // Its name must not appear before its content is safe, or a power cut leaves an empty file that counts.
        let staged = Path::from(format!("{location}.{}.new", uuid::Uuid::now_v7().simple()));
        let put = self.files.put(&staged, payload).await?;
        self.sync(&staged).await?;
        let linked = self.files.copy_opts(&staged, location, CopyOptions::new().with_mode(CopyMode::Create)).await;
        self.files.delete(&staged).await?;
        linked?;
        self.sync(location).await?;
        Ok(put)
    }
}

fn delete_uploads(folder: &std::path::Path, older_than: SystemTime) -> std::io::Result<u64> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut deleted = 0;
    for entry in entries {
        let entry = entry?;
        if is_upload(&entry.file_name()) && entry.metadata()?.modified()? < older_than {
            std::fs::remove_file(entry.path())?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Such as `ID.parquet#1`.
fn is_upload(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
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
        write!(f, "Synced({})", self.files)
    }
}

#[async_trait]
impl ObjectStore for Synced {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode == PutMode::Create {
            return self.aside.within(self.put_new(location, payload)).await;
        }
        let put = self.aside.within(self.files.put_opts(location, payload, options)).await?;
        self.sync(location).await?;
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (files, to) = (self.files.clone(), location.clone());
        let upload = self.aside.drive(async move { files.put_multipart_opts(&to, options).await }).await?;
        Ok(Box::new(SyncedUpload { upload, files: self.clone(), location: location.clone() }))
    }

    /// Whole, unless only its size is asked for: what would be read later would be read elsewhere.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let read = async {
            let is_head = options.head;
            let got = self.files.get_opts(location, options).await?;
            let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
            let bytes = if is_head { Bytes::new() } else { got.bytes().await? };
            Ok(GetResult { payload: GetResultPayload::Stream(once(ready(Ok(bytes))).boxed()), meta, range, attributes })
        };
        self.aside.within(read).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.aside.within(self.files.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let here = self.clone();
        let delete = move |location: Path| {
            let here = here.clone();
            async move { here.aside.within(here.files.delete(&location)).await.map(|()| location) }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (here, prefix) = (self.clone(), prefix.cloned());
        let listed = async move { here.aside.within(here.files.list(prefix.as_ref()).try_collect::<Vec<_>>()).await };
        listed.map_ok(|listed| iter(listed.into_iter().map(Ok))).try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.aside.within(self.files.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.aside.within(self.files.copy_opts(from, to, options)).await?;
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
        let (aside, put) = (self.files.aside.clone(), self.upload.put_part(data));
        async move { aside.within(put).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.files.aside.within(self.upload.complete()).await?;
        self.files.sync(&self.location).await?;
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.files.aside.within(self.upload.abort()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn old_uploads_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.parquet", "a.parquet#1", "b.sums#12", "c#", "d#x", "e"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let now = SystemTime::now();
        assert_eq!(delete_uploads(folder.path(), now - Duration::from_secs(60)).unwrap(), 0);
        assert_eq!(delete_uploads(folder.path(), now + Duration::from_secs(60)).unwrap(), 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
        assert_eq!(delete_uploads(&folder.path().join("none"), now).unwrap(), 0);
    }
}
