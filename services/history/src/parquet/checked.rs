//! Reading data files: every block is checked against its checksum before the reader of the format sees it, so that damage is
//! an error that names the file. What is known of a file (checksums, footer, page index) is read once.

use super::{manifest::DataFile, place::Place};
use crate::HistoryError;
use bytes::Bytes;
use datafusion::{
    datasource::physical_plan::ParquetFileReaderFactory,
    error::{DataFusionError, Result as DataFusionResult},
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use futures::{FutureExt as _, future::BoxFuture};
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::ParquetError,
    file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};
use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio::sync::OnceCell;

/// Bytes of a block: what is read beyond a page is at most two of them.
pub(super) const BLOCK: usize = 8 << 10;
/// Bytes of a block's checksum: the first ones of its BLAKE3.
pub(super) const SUM: usize = 8;
/// A footer is rarely longer.
const FOOTER: usize = 64 << 10;

/// The checksum of a block.
pub(super) fn sum_of(block: &[u8]) -> [u8; SUM] {
    let mut sum = [0; SUM];
    sum.copy_from_slice(&blake3::hash(block).as_bytes()[..SUM]);
    sum
}

/// What is known of a file.
#[derive(Debug)]
struct Known {
    sums: Bytes,
    metadata: Arc<ParquetMetaData>,
    /// Bytes of both in memory.
    size: usize,
}

/// Data files of a place, and what is known of them.
#[derive(Debug)]
pub(super) struct Files {
    pub place: Place,
    limit: usize,
    known: Mutex<HashMap<String, Arc<OnceCell<Arc<Known>>>>>,
}

impl Files {
    /// Remembers up to `limit` bytes.
    pub fn new(place: Place, limit: usize) -> Self {
        Self { place, limit, known: Mutex::default() }
    }

    async fn known(&self, file: &DataFile) -> Result<Arc<Known>, HistoryError> {
        let cell = self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(file.id.clone()).or_default().clone();
        let known = cell.get_or_try_init(|| self.learn(file)).await?.clone();
        self.forget_beyond_limit(&file.id);
        Ok(known)
    }

    async fn learn(&self, file: &DataFile) -> Result<Arc<Known>, HistoryError> {
        let name = file.sums_name();
        let read = async { self.place.store.get(&self.place.at(&name)).await?.bytes().await };
        let sums = match read.await {
            Ok(sums) => sums,
            Err(error) => return Err(self.unread(&name, (blocks(file) * SUM) as u64, error).await),
        };
        if blake3::hash(&sums).to_hex().as_str() != file.sums || sums.len() != blocks(file) * SUM {
            return Err(HistoryError::Damaged { file: name, why: "its checksum does not match the manifest's".to_owned() });
        }
        let mut reader = Checked { files: self, file, sums: &sums };
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Required)
            .with_prefetch_hint(Some(FOOTER))
            .load_and_finish(&mut reader, file.bytes)
            .await
            .map_err(|error| cause(&error).unwrap_or_else(|| damaged(file, &error.to_string())))?;
        let size = sums.len() + metadata.memory_size();
        Ok(Arc::new(Known { sums, metadata: Arc::new(metadata), size }))
    }

    /// Reads ranges of a file, whole blocks of it at once, each checked.
    async fn read(&self, file: &DataFile, sums: &[u8], ranges: &[Range<u64>]) -> Result<Vec<Bytes>, HistoryError> {
        if ranges.iter().any(|range| range.start >= range.end || range.end > file.bytes) {
            return Err(damaged(file, "its footer points outside of it"));
        }
        let spans = spans(ranges, file.bytes);
        let read = match self.place.store.get_ranges(&self.place.at(&file.name()), &spans).await {
            Ok(read) => read,
            Err(error) => return Err(self.unread(&file.name(), file.bytes, error).await),
        };
        for (span, bytes) in spans.iter().zip(&read) {
            check(file, sums, span, bytes)?;
        }
        let slice = |range: &Range<u64>| {
            let at = spans.partition_point(|span| span.end < range.end);
            let start = (range.start - spans[at].start) as usize;
            read[at].slice(start..start + (range.end - range.start) as usize)
        };
        Ok(ranges.iter().map(slice).collect())
    }

    /// Why a read failed. A file that is not there is damage until a newer manifest says that it need not be.
    async fn unread(&self, name: &str, bytes: u64, error: object_store::Error) -> HistoryError {
        let damaged = |why| HistoryError::Damaged { file: name.to_owned(), why };
        if matches!(error, object_store::Error::NotFound { .. }) {
            return damaged("it is gone".to_owned());
        }
        // Stores tell in different ways that there is less to read than was written.
        match self.place.store.head(&self.place.at(name)).await {
            Ok(there) if there.size != bytes => damaged(format!("it has {} bytes, not {bytes}", there.size)),
            _ => self.place.failed(&format!("reading {name}"), &error),
        }
    }

    fn forget_beyond_limit(&self, but: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |cell: &Arc<OnceCell<Arc<Known>>>| cell.get().map_or(0, |known| known.size);
        let mut total: usize = known.values().map(size).sum();
        while total > self.limit {
            let Some(id) = known.keys().find(|id| *id != but).cloned() else { break };
            total -= known.remove(&id).map_or(0, |cell| size(&cell));
        }
    }
}

