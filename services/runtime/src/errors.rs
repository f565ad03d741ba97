//! Rich gRPC errors (`google.rpc`): a code, a stable machine-readable reason, and a message that says what to do.
//!
//! Every status made here carries an `ErrorInfo` with `domain = "loadline"`; beside it `BadRequest` names the field, `RetryInfo` the
//! time to wait, `ResourceInfo` the thing that is missing. Reasons are UPPER_SNAKE_CASE and part of the contract; messages are not.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Longest text, in bytes. A status and its details are headers, of which many callers take 8 KiB; what they had sent instead of a name
/// may be repeated in them, and a status that is too large reaches them as another one.
const MOST: usize = 1_500;

/// Longest value of a reason's metadata, in bytes.
const MOST_METADATA: usize = 200;

/// The domain of every reason.
pub const DOMAIN: &str = "loadline";

/// Any code with a reason and metadata.
pub fn rich<K, V>(code: Code, reason: &str, message: impl Into<String>, metadata: impl IntoIterator<Item = (K, V)>) -> Status
where
    K: Into<String>,
    V: Into<String>,
{
    let value = |value: V| cut(value.into(), MOST_METADATA);
    let metadata: HashMap<String, String> = metadata.into_iter().map(|(k, v)| (k.into(), value(v))).collect();
    Status::with_error_details(code, cut(message.into(), MOST), ErrorDetails::with_error_info(reason, DOMAIN, metadata))
}

/// `INVALID_ARGUMENT`, reason `INVALID_FIELD`: one field (a path such as `range.from` or `events[3].account`) and what to do about it.
pub fn invalid(field: impl Into<String>, what_to_do: impl Into<String>) -> Status {
    invalid_fields([(field, what_to_do)])
}

/// `INVALID_ARGUMENT`, reason `INVALID_FIELD`: several fields at once, in the order given.
pub fn invalid_fields<F: Into<String>, W: Into<String>>(fields: impl IntoIterator<Item = (F, W)>) -> Status {
    let violation = |(field, what): (F, W)| FieldViolation::new(cut(field.into(), MOST_METADATA), cut(what.into(), MOST));
    let violations: Vec<FieldViolation> = fields.into_iter().map(violation).collect();
    let message = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect::<Vec<_>>().join("; ");
    let mut details = ErrorDetails::with_bad_request(violations);
    details.set_error_info("INVALID_FIELD", DOMAIN, HashMap::new());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// `UNAVAILABLE`: try the same request again after `retry_after`.
pub fn unavailable(reason: &str, message: impl Into<String>, retry_after: Duration) -> Status {
    retryable(Code::Unavailable, reason, message, retry_after)
}

/// `RESOURCE_EXHAUSTED` by load or quota: try again after `retry_after`.
pub fn exhausted(reason: &str, message: impl Into<String>, retry_after: Duration) -> Status {
    retryable(Code::ResourceExhausted, reason, message, retry_after)
}

/// `NOT_FOUND`, reason `NOT_FOUND`: which resource, by type and name, and what to do.
pub fn not_found(resource_type: &str, name: &str, what_to_do: &str) -> Status {
    let name = &cut(name.to_owned(), MOST_METADATA);
    let message = format!("{resource_type} `{name}` does not exist: {what_to_do}");
    let mut details = ErrorDetails::with_resource_info(resource_type, name, "", what_to_do);
    details.set_error_info("NOT_FOUND", DOMAIN, HashMap::from([(resource_type.to_owned(), name.clone())]));
    Status::with_error_details(Code::NotFound, message, details)
}

/// `FAILED_PRECONDITION`: trying again is useless until `subject` is put right as the message says.
pub fn failed_precondition(reason: &str, subject: &str, what_to_do: impl Into<String>) -> Status {
    let (subject, what_to_do) = (&cut(subject.to_owned(), MOST_METADATA), cut(what_to_do.into(), MOST));
    let mut details = ErrorDetails::with_precondition_failure_violation(reason, subject, what_to_do.clone());
    details.set_error_info(reason, DOMAIN, HashMap::from([("subject".to_owned(), subject.clone())]));
    Status::with_error_details(Code::FailedPrecondition, what_to_do, details)
}

/// `PERMISSION_DENIED`: the caller is known and may not.
pub fn permission_denied(reason: &str, message: impl Into<String>) -> Status {
    rich(Code::PermissionDenied, reason, message, [] as [(&str, &str); 0])
}

/// `INTERNAL`: our fault. The message goes to the caller, so it carries no secret and no stack.
pub fn internal(reason: &str, message: impl Into<String>) -> Status {
    rich(Code::Internal, reason, message, [] as [(&str, &str); 0])
}

/// `DEADLINE_EXCEEDED`: the request's time was over after `limit`.
pub fn deadline_exceeded(limit: Duration, what_to_do: &str) -> Status {
    let message = format!("not finished within {limit:?}: {what_to_do}");
    rich(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message, [("limit", format!("{limit:?}"))])
}

/// The reason of a status made here, also after it travelled.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// The time after which a status invites to try again.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

fn retryable(code: Code, reason: &str, message: impl Into<String>, retry_after: Duration) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(retry_after));
    details.set_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, cut(message.into(), MOST), details)
}

/// The beginning of a text that is too long.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_request_lists_every_field() {
        let status = invalid_fields([("from", "must be before to"), ("account", "must not be empty")]);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "from: must be before to; account: must not be empty");
        let fields = status.get_details_bad_request().expect("a BadRequest").field_violations;
        assert_eq!(fields.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["from", "account"]);
        assert_eq!(reason(&status).as_deref(), Some("INVALID_FIELD"));
    }

    #[test]
    fn whatever_is_repeated_in_a_status_it_fits_into_the_headers_of_a_call() {
        let long = "ab".repeat(50_000);
        let statuses = [
            rich(Code::NotFound, "NOT_SERVED", &long, [("name", &long)]),
            invalid(&long, &long),
            unavailable("STORE_DOWN", &long, Duration::from_secs(1)),
            not_found("stream", &long, "list them"),
            failed_precondition("STOPPED", &long, &long),
        ];
        for status in statuses {
            let bytes = status.message().len() + status.details().len().div_ceil(3) * 4;
            assert!(bytes < 7_000 && status.message().contains('…'), "{bytes} bytes: {status}");
        }
        assert_eq!(cut("é".repeat(3), 3), "é…", "a character is whole or not there");
    }

    #[test]
    fn a_retryable_status_says_when() {
        for status in
            [unavailable("STORE_DOWN", "x", Duration::from_millis(1_500)), exhausted("BUSY", "x", Duration::from_millis(1_500))]
        {
            assert_eq!(retry_after(&status), Some(Duration::from_millis(1_500)));
            assert_eq!(status.get_details_error_info().expect("an ErrorInfo").domain, DOMAIN);
        }
    }

    #[test]
    fn a_missing_resource_is_named() {
        let status = not_found("stream", "BILLING", "list the streams with StreamService.List");
        let resource = status.get_details_resource_info().expect("a ResourceInfo");
        assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("stream", "BILLING"));
        assert!(status.message().contains("list the streams"));
    }

    #[test]
    fn a_failed_precondition_names_its_subject() {
        let status = failed_precondition("STREAM_STOPPED", "stream BILLING", "resume it first");
        let violation = &status.get_details_precondition_failure().expect("a PreconditionFailure").violations[0];
        assert_eq!((violation.r#type.as_str(), violation.subject.as_str()), ("STREAM_STOPPED", "stream BILLING"));
    }
}
