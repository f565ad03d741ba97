//! `loadline usage ACCOUNT`: what an account used, what became of its messages, and how far the answer can be trusted.

mod completeness;
mod delivery;
mod explain;
mod hourly;
mod sums;
#[cfg(test)]
mod tests;
mod top;
mod watch;

use crate::{
    connect::{Peer, QueryAddress},
    json,
    output::Output,
    when::{When, to_proto},
};
use anyhow::bail;
use jiff::{Span, Timestamp, ToSpan as _, Zoned, tz::TimeZone};
use loadline_domain::{Clock as _, event::Channel, time::SystemClock};
use loadline_proto::query::{Dimension, GetUsageRequest, Granularity, UsageFilter, usage_service_client::UsageServiceClient};
use std::process::ExitCode;
use tonic::transport;

type Client = UsageServiceClient<transport::Channel>;

/// Show what accounts used
///
/// Beside the numbers it says what they rest on: which hours are final, provisional or not counted yet, how far each stream is
/// read, and which dead letters and losses could change the answer. Not counted yet is never shown as zero.
///
/// Times are 2026-11-21T10:00:00Z, 2026-11-21 (UTC), or how long ago: 90m, 24h, 7d.
///
/// Exit codes: 0 answered, 1 part of the time is missing from the answer, or an explanation differs or is inconclusive, 2 not
/// answered.
#[derive(Debug, Clone, clap::Args)]
pub struct UsageArgs {
    /// Whose usage; may be left out by a caller that has one account
    #[arg(conflicts_with = "top")]
    pub account: Option<String>,
    /// First hour
    #[arg(long, default_value = "24h", value_name = "TIME")]
    pub from: When,
    /// Up to here; its hour is included
    #[arg(long, default_value = "now", value_name = "TIME")]
    pub to: When,
    /// A line for each
    #[arg(long, value_enum, default_value_t = Per::Hour, conflicts_with_all = ["delivery", "top", "explain"])]
    pub per: Per,
    /// Zone in which days, weeks and months begin, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", conflicts_with_all = ["delivery", "top", "explain"])]
    pub zone: String,
    /// Keep apart by
    #[arg(long, value_enum, value_delimiter = ',', value_name = "DIMENSION")]
    pub by: Vec<By>,
    /// Only these channels
    #[arg(long, value_delimiter = ',', value_parser = channel)]
    pub channel: Vec<i32>,
    /// Only these countries, such as DE
    #[arg(long, value_delimiter = ',')]
    pub country: Vec<String>,
    /// Only these currencies, such as EUR
    #[arg(long, value_delimiter = ',')]
    pub currency: Vec<String>,
    /// Sum over all hours
    #[arg(long, conflicts_with_all = ["delivery", "top", "explain"])]
    pub total: bool,
    /// What became of the messages submitted in the time: rates and latency
    #[arg(long, conflicts_with_all = ["top", "explain", "watch"])]
    pub delivery: bool,
    /// Show it again whenever it changes, until Ctrl-C
    #[arg(long, conflicts_with_all = ["top", "explain"])]
    pub watch: bool,
    /// The accounts with most usage
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000), conflicts_with = "explain")]
    pub top: Option<u32>,
    /// What --top ranks by; amount needs one --currency
    #[arg(long, value_enum, default_value_t = Rank::Messages, requires = "top", conflicts_with = "account")]
    pub order_by: Rank,
    /// Count this hour again from the log and compare
    #[arg(long, value_name = "HOUR")]
    pub explain: Option<When>,
    /// Print the answer as JSON; with --watch one line for each
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub address: QueryAddress,
}

/// What rows are kept apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// sms, mms, …
    Channel,
    /// Where to
    Country,
    /// Of the amount
    Currency,
}

/// How finely lines are told apart in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Per {
    /// Of UTC
    Hour,
    /// From midnight
    Day,
    /// From Monday
    Week,
    /// From the first
    Month,
}

impl Per {
    fn granularity(self) -> Granularity {
        match self {
            Self::Hour => Granularity::Hour,
            Self::Day => Granularity::Day,
            Self::Week => Granularity::Week,
            Self::Month => Granularity::Month,
        }
    }

    fn span(self) -> Span {
        match self {
            Self::Hour => 1.hour(),
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
        }
    }
}

/// What accounts are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Rank {
    /// Messages charged for
    Messages,
    /// Segments charged for
    Segments,
    /// Amount of one currency
    Amount,
}

