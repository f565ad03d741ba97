//! The same states as a metric, for alerts that do not look at the stream.

use crate::monitor::{Monitor, WeakMonitor};
use loadline_proto::health::State;
use opentelemetry::{KeyValue, metrics::Meter};

/// Name of the gauge. Its value is the number of the contract's `State`: 1 OK, 2 SUSPECT,
/// 3 OPEN, 4 ACKNOWLEDGED, 5 REMEDIATING, 6 VERIFYING, 7 PLANNED, 8 UNKNOWN; 3 to 6 are open.
const NAME: &str = "loadline_failure_mode_state";

/// Publishes the states of a monitor for as long as it lives.
pub(crate) fn register(meter: &Meter, monitor: &Monitor) {
    let service = monitor.service();
    let weak: WeakMonitor = monitor.downgrade();
    meter
        .i64_observable_gauge(NAME)
        .with_description("State of a failure mode: 1 ok, 2 suspect, 3 to 6 open (4 acknowledged, 5 remediating, 6 verifying), 7 planned, 8 unknown")
        .with_callback(move |gauge| {
            let Some(monitor) = weak.upgrade() else { return };
            for status in monitor.statuses() {
                let labels = [KeyValue::new("service", service.clone()), KeyValue::new("id", status.id)];
                gauge.observe(State::try_from(status.state).unwrap_or_default() as i64, &labels);
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reading;
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{AggregatedMetrics, MetricData},
    };
    use std::collections::HashMap;

    fn states(exporter: &InMemoryMetricExporter, provider: &SdkMeterProvider) -> HashMap<String, i64> {
        exporter.reset();
        provider.force_flush().unwrap();
        let exported = exporter.get_finished_metrics().unwrap();
        let metrics = exported.iter().flat_map(|resource| resource.scope_metrics()).flat_map(|scope| scope.metrics());
        let mut found = HashMap::new();
        for metric in metrics.filter(|metric| metric.name() == NAME) {
            if let AggregatedMetrics::I64(MetricData::Gauge(gauge)) = metric.data() {
                for point in gauge.data_points() {
                    let id = point.attributes().find(|label| label.key.as_str() == "id").unwrap();
                    found.insert(id.value.to_string(), point.value());
                }
            }
        }
        found
    }

    #[test]
    fn the_gauge_follows_the_state_and_ends_with_the_monitor() {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
        let monitor = Monitor::new("ingest", "test", &["AN-02", "AN-03"]).unwrap();
        register(&provider.meter("test"), &monitor);
        monitor.observe("AN-03", Reading::bad(3.0, "3 in the last minute"));
        let seen = states(&exporter, &provider);
        assert_eq!((seen["AN-03"], seen["AN-02"], seen["PR-03"]), (3, 8, 7));
        drop(monitor);
        assert!(states(&exporter, &provider).is_empty());
    }
}
