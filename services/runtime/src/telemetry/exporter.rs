//! OTLP export on a runtime of its own.
//!
//! The exporter's connection needs a tokio runtime. On the service's runtime it competes with requests and deadlocks when shutdown
//! blocks a worker that the export needs (opentelemetry-rust #2715); on its own it can only be late.

use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanExporter as _, SpanProcessor};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::counted::{CountedExporter, CountedProcessor, Gate, NotedMetrics};
use super::sight::Outcomes;
use super::slot::Slot;

/// Spans that may wait for export; more are dropped. About 1 KiB each.
pub(super) const QUEUE: usize = 4_096;
/// Spans in one export.
const BATCH: usize = 512;
/// How long a span may wait for its batch to fill.
const DELAY: Duration = Duration::from_secs(2);
/// How long one export may take.
const EXPORT_LIMIT: Duration = Duration::from_secs(3);
/// How often metrics are exported.
const METRICS_EVERY: Duration = Duration::from_secs(15);

/// The runtime of the exports.
pub(super) struct Exporter {
    endpoint: String,
    /// What every export says of the process.
    resource: Resource,
    spans: OnceLock<Slot<SpanExporter>>,
    metrics: OnceLock<Slot<MetricExporter>>,
    outcomes: Outcomes,
    /// `Some` until the exporter is dropped.
    runtime: Option<Runtime>,
}

/// Whether an endpoint can be exported to, or what is allowed.
pub(super) fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let allowed = "expected the address of an OTLP collector over gRPC, such as http://127.0.0.1:4317";
    let uri: http::Uri = endpoint.parse().map_err(|error| format!("{allowed}: {error}"))?;
    match uri.scheme_str() {
        Some("http") => Ok(()),
        Some("https") => Err(format!("{allowed}; for TLS run a collector beside this process and let it forward")),
        _ => Err(allowed.to_owned()),
    }
}

impl Exporter {
    /// Starts the runtime; nothing connects yet.
    pub(super) fn start(endpoint: &str, resource: Resource, outcomes: Outcomes) -> Result<Self, String> {
        check_endpoint(endpoint)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("telemetry")
            .enable_all()
            .build()
            .map_err(|error| format!("the exporter's thread cannot be started: {error}"))?;
        let (spans, metrics) = Default::default();
        Ok(Self { endpoint: endpoint.to_owned(), resource, spans, metrics, outcomes, runtime: Some(runtime) })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime is there until drop")
    }

    /// A processor that exports spans.
    pub(super) fn spans(&self, meter: &Meter) -> Result<impl SpanProcessor + 'static, String> {
        let dropped = meter
            .u64_counter("loadline_telemetry_spans_dropped_total")
            .with_description("Spans that were never delivered")
            .build();
        let exporter = self.span_exporter()?;
        let gate = Gate::new(QUEUE, dropped, self.outcomes.clone());
        let _inside = self.runtime().enter();
        let exporter = self.spans.get_or_init(|| Slot::new(exporter));
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let counted = CountedExporter { next: exporter.clone(), gate: gate.clone() };
        let next = BatchSpanProcessor::builder(counted).with_batch_config(batches).build();
        Ok(CountedProcessor { next, gate })
    }

    /// A reader that exports metrics.
    pub(super) fn metrics(&self) -> Result<PeriodicReader<NotedMetrics<MetricExporter>>, String> {
        let exporter = self.metric_exporter()?;
        let exporter = self.metrics.get_or_init(|| Slot::new(exporter));
        let _inside = self.runtime().enter();
        let noted = NotedMetrics { next: exporter.clone(), outcomes: self.outcomes.clone() };
        Ok(PeriodicReader::builder(noted).with_interval(METRICS_EVERY).build())
    }

    /// On connections of its own, not made yet.
    fn span_exporter(&self) -> Result<SpanExporter, String> {
        let _inside = self.runtime().enter();
        let builder = SpanExporter::builder().with_tonic().with_endpoint(&self.endpoint).with_timeout(EXPORT_LIMIT);
        builder.build().map_err(|error| error.to_string())
    }

    fn metric_exporter(&self) -> Result<MetricExporter, String> {
        let _inside = self.runtime().enter();
        let builder = MetricExporter::builder().with_tonic().with_endpoint(&self.endpoint).with_timeout(EXPORT_LIMIT);
        builder.build().map_err(|error| error.to_string())
    }

    /// Drops the connections: what is exported from now on looks the collector's address up anew. The task tries whether it
    /// answers, and notes how that went.
    pub(super) fn reconnect(&self) -> Result<JoinHandle<OTelSdkResult>, String> {
        let (mut spans, metrics) = (self.span_exporter()?, self.metric_exporter()?);
        spans.set_resource(&self.resource);
        let slot = self.spans.get().ok_or("nothing is exported yet")?;
        slot.put(spans);
        if let Some(slot) = self.metrics.get() {
            slot.put(metrics);
        }
        let (probe, outcomes) = (slot.get(), self.outcomes.clone());
        Ok(self.runtime().spawn(async move {
            let probed = probe.export(Vec::new()).await;
            outcomes.exported(&probed);
            probed
        }))
    }

    /// Exports what is left within `limit`; whether all of it went.
    pub(super) fn stop(self, tracers: SdkTracerProvider, meters: SdkMeterProvider, limit: Duration) -> bool {
        let (done, wait) = mpsc::channel();
        // The library's shutdown ignores its time limit in places, so it runs where it can be left behind.
        let thread = std::thread::Builder::new().name("telemetry-end".to_owned()).spawn(move || {
            let delivered = tracers.shutdown_with_timeout(limit).is_ok() & meters.shutdown_with_timeout(limit).is_ok();
            let _ = done.send(delivered);
        });
        thread.is_ok() && wait.recv_timeout(limit).unwrap_or(false)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // A plain drop would block, and panics inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