/// Runs the command.
///
/// # Errors
/// When query does not answer, or refuses the question.
pub async fn run(args: UsageArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let peer = args.address.connect()?;
    let client = UsageServiceClient::new(peer.channel.clone());
    match (args.top, args.explain) {
        (Some(limit), _) => top::run(&args, limit, &output, &peer, client).await,
        (_, Some(hour)) => explain::run(&args, hour, &output, &peer, client).await,
        _ if args.delivery => delivery::run(&args, &output, &peer, client).await,
        _ if args.watch => watch::run(&args, &output, &peer, client).await,
        _ => usage(&args, &output, &peer, client).await,
    }
}

async fn usage(args: &UsageArgs, output: &Output, peer: &Peer, mut client: Client) -> anyhow::Result<ExitCode> {
    let answer = peer.call(client.get_usage(peer.request(args.question()))).await?;
    if args.json {
        output.json(&json::of("loadline.query.v1.GetUsageResponse", &answer)?)?;
    } else {
        output.print(&hourly::text(&answer, args, output))?;
    }
    Ok(completeness::exit(answer.completeness.as_ref()))
}

impl UsageArgs {
    fn is_utc(&self) -> bool {
        ["", "UTC"].contains(&self.zone.as_str())
    }

    /// When a line's time begins, in the zone; query refused a zone that is none.
    fn zoned(&self, start: i64) -> Zoned {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        Timestamp::from_second(start).unwrap_or_default().to_zoned(zone)
    }

    /// Heading of the column of times.
    fn heading(&self) -> &'static str {
        match self.per {
            Per::Hour if self.is_utc() => "HOUR (UTC)",
            Per::Hour => "HOUR",
            Per::Day => "DAY",
            Per::Week => "WEEK FROM",
            Per::Month => "MONTH FROM",
        }
    }

    /// When it ends, in seconds.
    fn end(&self, start: i64) -> i64 {
        self.zoned(start).checked_add(self.per.span()).map_or(i64::MAX, |end| end.timestamp().as_second())
    }

    /// When it begins, for people.
    fn shown(&self, start: i64) -> String {
        let start = self.zoned(start);
        // When clocks go back an hour comes twice.
        let is_twice = || start.time_zone().to_ambiguous_zoned(start.datetime()).is_ambiguous();
        let format = match self.per {
            Per::Hour if is_twice() => "%Y-%m-%d %H:%M %:z",
            Per::Hour => "%Y-%m-%d %H:%M",
            _ => "%Y-%m-%d",
        };
        start.strftime(format).to_string()
    }

    /// What is asked, as of now.
    fn question(&self) -> GetUsageRequest {
        let now = SystemClock.now();
        GetUsageRequest {
            account: self.account.clone().unwrap_or_default(),
            from: Some(to_proto(self.from.at(now))),
            to: Some(to_proto(self.to.at(now))),
            group_by: self.by.iter().map(|by| i32::from(by.dimension())).collect(),
            filter: self.filter(),
            granularity: self.per.granularity().into(),
            time_zone: self.zone.clone(),
        }
    }

    fn filter(&self) -> Option<UsageFilter> {
        let filter = UsageFilter {
            channels: self.channel.clone(),
            countries: self.country.iter().map(|code| code.to_ascii_uppercase()).collect(),
            currencies: self.currency.iter().map(|code| code.to_ascii_uppercase()).collect(),
        };
        (filter != UsageFilter::default()).then_some(filter)
    }

    fn refuse_currency_for_receipts(&self) -> anyhow::Result<()> {
        if self.by.contains(&By::Currency) || !self.currency.is_empty() {
            bail!("receipts have no currency; leave out --by currency and --currency with --delivery");
        }
        Ok(())
    }
}

impl By {
    fn dimension(self) -> Dimension {
        match self {
            Self::Channel => Dimension::Channel,
            Self::Country => Dimension::Country,
            Self::Currency => Dimension::Currency,
        }
    }
}

fn channel(name: &str) -> Result<i32, String> {
    let known = || Channel::all().map(Channel::as_str).collect::<Vec<_>>().join(", ");
    Channel::parse(name).map(Channel::number).ok_or_else(|| format!("{name:?} is no channel; known are {}", known()))
}

/// Name of a channel; its number when this program is too old to know it.
fn channel_name(number: i32) -> String {
    Channel::from_number(number).map_or_else(|| format!("channel {number}"), |channel| channel.as_str().to_owned())
}

/// A code, or a dash when it is not known.
fn code(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { text.to_owned() }
}
