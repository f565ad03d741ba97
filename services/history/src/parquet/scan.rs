//! The files of a question as a table for the engine. Nothing is listed: the manifest has said which.

use super::{
    checked::{Files, Readers},
    columns::schema,
    manifest::DataFile,
};
use crate::{HistoryError, piece::Table};
use arrow::{compute::SortOptions, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::DFSchema,
    datasource::{
        TableType,
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
    },
    error::Result,
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown, utils::conjunction},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::ExecutionPlan,
};
use object_store::ObjectMeta;
use std::{
    fmt,
    sync::{Arc, OnceLock},
};

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// In this many streams, in no order.
    Any(usize),
    /// Each a stream of its own, in order of account and hour.
    Kept,
}

/// Files of one table.
pub(super) struct Scan {
    schema: SchemaRef,
    groups: Vec<FileGroup>,
    readers: Arc<Readers>,
    ordered: bool,
}

impl Scan {
    pub fn new(table: Table, files: &[Arc<DataFile>], source: Arc<Files>, order: Order) -> Self {
        let streams = match order {
            Order::Any(streams) => streams.clamp(1, files.len().max(1)),
            Order::Kept => files.len().max(1),
        };
        let mut groups = vec![Vec::new(); streams];
        for (at, file) in files.iter().enumerate() {
            groups[at % streams].push(entry(file, &source));
        }
        let groups = groups.into_iter().map(FileGroup::new).collect();
        Self { schema: schema(table), groups, readers: Arc::new(Readers::new(source)), ordered: order == Order::Kept }
    }

    /// Where the first failure to read will be.
    pub fn fault(&self) -> Arc<OnceLock<HistoryError>> {
        self.readers.fault.clone()
    }

    fn order(&self) -> Vec<LexOrdering> {
        let key = |at: usize| {
            let column = Arc::new(Column::new(self.schema.field(at).name(), at));
            PhysicalSortExpr::new(column, SortOptions { descending: false, nulls_first: false })
        };
        LexOrdering::new([key(0), key(1)]).filter(|_| self.ordered).into_iter().collect()
    }
}

fn entry(file: &Arc<DataFile>, source: &Files) -> PartitionedFile {
    let location = source.place.at(&file.name());
    let meta = ObjectMeta { location, last_modified: Default::default(), size: file.bytes, e_tag: None, version: None };
    PartitionedFile::new_from_meta(meta).with_arrow_schema(schema(file.table)).with_extension(file.clone())
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scan({} streams)", self.groups.len())
    }
}

#[async_trait]
impl TableProvider for Scan {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_parquet_file_reader_factory(self.readers.clone());
        if let Some(filter) = conjunction(filters.to_vec()) {
            let columns = DFSchema::try_from(self.schema.clone())?;
            source = source.with_predicate(state.create_physical_expr(filter, &columns)?);
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(self.groups.clone())
            .with_output_ordering(self.order())
            .with_projection_indices(projection.cloned())?;
        Ok(DataSourceExec::from_data_source(config.build()))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
