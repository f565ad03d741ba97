//! Logs, spans and metrics: written to stderr, scraped by Prometheus and, when an endpoint is set, exported over OTLP.
//!
//! ```text
//!  tracing ──▶ stderr
//!     └──────▶ spans ──▶ bounded queue ──▶ ┐
//!  instruments ──▶ /metrics                ├─ exporter on its own runtime ──▶ collector
//!           └──────────────────────────────┘
//! ```
//!
//! The nasty invariant: losing the collector never blocks or slows a request, nor the end of the process. Spans that find the queue
//! full are dropped and counted (`loadline_telemetry_spans_dropped_total`), and [`Telemetry::shutdown`] returns within two seconds.
//!
//! Instruments carry their full Prometheus name (`loadline_grpc_requests_total`, unit last): what the code says is what is scraped.

mod context;
mod counted;
mod exporter;
mod logs;
mod process;
mod sight;
mod slot;

pub use context::{Extract, Inject, extract, inject, traceparent};
pub use logs::Format;
pub use sight::Sight;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};

use crate::config::{Check, HumanDuration, Problems, key};
use exporter::Exporter;
use sight::Outcomes;

/// How long the end of the process waits for the last export.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// The section `[telemetry]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What is logged: a level (`info`) or directives (`info,loadline_ingest=debug`). More is slower.
    pub log: String,
    /// How logs are written to stderr.
    pub format: Format,
    /// Collector that spans and metrics are exported to over gRPC (`http://127.0.0.1:4317`). Unset: nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// How often `/metrics` should be scraped; it is a failure mode when nobody does. Unset: nobody has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scraped_every: Option<HumanDuration>,
    /// Name of this process among the service's replicas. Unset: the host's name and the process id.
    pub instance: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { log: "info".to_owned(), format: Format::Auto, otlp_endpoint: None, scraped_every: None, instance: None }
    }
}

impl Settings {
    /// Name of this process among the service's replicas.
    pub fn instance_name(&self) -> String {
        self.instance.clone().unwrap_or_else(process::instance)
    }
}

impl Check for Settings {
    fn check(&self, at: &str, problems: &mut Problems) {
        if let Err(why) = logs::filter(&self.log) {
            problems.refuse(key(at, "log"), format!("{:?}", self.log), why);
        }
        if let Some(endpoint) = &self.otlp_endpoint
            && let Err(why) = exporter::check_endpoint(endpoint)
        {
            problems.refuse(key(at, "otlp_endpoint"), format!("{endpoint:?}"), why);
        }
        if let Some(every) = self.scraped_every
            && !(Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&*every)
        {
            problems.refuse(key(at, "scraped_every"), every, "from 1s to 1h");
        }
    }
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of `log` cannot be read.
    #[error("telemetry.log: {0}")]
    Filter(String),
    /// The exporter cannot be built.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(String),
    /// The scraped registry cannot be built.
    #[error("metrics: {0}")]
    Metrics(String),
}

/// Running telemetry; cheap to clone, all clones are one.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    build: String,
    registry: Registry,
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
    exporter: Mutex<Option<Exporter>>,
    outcomes: Outcomes,
    exports: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The providers' own drop exports what is left, and blocks for it; dropped without a shutdown, they do so elsewhere.
        let exporter = self.exporter.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(exporter) = exporter {
            exporter.stop(self.tracers.clone(), self.meters.clone(), Duration::ZERO);
        }
    }
}

/// Starts telemetry for `service` at version `build` and makes it the process's global one.
///
/// May be called more than once in a process: logs and spans stay with the first call, each call has its own instruments, and the
/// global meter is the last one's.
///
/// # Errors
/// When a setting cannot be used. A collector that is not there is no error.
pub fn init(settings: &Settings, service: &str, build: &str) -> Result<Telemetry, TelemetryError> {
    let filter = logs::filter(&settings.log).map_err(TelemetryError::Filter)?;
    let resource = resource(settings, service, build);
    let outcomes = Outcomes::new();
    let exporter =
        settings.otlp_endpoint.as_deref().map(|endpoint| Exporter::start(endpoint, resource.clone(), outcomes.clone()));
    let exporter = exporter.transpose().map_err(TelemetryError::Exporter)?;
    let exports = exporter.is_some();

    let registry = Registry::new();
    let meters = meter_provider(&registry, exporter.as_ref(), resource.clone())?;
    global::set_meter_provider(meters.clone());
    let meter = meters.meter("loadline_runtime");
    process::observe(&meter, build);

    let tracers = SdkTracerProvider::builder().with_resource(resource);
    let tracers = match &exporter {
        Some(exporter) => tracers.with_span_processor(exporter.spans(&meter).map_err(TelemetryError::Exporter)?),
        None => tracers,
    };
    let tracers = tracers.build();
    logs::install(filter, settings.format, tracers.tracer("loadline"));
    let (build, exporter) = (build.to_owned(), Mutex::new(exporter));
    Ok(Telemetry { inner: Arc::new(Inner { build, registry, meters, tracers, exporter, outcomes, exports }) })
}