/// Whole blocks that cover the ranges, ascending and apart.
fn spans(ranges: &[Range<u64>], end: u64) -> Vec<Range<u64>> {
    let block = BLOCK as u64;
    let mut wide: Vec<_> =
        ranges.iter().map(|range| range.start / block * block..(range.end.div_ceil(block) * block).min(end)).collect();
    wide.sort_unstable_by_key(|range| range.start);
    let mut spans: Vec<Range<u64>> = Vec::with_capacity(wide.len());
    for range in wide {
        match spans.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => spans.push(range),
        }
    }
    spans
}

fn check(file: &DataFile, sums: &[u8], span: &Range<u64>, bytes: &[u8]) -> Result<(), HistoryError> {
    if bytes.len() as u64 != span.end - span.start {
        return Err(damaged(file, "it is too short"));
    }
    let first = (span.start as usize / BLOCK) * SUM;
    for (at, block) in bytes.chunks(BLOCK).enumerate() {
        let at = first + at * SUM;
        if sums.get(at..at + SUM) != Some(&sum_of(block)) {
            return Err(damaged(file, &format!("the checksum of the block at byte {} does not match", at / SUM * BLOCK)));
        }
    }
    Ok(())
}

fn blocks(file: &DataFile) -> usize {
    (file.bytes as usize).div_ceil(BLOCK)
}

fn damaged(file: &DataFile, why: &str) -> HistoryError {
    HistoryError::Damaged { file: file.name(), why: why.to_owned() }
}

/// Our own error within somebody else's.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> Option<HistoryError> {
    let mut error = Some(error);
    while let Some(inner) = error {
        if let Some(ours) = inner.downcast_ref::<HistoryError>() {
            return Some(ours.clone());
        }
        error = inner.source();
    }
    None
}

/// A file whose checksums are known.
struct Checked<'a> {
    files: &'a Files,
    file: &'a DataFile,
    sums: &'a [u8],
}

impl parquet::arrow::async_reader::MetadataFetch for &mut Checked<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            let mut read = self.files.read(self.file, self.sums, &[range]).await.map_err(external)?;
            Ok(read.pop().expect("one range was read"))
        }
        .boxed()
    }
}

fn external(error: HistoryError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Makes readers for one question; remembers its first failure, which engines tend to put into other words.
#[derive(Debug)]
pub(super) struct Readers {
    files: Arc<Files>,
    pub fault: Arc<OnceLock<HistoryError>>,
}

impl Readers {
    pub fn new(files: Arc<Files>) -> Self {
        Self { files, fault: Arc::default() }
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: datafusion::datasource::listing::PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> DataFusionResult<Box<dyn AsyncFileReader + Send>> {
        let unknown = || DataFusionError::Internal(format!("{} is not of the manifest", file.object_meta.location));
        let file = file.extension::<Arc<DataFile>>().ok_or_else(unknown)?.clone();
        Ok(Box::new(Reader { files: self.files.clone(), file, fault: self.fault.clone() }))
    }
}

struct Reader {
    files: Arc<Files>,
    file: Arc<DataFile>,
    fault: Arc<OnceLock<HistoryError>>,
}

impl Reader {
    fn noted(&self, error: HistoryError) -> ParquetError {
        external(self.fault.get_or_init(|| error).clone())
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { Ok(self.get_byte_ranges(vec![range]).await?.pop().expect("one range was read")) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move {
            let read = async {
                let known = self.files.known(&self.file).await?;
                self.files.read(&self.file, &known.sums, &ranges).await
            };
            read.await.map_err(|error| self.noted(error))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let known = self.files.known(&self.file).await.map_err(|error| self.noted(error))?;
            Ok(known.metadata.clone())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_blocks_and_apart() {
        let block = BLOCK as u64;
        let end = 5 * block + 7;
        assert_eq!(spans(&[1..2, 3..block, block + 1..block + 2, end - 1..end], end), [0..2 * block, 5 * block..end]);
        assert_eq!(spans(&[3 * block..end, 5..6], end), [0..block, 3 * block..end]);
    }
}
