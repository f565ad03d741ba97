//! Trace context (W3C `traceparent`) across processes: out of the current span, into the headers of whatever carries it.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Headers that a trace context can be read from.
pub trait Extract {
    /// A header's text, if it has one.
    fn read(&self, name: &str) -> Option<&str>;
}

/// Headers that a trace context can be written to.
pub trait Inject {
    /// Sets a header.
    fn write(&mut self, name: &str, value: String);
}

impl Extract for HeaderMap {
    fn read(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str().ok()
    }
}

impl Extract for MetadataMap {
    fn read(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str().ok()
    }
}

impl Extract for HashMap<String, String> {
    fn read(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

impl Inject for HeaderMap {
    fn write(&mut self, name: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.insert(name, value);
        }
    }
}

impl Inject for MetadataMap {
    fn write(&mut self, name: &str, value: String) {
        if let (Ok(name), Ok(value)) = (MetadataKey::from_bytes(name.as_bytes()), MetadataValue::try_from(value)) {
            self.insert(name, value);
        }
    }
}

impl Inject for HashMap<String, String> {
    fn write(&mut self, name: &str, value: String) {
        self.insert(name.to_owned(), value);
    }
}

/// The context that headers carry; an empty one when they carry none.
pub fn extract(headers: &impl Extract) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Reader(headers))
}

/// Writes the current span's context into headers; nothing outside a span.
pub fn inject(headers: &mut impl Inject) {
    TraceContextPropagator::new().inject_context(&tracing::Span::current().context(), &mut Writer(headers));
}

/// The current span's `traceparent`, for carriers with a single field.
pub fn traceparent() -> Option<String> {
    let mut headers = HashMap::new();
    inject(&mut headers);
    headers.remove("traceparent")
}

struct Reader<'a, H>(&'a H);

impl<H: Extract> Extractor for Reader<'_, H> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.read(key)
    }

    fn keys(&self) -> Vec<&str> {
        // The W3C propagator asks for its two headers by name.
        Vec::new()
    }
}

struct Writer<'a, H>(&'a mut H);

impl<H: Inject> Injector for Writer<'_, H> {
    fn set(&mut self, key: &str, value: String) {
        self.0.write(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{TraceContextExt, TracerProvider};
    use tracing_subscriber::layer::SubscriberExt;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_survives_a_hop() {
        let tracers = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracers.tracer("t")));
        tracing::subscriber::with_default(subscriber, || {
            let incoming = HashMap::from([("traceparent".to_owned(), PARENT.to_owned())]);
            let span = tracing::info_span!("work");
            span.set_parent(extract(&incoming)).expect("a new span takes a parent");
            let mut outgoing = MetadataMap::new();
            span.in_scope(|| inject(&mut outgoing));
            let sent = outgoing.get("traceparent").expect("injected").to_str().expect("text").to_owned();
            assert_eq!(sent.split('-').nth(1), PARENT.split('-').nth(1), "same trace");
            assert_ne!(sent.split('-').nth(2), PARENT.split('-').nth(2), "another span");
        });
    }

    #[test]
    fn headers_without_or_with_a_broken_context_give_none() {
        for headers in [HashMap::new(), HashMap::from([("traceparent".to_owned(), "nonsense".to_owned())])] {
            assert!(!extract(&headers).span().span_context().is_valid());
        }
        assert_eq!(traceparent(), None);
    }
}
