//! What a process has to do, as its stream tells it once a second or so.

use loadline_proto::health::ServiceLoad;
use std::time::Duration;

/// What is looked back on.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Pieces of work a second, what a piece is, and what the pieces of the last seconds took.
pub fn load(rate: f64, unit: &str, mut times: Vec<Duration>) -> ServiceLoad {
    let at = times.len().saturating_sub(1) * 99 / 100;
    let p99 = (!times.is_empty()).then(|| *times.select_nth_unstable(at).1);
    ServiceLoad { rate, unit: unit.to_owned(), p99: p99.and_then(|time| time.try_into().ok()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_leaves_out_the_slowest_hundredth_and_no_piece_has_none() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let load = load(20.0, "answers", times);
        assert_eq!((load.rate, load.unit.as_str()), (20.0, "answers"));
        assert_eq!(load.p99, Some(prost_types::Duration { seconds: 0, nanos: 198_000_000 }));
        assert_eq!(super::load(0.0, "answers", Vec::new()).p99, None);
    }
}