fn meter_provider(
    registry: &Registry,
    exporter: Option<&Exporter>,
    resource: Resource,
) -> Result<SdkMeterProvider, TelemetryError> {
    // Names are complete in the code, so that alert rules can be checked against it.
    let scraped = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_counter_suffixes()
        .without_units()
        .scope_info_enabled(false)
        .build()
        .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    let builder = SdkMeterProvider::builder().with_resource(resource).with_reader(scraped);
    let builder = match exporter {
        Some(exporter) => builder.with_reader(exporter.metrics().map_err(TelemetryError::Exporter)?),
        None => builder,
    };
    Ok(builder.build())
}

fn resource(settings: &Settings, service: &str, build: &str) -> Resource {
    let instance = KeyValue::new("service.instance.id", settings.instance_name());
    let attributes = [KeyValue::new("service.version", build.to_owned()), instance];
    Resource::builder_empty().with_service_name(service.to_owned()).with_attributes(attributes).build()
}

impl Telemetry {
    /// The build that it was started for.
    pub fn build(&self) -> &str {
        &self.inner.build
    }

    /// The meter of a part of the process; instruments made from it are scraped and exported.
    pub fn meter(&self, name: &'static str) -> Meter {
        self.inner.meters.meter(name)
    }

    /// How well this process is seen from outside.
    pub fn sight(&self) -> Sight {
        self.inner.outcomes.sight(self.inner.exports)
    }

    /// Drops the exporter's connections and tries the collector over a new one. None: nothing is exported.
    ///
    /// # Errors
    /// In words, why the collector does not answer.
    pub async fn reconnect(&self) -> Option<Result<(), String>> {
        let probe = {
            let exporter = self.inner.exporter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            exporter.as_ref()?.reconnect()
        };
        Some(match probe {
            Ok(probe) => {
                probe.await.map_err(|error| error.to_string()).and_then(|probed| probed.map_err(|error| error.to_string()))
            }
            Err(why) => Err(why),
        })
    }

    /// All instruments in Prometheus text format, for a scraper: it is noted as one.
    pub fn scraped_text(&self) -> String {
        self.inner.outcomes.scraped();
        self.metrics_text()
    }

