//! A bounded, counted way into the exporter: what finds no room is dropped and counted, what the collector refuses is counted too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::metrics::Counter;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

use super::sight::Outcomes;
use super::slot::Slot;

/// How many spans are between a request and the collector, shared by both ends.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    inside: Arc<AtomicUsize>,
    limit: usize,
    dropped: Counter<u64>,
    outcomes: Outcomes,
}

impl Gate {
    pub(super) fn new(limit: usize, dropped: Counter<u64>, outcomes: Outcomes) -> Self {
        Self { inside: Arc::new(AtomicUsize::new(0)), limit, dropped, outcomes }
    }

    fn enter(&self) -> bool {
        let entered = self.inside.try_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.limit).then_some(n + 1)).is_ok();
        if !entered {
            self.dropped.add(1, &[KeyValue::new("reason", "queue_full")]);
            self.outcomes.dropped(1);
        }
        entered
    }

    fn leave(&self, spans: usize, result: &OTelSdkResult) {
        self.inside.fetch_sub(spans, Ordering::Relaxed);
        if result.is_err() {
            self.dropped.add(spans as u64, &[KeyValue::new("reason", "export_failed")]);
            self.outcomes.dropped(spans as u64);
        }
        self.outcomes.exported(result);
    }
}

/// The processor's side: lets a span in or drops it. The library's own queue is as long, so it never overflows uncounted.
#[derive(Debug)]
pub(super) struct CountedProcessor<P> {
    pub(super) next: P,
    pub(super) gate: Gate,
}

impl<P: SpanProcessor> SpanProcessor for CountedProcessor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // An unsampled span goes no further in the library either, and would never leave the gate.
        if span.span_context.is_sampled() && self.gate.enter() {
            self.next.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// The exporter's side: lets spans out, delivered or not.
#[derive(Debug)]
pub(super) struct CountedExporter<E> {
    pub(super) next: Slot<E>,
    pub(super) gate: Gate,
}

impl<E: SpanExporter> SpanExporter for CountedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.next.get().export(batch).await;
        self.gate.leave(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.get().shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.get().force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.change(|exporter| exporter.set_resource(resource));
    }
}

/// Notes how exports of metrics end. They come at an interval, so a dead collector is noticed without any request.
pub(super) struct NotedMetrics<E> {
    pub(super) next: Slot<E>,
    pub(super) outcomes: Outcomes,
}

impl<E: PushMetricExporter> PushMetricExporter for NotedMetrics<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.next.get().export(metrics).await;
        self.outcomes.exported(&result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.get().force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.get().shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.next.get().temporality()
    }
}
