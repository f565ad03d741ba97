//! Where logs go: stderr, as text for people or JSON for machines.

use std::io::IsTerminal;

use opentelemetry_sdk::trace::SdkTracer;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `pretty` on a terminal, `json` otherwise.
    #[default]
    Auto,
    /// One line of text an event.
    Pretty,
    /// One JSON object an event.
    Json,
}

/// What libraries say about themselves, unless the setting says otherwise.
const QUIET: &str = "opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn";

/// The filter of a setting, or what is allowed.
pub(super) fn filter(directives: &str) -> Result<EnvFilter, String> {
    let allowed = "expected a level (error, warn, info, debug, trace, off) or directives such as info,loadline_ingest=debug";
    // A word alone would be a target's name: `debgu` would silence everything.
    let directives: Vec<&str> = directives.split(',').map(str::trim).collect();
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    if let Some(word) = directives.iter().find(|d| !d.contains(['=', '[']) && !is_level(d)) {
        return Err(format!("{allowed}; `{word}` is no level"));
    }
    EnvFilter::builder().parse(format!("{QUIET},{}", directives.join(","))).map_err(|error| format!("{allowed}: {error}"))
}

/// Makes stderr and the tracer the process's subscriber, unless it has one already.
pub(super) fn install(filter: EnvFilter, format: Format, tracer: SdkTracer) {
    // Spans do not depend on what is logged: a trace must not break off at a service that logs little.
    let spans = tracing_opentelemetry::layer().with_tracer(tracer).with_filter(LevelFilter::INFO);
    // The first subscriber of a process stays; several services in one process share it.
    let _ = tracing_subscriber::registry().with(stderr(format).with_filter(filter)).with(spans).try_init();
}

fn stderr(format: Format) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = std::io::stderr().is_terminal();
    let layer = fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Json => layer.json().boxed(),
        Format::Auto if !terminal => layer.json().boxed(),
        Format::Auto | Format::Pretty => {
            layer.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_level_is_refused_not_taken_for_a_target() {
        for good in ["info", "WARN", "off", "info,loadline_ingest=debug", "warn, h2=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["debgu", "", "info,", "info,loud=9"] {
            assert!(filter(bad).expect_err(bad).contains("expected a level"), "{bad}");
        }
    }
}
