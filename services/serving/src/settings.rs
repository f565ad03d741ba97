//! Limits of the service.

/// What a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of one request.
    pub request_rows: usize,
    /// Bytes of one request for an answer.
    pub message_bytes: usize,
    /// Bytes of a file that is registered.
    pub file_bytes: u64,
}
