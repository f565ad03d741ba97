//! Writing one data file with its checksums.

use super::{
    checked::{BLOCK, sum_of},
    columns::{SUMS, schema},
    manifest::DataFile,
    place::Place,
};
use crate::{HistoryError, piece::Table};
use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    datatypes::{DataType, Int32Type},
};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use object_store::{ObjectStoreExt as _, buffered::BufWriter};
use parquet::{
    arrow::{AsyncArrowWriter, async_writer::AsyncFileWriter},
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties},
};
use std::collections::BTreeSet;
use tokio::io::AsyncWriteExt as _;

/// Rows a row group: what is held in memory to write one, and what a question of one account looks at first.
const GROUP_ROWS: usize = 128 << 10;
/// Rows a page: what a question of one account decodes of a file.
const PAGE_ROWS: usize = 2 << 10;
/// Bytes sent at once; the least that S3 takes of a large file is 5 MiB.
const UPLOAD: usize = 8 << 20;

/// A file being written. Dropped, it is not there.
pub(super) struct Output {
    place: Place,
    writer: AsyncArrowWriter<Sink>,
    file: DataFile,
    tokens: BTreeSet<String>,
}

impl Output {
    pub fn new(place: &Place, table: Table) -> Result<Self, HistoryError> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let (first, last, sums) = Default::default();
        let file = DataFile { id, table, bytes: 0, rows: 0, sums, from: i32::MAX, to: i32::MIN, first, last, tokens: vec![] };
        let upload = BufWriter::with_capacity(place.store.clone(), place.at(&file.name()), UPLOAD).with_max_concurrency(2);
        let writer = AsyncArrowWriter::try_new(Sink::new(upload), schema(table), Some(properties(table)))
            .map_err(|error| broken(&error))?;
        Ok(Self { place: place.clone(), writer, file, tokens: BTreeSet::new() })
    }

    /// Adds rows that follow those before.
    pub async fn write(&mut self, batch: &RecordBatch, tokens: impl IntoIterator<Item = &String>) -> Result<(), HistoryError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.writer.write(batch).await.map_err(|error| self.failed(&error))?;
        let accounts = batch.column(0).as_string::<i32>();
        if self.file.rows == 0 {
            self.file.first = accounts.value(0).to_owned();
        }
        self.file.last = accounts.value(accounts.len() - 1).to_owned();
        let hours = batch.column(1).as_primitive::<Int32Type>().values();
        for hour in hours {
            self.file.from = self.file.from.min(*hour);
            self.file.to = self.file.to.max(*hour + 1);
        }
        self.file.rows += batch.num_rows() as u64;
        for token in tokens {
            if !self.tokens.contains(token) {
                self.tokens.insert(token.clone());
            }
        }
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.file.rows
    }

    /// Puts the file and its checksums in place, durably; no manifest names it yet.
    pub async fn finish(mut self) -> Result<DataFile, HistoryError> {
        self.writer.finish().await.map_err(|error| broken_or_unavailable(&error, &self.file))?;
        let sink = self.writer.into_inner();
        let mut file = self.file;
        file.bytes = sink.bytes;
        file.sums = blake3::hash(&sink.sums).to_hex().to_string();
        file.tokens = self.tokens.into_iter().collect();
        let put = self.place.store.put(&self.place.at(&file.sums_name()), sink.sums.into()).await;
        put.map_err(|error| self.place.failed("writing checksums", &error))?;
        Ok(file)
    }

    fn failed(&self, error: &ParquetError) -> HistoryError {
        broken_or_unavailable(error, &self.file)
    }
}

fn broken(error: &ParquetError) -> HistoryError {
    HistoryError::Broken(format!("writing Parquet: {error}"))
}

/// What the store says may pass, what the format says may not.
fn broken_or_unavailable(error: &ParquetError, file: &DataFile) -> HistoryError {
    match error {
        ParquetError::External(error) => HistoryError::Unavailable(format!("writing {}: {error}", file.name())),
        error => broken(error),
    }
}

fn properties(table: Table) -> WriterProperties {
    let level = ZstdLevel::try_new(1).expect("level 1 exists");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        // Pages end at these steps only.
        .set_write_batch_size(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for key in ["account", "hour"] {
        properties = properties.set_column_statistics_enabled(key.into(), EnabledStatistics::Page);
    }
    // Nobody asks for rows by what they add up to.
    for sum in SUMS.into_iter().chain(["count"]) {
        properties = properties.set_column_statistics_enabled(sum.into(), EnabledStatistics::None);
    }
    // A dictionary of many values is read whole for one page of them: these columns have differences instead.
    for column in schema(table).fields() {
        let encoding = match column.data_type() {
            DataType::Int32 | DataType::Int64 => Encoding::DELTA_BINARY_PACKED,
            _ if column.name() == "account" => Encoding::DELTA_BYTE_ARRAY,
            _ => continue,
        };
        let name = || column.name().as_str().into();
        properties = properties.set_column_dictionary_enabled(name(), false).set_column_encoding(name(), encoding);
    }
    properties.build()
}

/// Bytes on their way, with the checksums of their blocks.
struct Sink {
    upload: BufWriter,
    rest: Vec<u8>,
    sums: Vec<u8>,
    bytes: u64,
}

impl Sink {
    fn new(upload: BufWriter) -> Self {
        Self { upload, rest: Vec::with_capacity(BLOCK), sums: vec![], bytes: 0 }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.rest.len()));
            self.rest.extend_from_slice(now);
            bytes = later;
            if self.rest.len() == BLOCK {
                self.sums.extend(sum_of(&self.rest));
                self.rest.clear();
            }
        }
    }
}

impl AsyncFileWriter for Sink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            self.add(&bytes);
            self.upload.put(bytes).await.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            if !self.rest.is_empty() {
                self.sums.extend(sum_of(&self.rest));
                self.rest.clear();
            }
            self.upload.shutdown().await.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }
}
