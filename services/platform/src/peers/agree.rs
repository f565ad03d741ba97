//! PR-14, its second signal: replicas whose configurations are not the same.

use super::{Peer, Seen, Standing, Who};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// For so long replicas may differ before it counts: a roll-out goes from one to the next.
pub const ROLLING: Duration = Duration::from_secs(30);

/// Since when replicas differ.
#[derive(Debug, Default)]
pub struct Agreement {
    differ: Option<Instant>,
}

impl Agreement {
    /// How many replicas of this process's service have another configuration than it has, and in words which; none, or not for
    /// longer than a roll-out takes: nothing.
    pub fn look(&mut self, own: &Who, peers: &[(Peer, Seen)], now: Instant, rolling: Duration) -> Option<(usize, String)> {
        let others = others(own, peers);
        let count = others.values().map(Vec::len).sum();
        if count == 0 {
            self.differ = None;
            return None;
        }
        let since = *self.differ.get_or_insert(now);
        let told: Vec<_> = others.iter().map(|(hash, addresses)| format!("{hash} at {}", addresses.join(", "))).collect();
        let Who { service, configuration, instance, .. } = own;
        (now.saturating_duration_since(since) >= rolling)
            .then(|| (count, format!("{service} has configuration {configuration} at {instance} (here), {}", told.join(", "))))
    }
}

/// Addresses of the replicas that serve, by hashes that are not that of this process. One that is down does no harm with it.
fn others(own: &Who, peers: &[(Peer, Seen)]) -> BTreeMap<String, Vec<String>> {
    let mut others = BTreeMap::<String, Vec<String>>::new();
    for (peer, seen) in peers.iter().filter(|(_, seen)| seen.standing == Standing::Serving) {
        let Some(who) = seen.who.as_ref().filter(|who| who.service == own.service) else { continue };
        // An older build does not say.
        if !who.configuration.is_empty() && who.configuration != own.configuration {
            others.entry(who.configuration.clone()).or_default().push(peer.address.clone());
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(service: &str, configuration: &str) -> Who {
        let (service, configuration) = (service.to_owned(), configuration.to_owned());
        Who { service, configuration, instance: "here-1".to_owned(), boot: String::new() }
    }

    fn replica(service: &str, configuration: &str, standing: Standing) -> (Peer, Seen) {
        let peer = Peer { service: service.to_owned(), address: format!("{service}:{configuration}") };
        let seen = Seen { standing, since: Instant::now(), who: Some(who(service, configuration)) };
        (peer, seen)
    }

    #[test]
    fn replicas_that_differ_for_longer_than_a_roll_out_are_told_with_both_hashes() {
        let (own, start, mut agreement) = (who("query", "aaa"), Instant::now(), Agreement::default());
        let differ = [replica("query", "bbb", Standing::Serving), replica("query", "aaa", Standing::Serving)];
        assert_eq!(agreement.look(&own, &differ, start, ROLLING), None, "a roll-out");
        assert_eq!(agreement.look(&own, &differ, start + ROLLING / 2, ROLLING), None);
        let (count, told) = agreement.look(&own, &differ, start + ROLLING, ROLLING).unwrap();
        assert_eq!((count, told.as_str()), (1, "query has configuration aaa at here-1 (here), bbb at query:bbb"));
        assert_eq!(agreement.look(&own, &differ[1..], start + ROLLING * 2, ROLLING), None);
        assert_eq!(agreement.look(&own, &differ, start + ROLLING * 3, ROLLING), None, "their time begins again");
    }

    #[test]
    fn other_services_older_builds_and_those_that_are_down_do_not_differ() {
        let (own, start, mut agreement) = (who("query", "aaa"), Instant::now(), Agreement::default());
        let peers = [
            replica("rollup", "bbb", Standing::Serving),
            replica("query", "", Standing::Serving),
            replica("query", "ccc", Standing::Down(String::new())),
        ];
        for later in [start, start + ROLLING * 2] {
            assert_eq!(agreement.look(&own, &peers, later, ROLLING), None);
        }
    }
}