    /// All instruments in Prometheus text format.
    pub fn metrics_text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.inner.registry.gather()).unwrap_or_else(|error| {
            tracing::warn!(%error, "metrics could not be written");
            String::new()
        })
    }

    /// Exports what is left, and stops. Returns within [`SHUTDOWN_LIMIT`], also when the collector is dead; `false` when something was
    /// left behind. Blocks, so an async caller wraps it in `spawn_blocking`.
    pub fn shutdown(&self) -> bool {
        let exporter = self.inner.exporter.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match exporter {
            Some(exporter) => exporter.stop(self.inner.tracers.clone(), self.inner.meters.clone(), SHUTDOWN_LIMIT),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn exporting_to(endpoint: String) -> Settings {
        Settings { otlp_endpoint: Some(endpoint), ..Settings::default() }
    }

    /// The value of an unlabelled sample.
    fn sample(text: &str, name: &str) -> Option<f64> {
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .find_map(|rest| rest.trim_start_matches(|c| c != ' ').trim().parse().ok())
    }

    #[test]
    fn instruments_are_scraped_under_the_name_in_the_code() {
        let telemetry = init(&Settings::default(), "test", "0").expect("started");
        let counter = telemetry.meter("t").u64_counter("loadline_test_things_total").with_unit("things").build();
        counter.add(3, &[KeyValue::new("kind", "a")]);
        let text = telemetry.metrics_text();
        assert!(text.contains("loadline_test_things_total{kind=\"a\"} 3"), "{text}");
    }

    #[test]
    fn several_inits_in_a_process_keep_their_instruments_apart() {
        let (a, b) =
            (init(&Settings::default(), "a", "0").expect("started"), init(&Settings::default(), "b", "0").expect("started"));
        a.meter("t").u64_counter("loadline_test_a_total").build().add(1, &[]);
        b.meter("t").u64_counter("loadline_test_b_total").build().add(1, &[]);
        assert!(a.metrics_text().contains("loadline_test_a_total") && !a.metrics_text().contains("loadline_test_b_total"));
        assert!(b.metrics_text().contains("loadline_test_b_total"));
    }

    #[test]
    fn the_end_is_bounded_with_a_collector_that_accepts_and_never_answers() {
        use opentelemetry::trace::Tracer;
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
        let telemetry = init(&exporting_to(endpoint), "test", "0").expect("started");
        let tracer = telemetry.inner.tracers.tracer("t");
        (0..10).for_each(|_| drop(tracer.start("work")));
        let begun = Instant::now();
        assert!(!telemetry.shutdown(), "the spans cannot have been delivered");
        // Bounded, not fast: without the bound the exporter's own time-outs add up to far more.
        assert!(begun.elapsed() < SHUTDOWN_LIMIT * 3, "{:?}", begun.elapsed());
    }

    #[test]
    fn spans_beyond_the_queue_are_dropped_and_counted() {
        use opentelemetry::trace::Tracer;
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
        let telemetry = init(&exporting_to(endpoint), "test", "0").expect("started");
        let tracer = telemetry.inner.tracers.tracer("t");
        let made = exporter::QUEUE + 500;
        (0..made).for_each(|_| drop(tracer.start("work")));
        let text = telemetry.metrics_text();
        assert_eq!(sample(&text, "loadline_telemetry_spans_dropped_total{reason=\"queue_full\""), Some(500.0), "{text}");
        assert!(telemetry.sight().dropped >= 500, "{:?}", telemetry.sight());
    }

    #[test]
    fn a_collector_that_refuses_is_seen_and_a_scrape_too() {
        use opentelemetry::trace::Tracer;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let telemetry = init(&exporting_to(format!("http://{closed}")), "test", "0").expect("started");
        assert_eq!((telemetry.sight().exports, telemetry.sight().failing_for), (true, None));
        drop(telemetry.inner.tracers.tracer("t").start("work"));
        let _ = telemetry.inner.tracers.force_flush();
        let sight = telemetry.sight();
        assert!(sight.failing_for.is_some() && !sight.failure.is_empty() && sight.dropped == 1, "{sight:?}");
        std::thread::sleep(Duration::from_millis(20));
        let before = telemetry.sight().unscraped_for;
        assert!(
            before >= Duration::from_millis(20) && telemetry.scraped_text().contains("loadline_telemetry_spans_dropped_total")
        );
        assert!(telemetry.sight().unscraped_for < before);
    }

    #[tokio::test]
    async fn a_reconnect_connects_anew_and_says_when_the_collector_does_not_answer() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
        let telemetry = init(&exporting_to(endpoint), "test", "0").expect("started");
        let mut open = Vec::new();
        for _ in 0..2 {
            assert!(telemetry.reconnect().await.expect("something is exported").is_err(), "it never answers");
            let accepted = tokio::time::timeout(Duration::from_secs(10), silent.accept()).await;
            open.push(accepted.expect("a connection of its own").expect("accepted"));
        }
        assert!(telemetry.sight().failing_for.is_some());
        assert!(init(&Settings::default(), "test", "0").expect("started").reconnect().await.is_none(), "nothing is exported");
    }

    #[tokio::test]
    async fn telemetry_may_be_dropped_inside_a_runtime() {
        let telemetry = init(&exporting_to("http://127.0.0.1:1".to_owned()), "test", "0").expect("started");
        drop(telemetry);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let mut problems = Problems::new();
        let settings =
            Settings { log: "loud=9".to_owned(), otlp_endpoint: Some("collector:4317".to_owned()), ..Settings::default() };
        settings.check("telemetry", &mut problems);
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["telemetry.log", "telemetry.otlp_endpoint"]);
    }
}
