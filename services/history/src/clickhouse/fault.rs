//! What ClickHouse's errors mean: the one place that knows their numbers.

use crate::HistoryError;
use clickhouse::error::Error;

/// An error of the client or the server.
pub(super) fn failed(error: Error) -> HistoryError {
    match &error {
        Error::Network(_) | Error::TimedOut => HistoryError::Unavailable(format!("ClickHouse: {}", chain(&error))),
        Error::BadResponse(said) => answered(said),
        // An answer that was cut off reads like one of another shape.
        Error::NotEnoughData => HistoryError::Unavailable("ClickHouse: the answer was cut off".to_owned()),
        _ => HistoryError::Broken(format!("ClickHouse: {}", chain(&error))),
    }
}

fn answered(said: &str) -> HistoryError {
    let text = format!("ClickHouse: {}", said.lines().next().unwrap_or_default());
    match code(said) {
        // No such column, unknown identifier, wrong type.
        Some(16 | 47 | 53) => HistoryError::WrongSchema(text),
        // Wrong user or password, access denied.
        Some(192 | 193 | 194 | 497 | 516) => HistoryError::Misconfigured(text),
        // No such table or database: they may be brought back.
        Some(60 | 81) => HistoryError::Unavailable(format!("{text} (bring the database back, or prepare a new one)")),
        // Too slow, too many queries, timeouts, network, memory, space, too many pieces, read-only, shutting down.
        Some(159 | 160 | 164 | 202 | 209 | 210 | 241 | 242 | 243 | 252 | 394 | 439 | 735) => HistoryError::Unavailable(text),
        Some(_) => HistoryError::Broken(text),
        // Not ClickHouse's own words: a proxy's, or a server's that is starting.
        None => HistoryError::Unavailable(text),
    }
}

/// `60` of `Code: 60, e.displayText() = …` and of `Code: 60. DB::Exception: …`.
fn code(said: &str) -> Option<u32> {
    let after = said.split_once("Code: ")?.1;
    after[..after.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_servers_number_their_errors_alike() {
        assert_eq!(code("Code: 60, e.displayText() = DB::Exception: Table h.nope doesn't exist."), Some(60));
        assert_eq!(code("Code: 81. DB::Exception: Database nope does not exist. (UNKNOWN_DATABASE)"), Some(81));
        assert_eq!(code("502 Bad Gateway"), None);
        assert!(answered("Code: 241. DB::Exception: Memory limit exceeded").is_retryable());
        assert!(!answered("Code: 516. DB::Exception: Authentication failed").is_retryable());
        assert!(answered("503 Service Unavailable").is_retryable());
    }
}
