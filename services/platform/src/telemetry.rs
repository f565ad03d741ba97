//! PR-15: whether anybody outside sees this process.

use loadline_health::Reading;
use loadline_runtime::{config::HumanDuration, telemetry::Sight};

/// The value is seconds for which the exporter has failed, or nobody has scraped who should have. `scraped_every`: how often
/// somebody should; none: nobody has to. `limit`: seconds from which that counts.
pub fn look(sight: &Sight, scraped_every: Option<HumanDuration>, limit: f64) -> Reading {
    let failing = sight.failing_for.map_or(0.0, |time| time.as_secs_f64());
    // A scrape may be missed; after that the time counts from when it should have come.
    let unseen = scraped_every.map_or(0.0, |every| sight.unscraped_for.saturating_sub(*every).as_secs_f64());
    let dropped = match sight.dropped {
        0 => String::new(),
        spans => format!("; {spans} spans were dropped since the start"),
    };
    let mut wrong = Vec::new();
    if failing > limit {
        wrong.push(format!("the collector has taken nothing for {failing:.0} s: {}", sight.failure));
    }
    if unseen > limit {
        let since = sight.unscraped_for.as_secs();
        wrong.push(format!("/metrics was not scraped for {since} s, and telemetry.scraped_every says it should be"));
    }
    let value = failing.max(unseen);
    match &wrong[..] {
        [] => Reading::good(value, format!("{}{dropped}", seen_by(sight, scraped_every))),
        wrong => Reading::bad(value, format!("{}{dropped}", wrong.join("; "))),
    }
}

fn seen_by(sight: &Sight, scraped_every: Option<HumanDuration>) -> &'static str {
    match (sight.exports, scraped_every.is_some()) {
        (true, true) => "exported and scraped",
        (true, false) => "exported; nobody has to scrape",
        (false, true) => "scraped; nothing is exported",
        (false, false) => "neither export nor scraping is expected here",
    }
}
