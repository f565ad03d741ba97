//! PR-09: a peer that is down.

use super::{Peer, Seen, Standing};
use loadline_health::{Reading, Severity};
use tokio::time::Instant;

/// The value is seconds for which a peer has been down, of the one that has been so for longest; `limit`: from how many on that
/// counts. `own` is the service that looks: a replica of it is there. None: nothing can be told yet, as a peer that was never
/// seen may still be starting.
pub fn look(own: &str, peers: &[(Peer, Seen)], is_starting: bool, limit: f64, now: Instant) -> Option<Reading> {
    if is_starting && peers.iter().any(|(_, seen)| seen.who.is_none()) {
        return None;
    }
    let serving = |service: &str| {
        let others = peers.iter().filter(|(_, seen)| seen.standing == Standing::Serving);
        service == own || others.into_iter().any(|(peer, _)| peer.service == service)
    };
    let lasts = |seen: &Seen| now.saturating_duration_since(seen.since).as_secs_f64();
    let mut down: Vec<_> = peers.iter().filter(|(_, seen)| seen.standing != Standing::Serving).collect();
    down.sort_by_key(|(peer, seen)| (serving(&peer.service), seen.since));
    let longest = down.iter().map(|(_, seen)| lasts(seen)).fold(0.0, f64::max);
    let open: Vec<_> = down.iter().filter(|(_, seen)| lasts(seen) >= limit).collect();
    let Some((first, _)) = open.first() else {
        return Some(Reading::good(longest, format!("{} of {} peers serve", peers.len() - down.len(), peers.len())));
    };
    let told: Vec<_> = open.iter().map(|(peer, seen)| told(peer, seen, lasts(seen))).collect();
    let reading = Reading::bad(longest, told.join("; "));
    Some(if serving(&first.service) { reading } else { reading.raised(Severity::P1) })
}

fn told(peer: &Peer, seen: &Seen, lasts: f64) -> String {
    let why = match &seen.standing {
        Standing::Down(why) => why.as_str(),
        Standing::Awaited | Standing::Serving | Standing::Myself => "nothing has come of it",
    };
    let instance = seen.who.as_ref().map(|who| who.instance.as_str()).filter(|instance| !instance.is_empty());
    format!("{} {} at {} is down for {lasts:.0} s: {why}", peer.service, instance.unwrap_or("(never seen)"), peer.address)
}

#[cfg(test)]
mod tests {
    use super::{super::Who, *};
    use std::time::Duration;

    /// A peer, and for how many seconds it has been down; none: it serves.
    fn peer(service: &str, port: u16, down: Option<u64>, now: Instant) -> (Peer, Seen) {
        let who = Who { service: service.to_owned(), instance: format!("host-{port}"), ..Who::default() };
        let mut seen = Seen { who: Some(who), ..Seen::nothing(now - Duration::from_secs(60)) };
        match down {
            Some(seconds) => {
                let since = now - Duration::from_secs(seconds);
                seen.stands(Standing::Down("connection refused".to_owned()), since);
                seen.stands(Standing::Down("no answer".to_owned()), now);
            }
            None => seen.stands(Standing::Serving, now),
        }
        (Peer { service: service.to_owned(), address: format!("127.0.0.1:{port}") }, seen)
    }

    fn read(peers: &[(Peer, Seen)], now: Instant) -> (bool, Option<Severity>, String) {
        let reading = look("ingest", peers, false, 2.0, now).unwrap();
        (reading.bad, reading.severity, reading.detail)
    }

    #[test]
    fn a_peer_that_is_down_for_long_enough_is_told_by_service_instance_and_address() {
        let now = Instant::now() + Duration::from_secs(3_600);
        assert!(!read(&[peer("query", 1, None, now)], now).0);
        assert!(!read(&[peer("query", 1, Some(1), now)], now).0, "a restart may be quicker");
        let (bad, severity, detail) = read(&[peer("query", 1, Some(3), now), peer("rollup", 3, None, now)], now);
        assert_eq!((bad, severity), (true, Some(Severity::P1)), "it was the last query: {detail}");
        assert_eq!(detail, "query host-1 at 127.0.0.1:1 is down for 3 s: no answer");
    }

    #[test]
    fn it_is_p1_only_where_no_replica_that_is_known_serves() {
        let now = Instant::now() + Duration::from_secs(3_600);
        let down = |service, port| peer(service, port, Some(9), now);
        assert_eq!(read(&[down("query", 1), peer("query", 2, None, now)], now).1, None);
        assert_eq!(read(&[down("query", 1), down("query", 2)], now).1, Some(Severity::P1));
        assert_eq!(read(&[down("ingest", 1)], now).1, None, "who looks is a replica itself");
        let (_, severity, detail) = read(&[down("ingest", 1), down("rollup", 2)], now);
        assert_eq!(severity, Some(Severity::P1), "the worst counts");
        assert!(detail.starts_with("rollup"), "and is told first: {detail}");
        let young = [down("ingest", 1), peer("rollup", 2, Some(1), now)];
        assert_eq!(read(&young, now).1, None, "what is not down for long enough raises nothing");
    }

    #[test]
    fn of_a_peer_that_was_never_seen_nothing_is_said_while_it_may_be_starting() {
        let now = Instant::now() + Duration::from_secs(3_600);
        let (peer, mut seen) = peer("query", 1, Some(9), now);
        seen.who = None;
        let peers = [(peer, seen)];
        assert_eq!(look("ingest", &peers, true, 2.0, now), None);
        let reading = look("ingest", &peers, false, 2.0, now).unwrap();
        assert!(reading.bad && reading.detail.contains("(never seen)"), "{reading:?}");
    }

    #[test]
    fn a_peer_that_is_back_is_down_from_when_it_goes_again() {
        let now = Instant::now();
        let (_, mut seen) = peer("query", 1, Some(0), now);
        seen.stands(Standing::Serving, now + Duration::from_secs(5));
        seen.stands(Standing::Down(String::new()), now + Duration::from_secs(9));
        assert_eq!(seen.since, now + Duration::from_secs(9));
    }
}
