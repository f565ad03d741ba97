//! Request metrics: how many by method and code, how long, how many at once. Refused requests count too.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use tonic::Code;

use super::around::{Around, Call, Inner, Reply};
use super::ending::at_end;
use crate::access::AccessRules;

/// Bounds of the duration histogram in seconds: from a cache hit to the longest deadline.
const SECONDS: [f64; 13] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0, 30.0];

/// Label of methods that no table lists; callers choose paths, and must not choose labels.
const UNLISTED: &str = "unlisted";

/// The server's instruments.
#[derive(Clone)]
pub(super) struct Instruments {
    requests: Counter<u64>,
    duration: Histogram<f64>,
    in_flight: UpDownCounter<i64>,
    pub(super) connections: UpDownCounter<i64>,
    pub(super) connections_refused: Counter<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            requests: meter
                .u64_counter("loadline_grpc_requests_total")
                .with_description("Requests ended, by method and code")
                .build(),
            duration: meter
                .f64_histogram("loadline_grpc_request_duration_seconds")
                .with_description("Time from a request's head to the end of its reply")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            in_flight: meter
                .i64_up_down_counter("loadline_grpc_requests_in_flight")
                .with_description("Requests whose reply has not ended")
                .build(),
            connections: meter.i64_up_down_counter("loadline_grpc_connections").with_description("Open connections").build(),
            connections_refused: meter
                .u64_counter("loadline_grpc_connections_refused_total")
                .with_description("Connections closed because there were too many")
                .build(),
        }
    }
}

#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) instruments: Instruments,
    pub(super) rules: Arc<AccessRules>,
}

impl Around for Metrics {
    async fn around(self, call: Call, inner: impl Inner) -> Reply {
        let method = KeyValue::new("method", self.rules.known(call.uri().path()).unwrap_or(UNLISTED));
        let record = Record::begin(self.instruments, method);
        let reply = inner.pass(call).await;
        at_end(reply, move |code| record.end(code))
    }
}

/// One request's entry; written when dropped, so that an abandoned request is written too.
struct Record {
    instruments: Instruments,
    method: KeyValue,
    begun: Instant,
    code: Code,
}

impl Record {
    fn begin(instruments: Instruments, method: KeyValue) -> Self {
        instruments.in_flight.add(1, std::slice::from_ref(&method));
        Self { instruments, method, begun: Instant::now(), code: Code::Cancelled }
    }

    fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let method = std::slice::from_ref(&self.method);
        self.instruments.in_flight.add(-1, method);
        self.instruments.duration.record(self.begun.elapsed().as_secs_f64(), method);
        self.instruments.requests.add(1, &[self.method.clone(), KeyValue::new("code", code_name(self.code))]);
    }
}

/// A code's name as in the gRPC specification.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
