//! Trace context: the caller's trace goes on in a span of ours, which lasts until the reply's body ends.

use tonic::Code;
use tracing::{Instrument, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::around::{Around, Call, Inner, Reply};
use super::ending::at_end;
use super::metrics::code_name;
use crate::telemetry;

#[derive(Clone)]
pub(super) struct Trace;

impl Around for Trace {
    async fn around(self, call: Call, inner: impl Inner) -> Reply {
        let span = span_of(&call);
        let reply = inner.pass(call).instrument(span.clone()).await;
        at_end(reply, move |code| {
            span.record("rpc.code", code_name(code));
            if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
                span.in_scope(|| tracing::warn!(code = code_name(code), "request failed on our side"));
            }
        })
    }
}

fn span_of(call: &Call) -> Span {
    let method = call.uri().path();
    let span =
        tracing::info_span!("grpc", otel.name = method, otel.kind = "server", rpc.method = method, rpc.code = field::Empty);
    // Without a subscriber for spans there is nothing to continue.
    let _ = span.set_parent(telemetry::extract(call.headers()));
    span
}
