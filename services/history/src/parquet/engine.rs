//! DataFusion, bounded: so much memory, so much to spill, as many questions at once as there are cores.

use super::{
    checked::{Files, cause},
    manifest::Selection,
    scan::{Order, Scan},
};
use crate::{HistoryError, Options, piece::Table};
use arrow::array::RecordBatch;
use datafusion::{
    dataframe::DataFrame,
    error::{DataFusionError, Result},
    execution::{
        SendableRecordBatchStream,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::{col, lit},
    prelude::{SessionConfig, SessionContext},
};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Answers questions over files.
pub(super) struct Engine {
    pub files: Arc<Files>,
    context: SessionContext,
    threads: usize,
    /// One permit a question.
    turns: Semaphore,
}

impl Engine {
    pub fn new(files: Arc<Files>, options: &Options) -> std::result::Result<Self, HistoryError> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.unwrap_or_else(cores);
        let mode = match &options.spill_folder {
            Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(options.spill_bytes);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes)))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(|error| HistoryError::Misconfigured(format!("the spill folder: {error}")))?;
        // Files come grouped as they should be read; the reader checks blocks, so ranges of files are no use to it.
        let config = SessionConfig::new().with_target_partitions(threads).with_repartition_file_scans(false);
        let context = SessionContext::new_with_config_rt(config, runtime);
        Ok(Self { files, context, threads, turns: Semaphore::new(threads) })
    }

    /// Asks of selected files: `question` makes the plan from a table of the rows that count.
    pub async fn ask(
        &self,
        table: Table,
        selection: Selection,
        question: impl FnOnce(DataFrame) -> Result<DataFrame>,
    ) -> std::result::Result<Vec<RecordBatch>, HistoryError> {
        if selection.files.is_empty() {
            return Ok(vec![]);
        }
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        let scan = Scan::new(table, &selection.files, self.files.clone(), Order::Any(self.threads));
        let fault = scan.fault();
        let frame = self.context.read_table(Arc::new(scan)).map_err(|error| failed(&error, &fault))?;
        let frame = match selection.tokens {
            Some(tokens) => frame.filter(col("token").in_list(tokens.into_iter().map(lit).collect(), false)),
            None => Ok(frame),
        };
        let plan = frame.and_then(question).map_err(|error| failed(&error, &fault))?;
        // In a task of its own, so that a panic of a decoder is an answer too, and a caller who leaves ends it.
        let asked = AbortOnDropHandle::new(tokio::spawn(plan.collect())).await;
        match asked {
            Ok(rows) => rows.map_err(|error| failed(&error, &fault)),
            Err(panic) => Err(fault.get().cloned().unwrap_or_else(|| {
                let names: Vec<_> = selection.files.iter().map(|file| file.name()).collect();
                HistoryError::Broken(format!("reading {} failed: {panic}", names.join(", ")))
            })),
        }
    }

    /// Rows of files merged by account and hour.
    pub async fn merge(
        &self,
        table: Table,
        files: &[Arc<super::manifest::DataFile>],
    ) -> std::result::Result<(SendableRecordBatchStream, Arc<OnceLock<HistoryError>>), HistoryError> {
        let scan = Scan::new(table, files, self.files.clone(), Order::Kept);
        let fault = scan.fault();
        let order = vec![col("account").sort(true, false), col("hour").sort(true, false)];
        let merged = self.context.read_table(Arc::new(scan)).and_then(|frame| frame.sort(order));
        let stream = match merged {
            Ok(frame) => frame.execute_stream().await,
            Err(error) => Err(error),
        };
        stream.map(|stream| (stream, fault.clone())).map_err(|error| failed(&error, &fault))
    }
}

/// What failed: a read of ours if there was one.
pub(super) fn failed(error: &DataFusionError, fault: &OnceLock<HistoryError>) -> HistoryError {
    if let Some(ours) = fault.get().cloned().or_else(|| cause(error)) {
        return ours;
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(why) => {
            HistoryError::Unavailable(format!("the question needs more memory or spill space than is free: {why}"))
        }
        other => HistoryError::Broken(format!("asking of files: {}", other.strip_backtrace())),
    }
}
